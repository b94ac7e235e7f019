"""Which models answer: those asked for where they can be had, the starter until then."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from imgsearch.config import STARTER_BUNDLE, is_starter_collection
from imgsearch.describe.describer import Describer
from imgsearch.environment import cache_folder, is_from_hub
from imgsearch.errors import BundleError, ImgsearchError, ModelError
from imgsearch.index.manifest import read_manifest
from imgsearch.models.batching import BatchingEncoder
from imgsearch.models.captioner import Captioner
from imgsearch.models.clip import HF_HUB_PREFIX, LOCAL_DIR_PREFIX
from imgsearch.models.device import check_precision
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import (
    STARTER,
    STARTER_ID,
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
FOREIGN = (
    LOCAL_DIR_PREFIX,
    HF_HUB_PREFIX,
)  # kinds of encoders that no bundle of a stranger chooses: a folder here, any repository
FAILED = "Something unexpected went wrong while a model was loaded; the log says more."


_loading: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_loaded: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()  # in use, by any line-up


@dataclass(frozen=True)
class LoadedModels:
    """An encoder with all that speaks its vectors: taken whole by a query, replaced whole between two."""

    encoder: Encoder
    describer: Describer
    searcher: Searcher | ImgsearchError  # or why there is none


class ModelManager:
    """Decides and loads. `background`: what must be fetched first is left to `load_requested` and `captioner`."""

    def __init__(self, bundle: Path, encoder: str, captioner: str, precision: str, *, background: bool) -> None:
        """Raises SettingsError for an unknown encoder, captioner or precision."""
        check_precision(precision)
        resolve("encoder", encoder)
        self._captioner = resolve("captioner", captioner)
        self._bundle = bundle
        self._specs: dict[ModelKind, str] = {"encoder": encoder, "captioner": captioner}
        self._precision = precision
        self._background = background
        self.progress: Progress | None = None  # of what is under way
        self.problems: list[str] = []  # why a model that was wanted is not there

    def check(self) -> None:
        """Raise ImgsearchError where the bundle cannot be opened, or a model that was asked for cannot be had."""
        wanted: dict[ModelKind, ModelRef] = {"encoder": self._wanted, "captioner": self._captioner}
        for kind, name in wanted.items():
            if self._specs[kind] != "auto":
                check_hub(kind, name)

    def load_initial(self) -> LoadedModels:
        """What answers first. Raises ImgsearchError where the user asked for a model that cannot be had."""
        is_asked = self._specs["encoder"] != "auto"
        try:
            name = self._wanted
            if name.model_id == STARTER_ID:
                return self._starter()
            if self._background and is_starter_collection(self._bundle):
                return self._starter()  # at once
            may_wait = self._background or (is_starter_collection(self._bundle) and not is_asked)
            if is_cached("encoder", name) or not may_wait:
                return self._load(name)
        except BundleError as error:
            return self._starter(error)
        except ImgsearchError as error:
            if is_asked and not self._background:
                raise
            return self._starter(error if is_asked else self._missing(error))
        if is_starter_collection(self._bundle):
            return self._starter()
        return self._starter(ModelError(f"The encoder of this collection, {name}, is being fetched. Wait a little."))

    def load_requested(self, loaded: LoadedModels) -> LoadedModels:
        """The line-up asked for, where it is another one and can be had; else `loaded`, with the problem told."""
        try:
            name = self._wanted
            if name.model_id in (STARTER_ID, loaded.encoder.model_id):
                return loaded
            loaded = self._load(name)
            loaded.describer.preload(self._report("read", name))
            return loaded
        except ImgsearchError as error:
            problem = error if self._specs["encoder"] != "auto" else self._missing(error)
            return LoadedModels(loaded.encoder, loaded.describer, problem) if problem else loaded
        finally:
            self.progress = None

    def captioner(self) -> Captioner | ImgsearchError | None:
        """The captioner; None for the describer's sentences; the error where one was asked for and cannot be had."""
        is_free = self._specs["captioner"] == "auto"
        if is_free and not self._background and not is_cached("captioner", self._captioner):
            return None
        self.progress = Progress("load", str(self._captioner), 0, 0)
        try:
            return load_captioner(self._captioner, self._precision, self._report("fetch", self._captioner))
        except ImgsearchError as error:
            self.problems.append(str(error))
            return None if is_free else error
        finally:
            self.progress = None

    def failed(self, kind: ModelKind, part: T) -> T | ImgsearchError:
        """What takes the place of `part` after an unexpected error: itself, unless a model was asked for."""
        self.progress = None
        self.problems.append(FAILED)
        is_free = self._specs[kind] == "auto" and (kind == "captioner" or is_starter_collection(self._bundle))
        return part if is_free else ModelError(FAILED)

    @cached_property  # the manifest is read once
    def _wanted(self) -> ModelRef:
        """The encoder to search with. Raises BundleError where the user asked for another one than the bundle's."""
        manifest = read_manifest(self._bundle)
        own = ModelRef(manifest.encoder, manifest.revision)
        asked = resolve("encoder", self._specs["encoder"])
        if is_starter_collection(self._bundle):
            return asked
        if self._specs["encoder"] == "auto":
            if is_from_hub(self._bundle) and own.model_id.startswith(FOREIGN):
                raise BundleError(
                    f"The bundle {self._bundle} wants the model {own}, which it may not choose by itself. "
                    f"Give --encoder {own} if you trust it."
                )
            return own
        if asked.model_id != own.model_id or (asked.revision and asked.revision != own.revision):
            raise BundleError(
                f"The bundle {self._bundle} was made by the encoder {own}, but {asked} is asked for. "
                "Leave out --encoder, or build it again."
            )
        return own

    def _missing(self, error: ImgsearchError) -> ImgsearchError | None:
        """Tell why the encoder is not there. Returns why there is no index; None where the starter stands in."""
        if is_starter_collection(self._bundle):
            self.problems.append(str(error))
            return None
        return ModelError(f"This collection cannot be searched: {error}")

    def _starter(self, error: ImgsearchError | None = None) -> LoadedModels:
        encoder = _encoder(resolve("encoder", STARTER))
        return LoadedModels(encoder, Describer(encoder, cache_folder()), error or self._open(encoder))

    def _load(self, name: ModelRef) -> LoadedModels:
        self.progress = Progress("load", str(name), 0, 0)
        try:
            encoder = _encoder(name, self._precision, self._report("fetch", name))
            return LoadedModels(encoder, Describer(encoder, cache_folder()), self._open(encoder))
        finally:
            self.progress = None

    def _open(self, encoder: Encoder) -> Searcher | ImgsearchError:
        from imgsearch.search.cache import calibration_of, projection_of, stored_calibration
        from imgsearch.search.collection import open_collection
        from imgsearch.search.searcher import Searcher

        report = self._report("encode", ModelRef(encoder.model_id))
        try:
            index = open_collection(self._bundle, encoder, report)
        except ImgsearchError as error:
            return error

        def calibrate() -> Calibration | None:
            try:
                return calibration_of(
                    self._bundle, index, encoder, lambda: open_collection(STARTER_BUNDLE, encoder, report)
                )
            except Exception:  # without it hits are not judged
                log.exception("the scores cannot be calibrated")
                return None
            finally:
                self.progress = None

        calibration = stored_calibration(self._bundle, index)
        return Searcher(index, encoder, calibration, calibrate, lambda: projection_of(self._bundle, index))

    def _report(self, step: str, name: ModelRef) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if not threading.main_thread().is_alive():
                raise ModelError("The program ends.")  # a thread at work would keep it
            self.progress = Progress(step, str(name), done, total)

        return report


def _encoder(
    name: ModelRef, precision: str = "auto", on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Encoder:
    """The encoder of that name: several collections share one."""
    with _loading[name.model_id, precision]:
        for (model_id, revision, asked), loaded in list(_loaded.items()):
            if (model_id, asked) == (name.model_id, precision) and name.revision in ("", revision):
                return loaded
        encoder = BatchingEncoder(load_encoder(name, precision, on_progress))
        _loaded[encoder.model_id, encoder.revision, precision] = encoder
        return encoder
