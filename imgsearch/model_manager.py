"""Choose and load the models that answer. The starter model answers while the requested ones are being fetched."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imgsearch.config import STARTER_BUNDLE, is_lance_table, is_starter_collection
from imgsearch.describe.describer import Describer
from imgsearch.embeddings import OnProgress
from imgsearch.environment import cache_folder
from imgsearch.errors import ImgsearchError, Message, ModelError
from imgsearch.index.manifest import Manifest, encoder_of, read_manifest
from imgsearch.models.captioner import Captioner
from imgsearch.models.encoder import Encoder
from imgsearch.models.loading import check_precision
from imgsearch.models.registry import (
    STARTER,
    ModelKind,
    ModelRef,
    check_hub,
    is_cached,
    load_captioner,
    resolve,
    shared_encoder,
)
from imgsearch.records import Progress, Status

if TYPE_CHECKING:  # FAISS and Arrow are imported with the models, after the page is served
    from imgsearch.search.searcher import Searcher

log = logging.getLogger(__name__)
KINDS: tuple[ModelKind, ModelKind] = ("encoder", "captioner")
FAILED = "Something unexpected went wrong while a model was loaded; the log says more."


@dataclass(frozen=True)
class LoadedModels:
    """The models that answer and the bundle opened for them. A query uses one such record; a change replaces it whole.

    `missing` says why the collection cannot be searched ("encoder"), or why the captioner that the user named does not
    answer ("captioner").
    """

    encoder: Encoder
    describer: Describer
    searcher: Searcher | None
    captioner: Captioner | None = None  # None: sentences come from the describer
    missing: Mapping[ModelKind, Message] = field(default_factory=dict)


class ModelManager:
    """Choose and load the models of one collection. Safe to call from several threads.

    Call `load` to have the requested models at once. Or serve `current` and run `load_in_background` in a thread: until
    the requested models are fetched and loaded, the starter model answers.
    """

    def __init__(
        self, bundle: Path, encoder: str = "auto", captioner: str = "auto", precision: str = "auto", exact: bool = False
    ) -> None:
        """Load nothing yet. Raise SettingsError for an unknown encoder, captioner or precision."""
        check_precision(precision)
        self.bundle = bundle
        self._specs: dict[ModelKind, str] = {"encoder": encoder, "captioner": captioner}
        for kind in KINDS:
            resolve(kind, self._specs[kind])
        self._precision, self._exact = precision, exact
        self._lock = threading.RLock()
        self._current: LoadedModels | None = None
        self._progress: list[Progress] = []  # of the step under way, if one is
        self._problems: list[Message] = []  # why another model than the requested one answers
        self.is_complete = False  # True once nothing more will change
        self.is_closing = False  # True once `close` was called

    def check(self) -> None:
        """Raise ImgsearchError if the bundle cannot be opened or a model that the user named is not available.

        Fetch no file: ask the hub for the named models that are not on disk. Take seconds; offline these raise.
        """
        for kind in KINDS:
            requested = self._requested(kind)
            if self._specs[kind] != "auto":
                check_hub(kind, requested)

    @property
    def current(self) -> LoadedModels:
        """The models that answer now. The first call loads an encoder that is on disk, which takes seconds."""
        with self._lock:
            if self._current is None:
                self._current = self._load_initial()
            return self._current

    def load(self) -> None:
        """Load the requested models now; for "auto" those that are on disk, else the starter model.

        Fetch the ones that the user named or the bundle needs, which takes minutes. Raise ImgsearchError if one of them
        is not available or the bundle cannot be opened.
        """
        for kind in KINDS:
            try:
                if not self._is_optional(kind) or is_cached(kind, self._requested(kind)):
                    self._load_requested(kind)
            except ModelError as error:
                if not self._is_optional(kind):
                    raise
                self._problems.append(error)
        self.is_complete = True

    def load_in_background(self) -> None:
        """Fetch and load the requested models, one after the other. `status` lists those that are not available."""
        for kind in KINDS:
            try:
                self.current.describer.preload()
                if not self.is_closing:
                    self._load_requested(kind)
                if (searcher := self.current.searcher) and not self.is_closing:
                    searcher.derived.calibrate()
            except ImgsearchError as error:
                self._give_up(kind, error)
            except Exception:
                log.exception("the %s cannot be loaded", kind)
                self._give_up(kind, Message(FAILED))
            finally:
                self._progress.clear()
        self.is_complete = True

    def close(self) -> None:
        """Ask running work to end soon."""
        self.is_closing = True

    @property
    def status(self) -> Status:
        """The models that answer now, and the loading under way. Never waits."""
        models = self._current
        searcher, captioner = (models.searcher, models.captioner) if models else (None, None)
        problems = [*(models.missing.values() if models else ()), *self._problems]
        return Status(
            encoder=models.encoder.model_id if models else "",
            captioner=captioner.model_id if captioner else "",
            takes_questions=bool(captioner and captioner.is_chat),
            num_items=len(searcher.index) if searcher else None,
            recall=searcher.index.recall if searcher else None,
            problems=list({str(problem): problem for problem in problems}.values()),
            progress=next(iter(self._progress), None),
            is_complete=self.is_complete,
        )

    def _load_initial(self) -> LoadedModels:
        """Load what answers first: the starter model unless the bundle needs another one that is on disk."""
        starter = resolve("encoder", STARTER)
        problem: Message
        try:
            ref = starter if is_starter_collection(self.bundle) else self._requested("encoder")
            if is_cached("encoder", ref):
                return self._load_encoder(ref)
            problem = Message("The encoder of this collection, {name}, is being fetched. Wait a little.", name=ref)
        except ImgsearchError as error:
            problem = self._unsearchable(error)
        encoder = shared_encoder(starter, self._precision, self._reporter("load", starter))
        return LoadedModels(encoder, Describer(encoder, cache_folder()), searcher=None, missing={"encoder": problem})

    def _load_requested(self, kind: ModelKind) -> None:
        """Load a model, then put it in the place of the one that answers, with all that depends on it."""
        ref, models = self._requested(kind), self._current
        if kind == "captioner":
            self._reporter("load", ref)(0, 0)
            captioner = load_captioner(ref, self._precision, self._reporter("fetch", ref))
            self._current = replace(self.current, captioner=captioner)
            return
        if models is None or models.encoder.model_id != ref.model_id:
            loaded = self._load_encoder(ref)
            if models:  # it answers meanwhile
                loaded.describer.preload(self._reporter("read", ref))
            self._current = loaded

    def _load_encoder(self, ref: ModelRef) -> LoadedModels:
        """Load an encoder and open the bundle for it. Raise ModelError or BundleError."""
        self._reporter("load", ref)(0, 0)
        try:
            encoder = shared_encoder(ref, self._precision, self._reporter("fetch", ref))
            # After torch: where FAISS comes first, its libgomp loads before torch's, and a text takes 1.5 ms longer.
            from imgsearch.search.collection import DerivedData, open_collection
            from imgsearch.search.searcher import Searcher

            report = self._reporter("encode", ref)
            index = open_collection(self.bundle, encoder, report, exact=self._exact)
            reference = partial(open_collection, STARTER_BUNDLE, encoder, report)
            searcher = Searcher(index, encoder, DerivedData(self.bundle, index, encoder, reference))
            return LoadedModels(encoder, Describer(encoder, cache_folder()), searcher)
        finally:
            self._progress.clear()

    def _give_up(self, kind: ModelKind, problem: Message) -> None:
        """Note why a model does not answer. Without it the collection, or its captioner, answers nothing more."""
        models = self._current
        if self._is_optional(kind):
            self._problems.append(problem)
        elif models and kind == "captioner":
            self._current = replace(models, missing={**models.missing, kind: problem})
        elif models:
            self._current = replace(models, searcher=None, missing={kind: self._unsearchable(problem)})

    def _unsearchable(self, problem: Message) -> Message:
        is_named = self._specs["encoder"] != "auto"
        return problem if is_named else Message("This collection cannot be searched: {error}", error=problem)

    def _is_optional(self, kind: ModelKind) -> bool:
        """Return True if another model may answer in the place of the requested one."""
        return self._specs[kind] == "auto" and (kind == "captioner" or is_starter_collection(self.bundle))

    def _requested(self, kind: ModelKind) -> ModelRef:
        """Return the model to load. Raise BundleError if the bundle cannot be searched with the encoder."""
        if kind == "encoder" and not is_starter_collection(self.bundle):
            return encoder_of(self._manifest(), self.bundle, self._specs[kind])
        return resolve(kind, self._specs[kind])

    def _manifest(self) -> Manifest:
        if not is_lance_table(self.bundle):
            return read_manifest(self.bundle)
        from imgsearch.index.lance import LanceIndex

        return LanceIndex(self.bundle).table.manifest

    def _reporter(self, step: str, ref: ModelRef) -> OnProgress:
        progress = self._progress  # not `self`: the models would hold the manager that holds them

        def report(done: int, total: int) -> None:
            if not threading.main_thread().is_alive():
                raise ModelError("The program ends.")  # this thread would keep the process alive
            progress[:] = [Progress(step, str(ref), done, total)]

        return report
