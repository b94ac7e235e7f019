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
from imgsearch.models.batching import Together
from imgsearch.models.captioner import Captioner
from imgsearch.models.clip import HUB, LOCAL
from imgsearch.models.device import check_precision
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import (
    STARTER,
    STARTER_ID,
    Kind,
    Name,
    check_hub,
    is_at_hand,
    load_captioner,
    load_encoder,
    resolve,
)
from imgsearch.records import Progress

if TYPE_CHECKING:  # FAISS and Arrow are imported with the models, after the page is served
    from imgsearch.search.calibration import Calibration
    from imgsearch.search.searcher import Finder

log = logging.getLogger(__name__)
T = TypeVar("T")
FOREIGN = (LOCAL, HUB)  # kinds of encoders that no bundle of a stranger chooses: a folder here, any repository
FAILED = "Something unexpected went wrong while a model was loaded; the log says more."


_loading: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
_loaded: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()  # in use, by any line-up


@dataclass(frozen=True)
class Lineup:
    """An encoder with all that speaks its vectors: taken whole by a query, replaced whole between two."""

    encoder: Encoder
    describer: Describer
    finder: Finder | ImgsearchError  # or why there is none


class Loader:
    """Decides and loads. `behind`: what must be fetched first is left to `better` and `captioner`."""

    def __init__(self, bundle: Path, encoder: str, captioner: str, precision: str, *, behind: bool) -> None:
        """Raises SettingsError for an unknown encoder, captioner or precision."""
        check_precision(precision)
        resolve("encoder", encoder)
        self._captioner = resolve("captioner", captioner)
        self._bundle = bundle
        self._specs: dict[Kind, str] = {"encoder": encoder, "captioner": captioner}
        self._precision = precision
        self._behind = behind
        self.progress: Progress | None = None  # of what is under way
        self.problems: list[str] = []  # why a model that was wanted is not there

    def check(self) -> None:
        """Raise ImgsearchError where the bundle cannot be opened, or a model that was asked for cannot be had."""
        wanted: dict[Kind, Name] = {"encoder": self._wanted, "captioner": self._captioner}
        for kind, name in wanted.items():
            if self._specs[kind] != "auto":
                check_hub(kind, name)

    def first(self) -> Lineup:
        """What answers first. Raises ImgsearchError where the user asked for a model that cannot be had."""
        is_asked = self._specs["encoder"] != "auto"
        try:
            name = self._wanted
            if name.model_id == STARTER_ID:
                return self._starter()
            if self._behind and is_starter_collection(self._bundle):
                return self._starter()  # at once
            may_wait = self._behind or (is_starter_collection(self._bundle) and not is_asked)
            if is_at_hand("encoder", name) or not may_wait:
                return self._load(name)
        except BundleError as error:
            return self._starter(error)
        except ImgsearchError as error:
            if is_asked and not self._behind:
                raise
            return self._starter(error if is_asked else self._missing(error))
        if is_starter_collection(self._bundle):
            return self._starter()
        return self._starter(ModelError(f"The encoder of this collection, {name}, is being fetched. Wait a little."))

    def better(self, lineup: Lineup) -> Lineup:
        """The line-up asked for, where it is another one and can be had; else `lineup`, with the problem told."""
        try:
            name = self._wanted
            if name.model_id in (STARTER_ID, lineup.encoder.model_id):
                return lineup
            loaded = self._load(name)
            loaded.describer.warm(self._report("read", name))
            return loaded
        except ImgsearchError as error:
            problem = error if self._specs["encoder"] != "auto" else self._missing(error)
            return Lineup(lineup.encoder, lineup.describer, problem) if problem else lineup
        finally:
            self.progress = None

    def captioner(self) -> Captioner | ImgsearchError | None:
        """The captioner; None for the describer's sentences; the error where one was asked for and cannot be had."""
        is_free = self._specs["captioner"] == "auto"
        if is_free and not self._behind and not is_at_hand("captioner", self._captioner):
            return None
        self.progress = Progress("load", str(self._captioner), 0, 0)
        try:
            return load_captioner(self._captioner, self._precision, self._report("fetch", self._captioner))
        except ImgsearchError as error:
            self.problems.append(str(error))
            return None if is_free else error
        finally:
            self.progress = None

    def failed(self, kind: Kind, part: T) -> T | ImgsearchError:
        """What takes the place of `part` after an unexpected error: itself, unless a model was asked for."""
        self.progress = None
        self.problems.append(FAILED)
        is_free = self._specs[kind] == "auto" and (kind == "captioner" or is_starter_collection(self._bundle))
        return part if is_free else ModelError(FAILED)

    @cached_property  # the manifest is read once
    def _wanted(self) -> Name:
        """The encoder to search with. Raises BundleError where the user asked for another one than the bundle's."""
        manifest = read_manifest(self._bundle)
        own = Name(manifest.encoder, manifest.revision)
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

    def _starter(self, error: ImgsearchError | None = None) -> Lineup:
        encoder = _encoder(resolve("encoder", STARTER))
        return Lineup(encoder, Describer(encoder, cache_folder()), error or self._open(encoder))

    def _load(self, name: Name) -> Lineup:
        self.progress = Progress("load", str(name), 0, 0)
        try:
            encoder = _encoder(name, self._precision, self._report("fetch", name))
            return Lineup(encoder, Describer(encoder, cache_folder()), self._open(encoder))
        finally:
            self.progress = None

    def _open(self, encoder: Encoder) -> Finder | ImgsearchError:
        from imgsearch.search.cache import atlas_of, calibration_of, kept_calibration
        from imgsearch.search.collection import open_collection
        from imgsearch.search.searcher import Finder

        report = self._report("encode", Name(encoder.model_id))
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

        calibration = kept_calibration(self._bundle, index)
        return Finder(index, encoder, calibration, calibrate, lambda: atlas_of(self._bundle, index))

    def _report(self, step: str, name: Name) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if not threading.main_thread().is_alive():
                raise ModelError("The program ends.")  # a thread at work would keep it
            self.progress = Progress(step, str(name), done, total)

        return report


def _encoder(
    name: Name, precision: str = "auto", on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Encoder:
    """The encoder of that name: several collections share one."""
    with _loading[name.model_id, precision]:
        for (model_id, revision, asked), loaded in list(_loaded.items()):
            if (model_id, asked) == (name.model_id, precision) and name.revision in ("", revision):
                return loaded
        encoder = Together(load_encoder(name, precision, on_progress))
        _loaded[encoder.model_id, encoder.revision, precision] = encoder
        return encoder
