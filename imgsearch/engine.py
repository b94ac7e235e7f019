"""`Engine`: describe, find similar, search by text. All that the app and the command line talk to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from imgsearch.describe.describer import Describer
from imgsearch.errors import ImgsearchError, InputError, PictureError
from imgsearch.images import THUMBNAIL_SIDE, ImageSource, open_rgb, to_webp
from imgsearch.model_manager import LoadedModels, ModelManager
from imgsearch.models.captioner import Captioner, Detail
from imgsearch.models.encoder import Encoder
from imgsearch.records import Description, Item, SearchResult, Status
from imgsearch.search.query import Part

if TYPE_CHECKING:
    from imgsearch.index.filters import Condition
    from imgsearch.index.index import Index
    from imgsearch.search.searcher import Searcher

LARGE_SIDE = 1600  # pixels: the longest side of a picture shown large
BLANK = (320, 240)  # pixels of what stands for a picture that there is none of
log = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """Safe to call from several threads. Models and bundle are loaded once, by the first call that needs them.

    With `background`, no call fetches anything: the starter model answers until `finish_loading`, which is to run in
    a thread of its own, has put the models that were asked for in its place.
    """

    def __init__(
        self,
        bundle: Path,
        encoder: str = "auto",
        captioner: str = "auto",
        precision: str = "auto",
        *,
        background: bool = False,
    ) -> None:
        """Raises SettingsError for an unknown encoder, captioner or precision."""
        self.bundle = bundle
        self._background = background
        self._models = ModelManager(bundle, encoder, captioner, precision, background=background)
        self._lock = threading.RLock()
        self._loaded: LoadedModels | None = None
        self._captioner: Captioner | ImgsearchError | None = None
        self._has_captioner = False  # loaded, or known not to be had
        self._is_complete = False
        self._is_closing = threading.Event()

    def check(self) -> None:
        """Raise ImgsearchError, within seconds, where the bundle or a model that is asked for cannot be had."""
        self._models.check()

    def finish_loading(self) -> None:
        """Put everything that was asked for in place, one after the other. What cannot be had, `status` tells."""
        try:
            if not self._is_closing.is_set():
                self._current.describer.preload()
        except Exception:
            log.exception("the first model cannot be loaded")
        try:
            if not self._is_closing.is_set():
                self._loaded = self._models.load_requested(self._current)
        except Exception:
            log.exception("the encoder cannot be loaded")
            loaded = self._loaded
            self._loaded = replace(loaded, searcher=self._models.failed("encoder", loaded.searcher)) if loaded else None
        if self._loaded and not isinstance(self._loaded.searcher, ImgsearchError) and not self._is_closing.is_set():
            self._loaded.searcher.calibrate()
        try:
            self._captioner = None if self._is_closing.is_set() else self._models.captioner()
        except Exception:
            log.exception("the captioner cannot be loaded")
            self._captioner = self._models.failed("captioner", None)
        self._has_captioner = self._is_complete = True

    def close(self) -> None:
        """Let what is under way end soon."""
        self._is_closing.set()

    @property
    def status(self) -> Status:
        """What answers now and what is under way; never waits."""
        loaded, captioner = self._loaded, self._captioner
        searcher = loaded.searcher if loaded else None
        return Status(
            encoder=loaded.encoder.model_id if loaded else "",
            captioner="" if captioner is None or isinstance(captioner, ImgsearchError) else captioner.model_id,
            takes_questions=False if captioner is None or isinstance(captioner, ImgsearchError) else captioner.is_chat,
            num_items=None if searcher is None or isinstance(searcher, ImgsearchError) else len(searcher.index),
            problems=[
                *dict.fromkeys(
                    [*([str(searcher)] if isinstance(searcher, ImgsearchError) else []), *self._models.problems]
                )
            ],
            progress=self._models.progress,
            is_complete=self._is_complete,
        )

    @property
    def encoder(self) -> Encoder:
        """The encoder that answers now."""
        return self._current.encoder

    @property
    def describer(self) -> Describer:
        """The describer over that encoder."""
        return self._current.describer

    @property
    def index(self) -> Index:
        """The opened bundle. Raises BundleError where it cannot be opened, ModelError without its encoder."""
        return self.searcher.index

    @property
    def searcher(self) -> Searcher:
        """What searches it. Raises BundleError where it cannot be opened, ModelError without its encoder."""
        return _unwrap(self._current.searcher)

    @property
    def captioner(self) -> Captioner | None:
        """The captioner; None for the describer's sentences. Raises ModelError where the one asked for is not there."""
        if not self._has_captioner and not self._background:
            with self._lock:
                if not self._has_captioner:
                    self._captioner = self._models.captioner()
                    self._has_captioner = True
        return _unwrap(self._captioner)

    @property
    def _current(self) -> LoadedModels:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._models.load_initial()
            return self._loaded

    def describe(self, image: ImageSource, name: str = "The picture") -> Description:
        """Describe a picture, which messages call `name`. Raises PictureError, ModelError."""
        *_, description = self.describe_stream(image, name)
        return description

    def describe_stream(
        self,
        image: ImageSource,
        name: str = "The picture",
        *,
        detail: Detail = "short",
        question: str = "",
        language: str = "en",
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Description]:
        """The description so far: its tags at once, then its caption word by word until it is whole or `stop` says so.

        `detail`, `question` and `language` are for a captioner that takes them. Raises PictureError, InputError,
        ModelError.
        """
        rgb = open_rgb(image, name)
        captioner, describer = self.captioner, self.describer
        if captioner is None and detail == "question":
            raise InputError("Only a chat captioner answers questions. Start with --captioner internvl to ask some.")
        start = time.perf_counter()
        description = describer.describe(rgb)
        if captioner is None:
            yield replace(description, seconds=time.perf_counter() - start)
            return
        texts = captioner.describe(
            rgb,
            detail=detail,
            question=question,
            language=language,
            stop=lambda: stop() or self._is_closing.is_set(),
        )
        yield replace(description, caption="", seconds=time.perf_counter() - start)
        for text in texts:
            yield replace(description, caption=text, seconds=time.perf_counter() - start)

    def query(
        self,
        parts: Sequence[Part],
        k: int = 12,
        *,
        start: int = 0,
        conditions: Sequence[Condition] = (),
        fold: bool = True,
    ) -> SearchResult:
        """The k items, from the rank after `start` on, that fit all parts best and meet all conditions.

        A hit is strong, fair or weak, by bounds measured for this encoder and collection; near-duplicates are folded
        into one hit, unless `fold` is false. Raises PictureError, InputError, BundleError, ModelError.
        """
        searcher = self.searcher
        if not self._background:
            searcher.calibrate()
        return searcher.search(parts, k, start=start, conditions=conditions, fold=fold)

    def similar(self, image: ImageSource, k: int = 12, name: str = "The picture") -> SearchResult:
        """The k items (all, where there are fewer) most like a picture; score = cosine of the embeddings.

        Raises PictureError, InputError for k < 1, BundleError, ModelError.
        """
        return self.query([Part(image=image, name=name)], k)

    def search(self, text: str, k: int = 12) -> SearchResult:
        """The k items (all, where there are fewer) that fit a text best; score = cosine of text and picture.

        Raises InputError for a text that is empty or too long and for k < 1, BundleError, ModelError.
        """
        return self.query([Part(text=text)], k)

    def thumbnail(self, item: Item) -> bytes:
        """An item's thumbnail as WebP; made of its picture, else blank, where the bundle keeps none.

        Raises BundleError.
        """
        return item.thumbnail or self._picture(item, THUMBNAIL_SIDE) or to_webp(Image.new("RGB", BLANK, "lightgrey"))

    def large_picture(self, id: str) -> bytes:
        """An item's picture as WebP of at most LARGE_SIDE pixels; its thumbnail where the file is gone or changed.

        Raises InputError for an unknown id, BundleError.
        """
        item = self.index.item_by_id(id)
        return self._picture(item, LARGE_SIDE) or self.thumbnail(item)

    def _picture(self, item: Item, side: int) -> bytes | None:
        data = self.index.original(item)
        try:
            return to_webp(open_rgb(data, side=side), side) if data else None
        except PictureError:
            return None


def _unwrap(part: T | ImgsearchError) -> T:
    """The part, or its error raised anew: one that is raised again and again keeps the frames of each time."""
    if isinstance(part, ImgsearchError):
        raise type(part)(*part.args)
    return part
