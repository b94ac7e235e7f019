"""Choose and load the models that answer. The starter model answers while the requested ones are being fetched."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from imgsearch.config import STARTER_BUNDLE, is_starter_collection
from imgsearch.describe.describer import Describer
from imgsearch.environment import cache_folder, is_from_hub
from imgsearch.errors import BundleError, ImgsearchError, Message, ModelError
from imgsearch.index.manifest import read_manifest
from imgsearch.models.batching import BatchingEncoder
from imgsearch.models.captioner import Captioner
from imgsearch.models.clip import HF_HUB_PREFIX, LOCAL_DIR_PREFIX
from imgsearch.models.device import check_precision
from imgsearch.models.encoder import STARTER_ID, STARTER_IDS, Encoder
from imgsearch.models.registry import (
    STARTER,
    ModelKind,
    ModelRef,
    check_hub,
    is_cached,
    load_captioner,
    load_encoder,
    resolve,
)
from imgsearch.records import Progress

if TYPE_CHECKING:  # FAISS and Arrow are imported with the models, after the page is served
    from imgsearch.search.calibration import Calibration
    from imgsearch.search.searcher import Searcher

log = logging.getLogger(__name__)
T = TypeVar("T")
FOREIGN = (LOCAL_DIR_PREFIX, HF_HUB_PREFIX)  # a stranger's bundle may choose no local folder and no free repository
FAILED = "Something unexpected went wrong while a model was loaded; the log says more."

_loading: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_loaded: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()  # encoders in use


@dataclass(frozen=True)
class LoadedModels:
    """An encoder with everything that uses its vectors. A query uses one such record; a change replaces it whole."""

    encoder: Encoder
    describer: Describer
    searcher: Searcher | ImgsearchError  # the error says why there is no searcher


class ModelManager:
    """Choose and load the models of one collection.

    With `background`, `load_initial` fetches nothing: call `load_requested` and `captioner` in a thread to fetch.
    """

    def __init__(self, bundle: Path, encoder: str, captioner: str, precision: str, *, background: bool) -> None:
        """Load nothing yet. Raise SettingsError for an unknown encoder, captioner or precision."""
        check_precision(precision)
        resolve("encoder", encoder)
        self._captioner = resolve("captioner", captioner)
        self._bundle = bundle
        self._specs: dict[ModelKind, str] = {"encoder": encoder, "captioner": captioner}
        self._precision = precision
        self._background = background
        self.progress: Progress | None = None  # of the step under way
        self.problems: list[Message] = []  # why a requested model is not available

    def check(self) -> None:
        """Raise ImgsearchError if the bundle cannot be opened or a model that the user named is not available.

        Fetch no file: ask the hub for the named models that are not on disk. Take seconds; offline these raise.
        """
        requested: dict[ModelKind, ModelRef] = {"encoder": self._wanted, "captioner": self._captioner}
        for kind, ref in requested.items():
            if self._specs[kind] != "auto":
                check_hub(kind, ref)

    def load_initial(self) -> LoadedModels:
        """Load what answers first: the requested encoder, or the starter model as long as that is not on disk.

        Fetch it, and return minutes later, only without `background` and only if the user named it or the bundle needs
        it. If that fails, as when offline, raise ImgsearchError for a named one; else the starter model answers. While
        it does, the searcher of a bundle by another encoder is an error.
        """
        is_named = self._specs["encoder"] != "auto"
        try:
            name = self._wanted
            if name.model_id == STARTER_ID:
                return self._starter()
            if self._background and is_starter_collection(self._bundle):
                return self._starter()  # answer at once
            may_wait = self._background or (is_starter_collection(self._bundle) and not is_named)
            if is_cached("encoder", name) or not may_wait:
                return self._load(name)
        except BundleError as error:
            return self._starter(error)
        except ImgsearchError as error:
            if is_named and not self._background:
                raise
            return self._starter(error if is_named else self._missing(error))
        if is_starter_collection(self._bundle):
            return self._starter()
        return self._starter(
            ModelError("The encoder of this collection, {name}, is being fetched. Wait a little.", name=name)
        )

    def load_requested(self, loaded: LoadedModels) -> LoadedModels:
        """Load and return the requested encoder unless `loaded` has it; fetch it if need be, which takes minutes.

        If it is not available, as when offline, return `loaded` with the problem noted.
        """
        try:
            ref = self._wanted
            if ref.model_id in (STARTER_ID, loaded.encoder.model_id):
                return loaded
            loaded = self._load(ref)
            loaded.describer.preload(self._reporter("read", ref))
            return loaded
        except ImgsearchError as error:
            problem = error if self._specs["encoder"] != "auto" else self._missing(error)
            return LoadedModels(loaded.encoder, loaded.describer, problem) if problem else loaded
        finally:
            self.progress = None

    def captioner(self) -> Captioner | ImgsearchError | None:
        """Load and return the captioner; None means that the describer's sentences are used.

        Without `background`, "auto" fetches nothing. Else fetch if need be, and return minutes later. If it is not
        available, as when offline, return None for "auto", and the error for a captioner that the user named.
        """
        is_auto = self._specs["captioner"] == "auto"
        if is_auto and not self._background and not is_cached("captioner", self._captioner):
            return None
        self.progress = Progress("load", str(self._captioner), 0, 0)
        try:
            return load_captioner(self._captioner, self._precision, self._reporter("fetch", self._captioner))
        except ImgsearchError as error:
            self.problems.append(error)
            return None if is_auto else error
        finally:
            self.progress = None

    def failed(self, kind: ModelKind, part: T) -> T | ImgsearchError:
        """Return what replaces `part` after an unexpected error: `part` if the model is optional, else a ModelError."""
        self.progress = None
        self.problems.append(Message(FAILED))
        is_optional = self._specs[kind] == "auto" and (kind == "captioner" or is_starter_collection(self._bundle))
        return part if is_optional else ModelError(FAILED)

    @cached_property  # the manifest is read once
    def _wanted(self) -> ModelRef:
        """Return the encoder to search with. Raise BundleError if it is not the bundle's, or the user must name it."""
        manifest = read_manifest(self._bundle)
        own = ModelRef(manifest.encoder, manifest.revision)
        asked = resolve("encoder", self._specs["encoder"])
        if is_starter_collection(self._bundle):
            return asked
        if self._specs["encoder"] == "auto":
            if is_from_hub(self._bundle) and own.model_id.startswith(FOREIGN):
                raise BundleError(
                    "The bundle {bundle} wants the model {own}, which it may not choose by itself. Give --encoder "
                    "{own} if you trust it.",
                    bundle=self._bundle,
                    own=own,
                )
            return own
        is_same = asked.model_id == own.model_id or {asked.model_id, own.model_id} <= set(STARTER_IDS)
        if not is_same or (asked.revision and asked.revision != own.revision):
            raise BundleError(
                "The bundle {bundle} was made by the encoder {own}, but {wanted} is asked for. Leave out "
                "--encoder, or build it again.",
                bundle=self._bundle,
                own=own,
                wanted=asked,
            )
        return own

    def _missing(self, error: ImgsearchError) -> ImgsearchError | None:
        """Record the problem and return None if the starter can search the collection, else return the error for it."""
        if is_starter_collection(self._bundle):
            self.problems.append(error)
            return None
        return ModelError("This collection cannot be searched: {error}", error=error)

    def _starter(self, error: ImgsearchError | None = None) -> LoadedModels:
        encoder = _shared_encoder(resolve("encoder", STARTER))
        return LoadedModels(encoder, Describer(encoder, cache_folder()), error or self._open(encoder))

    def _load(self, ref: ModelRef) -> LoadedModels:
        self.progress = Progress("load", str(ref), 0, 0)
        try:
            encoder = _shared_encoder(ref, self._precision, self._reporter("fetch", ref))
            return LoadedModels(encoder, Describer(encoder, cache_folder()), self._open(encoder))
        finally:
            self.progress = None

    def _open(self, encoder: Encoder) -> Searcher | ImgsearchError:
        from imgsearch.search.cache import calibration_of, projection_of, stored_calibration, words_of
        from imgsearch.search.collection import open_collection
        from imgsearch.search.searcher import Searcher

        report = self._reporter("encode", ModelRef(encoder.model_id))
        try:
            index = open_collection(self._bundle, encoder, report)
        except ImgsearchError as error:
            return error

        def calibrate() -> Calibration | None:
            try:
                return calibration_of(
                    self._bundle, index, encoder, lambda: open_collection(STARTER_BUNDLE, encoder, report)
                )
            except Exception:  # hits are not judged then
                log.exception("the scores cannot be calibrated")
                return None
            finally:
                self.progress = None

        draw, read_words = partial(projection_of, self._bundle, index), partial(words_of, self._bundle, index)
        return Searcher(index, encoder, stored_calibration(self._bundle, index), calibrate, draw, read_words)

    def _reporter(self, step: str, ref: ModelRef) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if not threading.main_thread().is_alive():
                raise ModelError("The program ends.")  # this thread would keep the process alive
            self.progress = Progress(step, str(ref), done, total)

        return report


def _shared_encoder(
    ref: ModelRef, precision: str = "auto", on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Encoder:
    """Return the encoder of that name, which all collections share. The first call loads it."""
    with _loading[ref.model_id, precision]:
        for (model_id, revision, loaded_precision), loaded in list(_loaded.items()):
            if (model_id, loaded_precision) == (ref.model_id, precision) and ref.revision in ("", revision):
                return loaded
        encoder = BatchingEncoder(load_encoder(ref, precision, on_progress))
        _loaded[encoder.model_id, encoder.revision, precision] = encoder
        return encoder
