"""`Engine`: describe, find similar, search by text. The app and the command line need nothing else of the models."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
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
BLANK = (320, 240)  # pixels of the blank picture shown for an item without one
log = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """A bundle opened with its models. Safe to call from several threads.

    Models and bundle are loaded once, by the first call that needs them. With `background`, only `finish_loading`
    fetches: run it in a thread; until it has loaded the requested models, the starter model answers.

    Example:
        engine = Engine(Path("indexes/starter"))
        [(hit.item.id, hit.score) for hit in engine.search("a red fruit", k=5).hits]
        engine.similar(Path("photo.jpg"))  # a path, bytes or a PIL image; returns a SearchResult, as search does
        engine.describe(Path("photo.jpg")).caption
    """

    def __init__(
        self,
        bundle: Path,
        encoder: str = "auto",
        captioner: str = "auto",
        precision: str = "auto",
        *,
        words: bool = True,
        background: bool = False,
    ) -> None:
        """Load nothing yet; without `words`, texts are searched by vectors alone.

        Raise SettingsError for an unknown encoder, captioner or precision.
        """
        self.bundle = bundle
        self._words = words
        self._background = background
        self._models = ModelManager(bundle, encoder, captioner, precision, background=background)
        self._lock = threading.RLock()
        self._loaded: LoadedModels | None = None
        self._captioner: Captioner | ImgsearchError | None = None
        self._has_captioner = False  # True once it is loaded, or known to be missing
        self._is_complete = False
        self._is_closing = threading.Event()

    def check(self) -> None:
        """Raise ImgsearchError, within seconds, if the bundle or a model that the user named is not available."""
        self._models.check()

    def finish_loading(self) -> None:
        """Fetch and load all requested models, one after the other. `status` lists those that are not available."""
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
            self._loaded.searcher.derived.calibrate()
        try:
            self._captioner = None if self._is_closing.is_set() else self._models.captioner()
        except Exception:
            log.exception("the captioner cannot be loaded")
            self._captioner = self._models.failed("captioner", None)
        self._has_captioner = self._is_complete = True

    def close(self) -> None:
        """Ask running work to end soon."""
        self._is_closing.set()

    @property
    def status(self) -> Status:
        """The models that answer now, and the loading under way. Never waits."""
        loaded, captioner = self._loaded, self._captioner
        searcher = loaded.searcher if loaded else None
        problems = [*([searcher] if isinstance(searcher, ImgsearchError) else []), *self._models.problems]
        return Status(
            encoder=loaded.encoder.model_id if loaded else "",
            captioner="" if captioner is None or isinstance(captioner, ImgsearchError) else captioner.model_id,
            takes_questions=False if captioner is None or isinstance(captioner, ImgsearchError) else captioner.is_chat,
            num_items=None if searcher is None or isinstance(searcher, ImgsearchError) else len(searcher.index),
            problems=list({str(problem): problem for problem in problems}.values()),
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
        """The opened bundle. Raise BundleError if it cannot be opened, ModelError if its encoder is missing."""
        return self.searcher.index

    @property
    def searcher(self) -> Searcher:
        """The bundle's searcher. Raise BundleError if it cannot be opened, ModelError if its encoder is missing."""
        return _unwrap(self._current.searcher)

    @property
    def captioner(self) -> Captioner | None:
        """The captioner; None for the describer's sentences. Raise ModelError if the user's own is not available."""
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
        """Describe a picture; `name` is its name in messages. Raise PictureError or ModelError."""
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
        """Yield the growing description: first the tags, then the caption word by word until its end or `stop()`.

        `detail`, `question` and `language` need a captioner that takes them. Raise PictureError, ModelError, or
        InputError for a question that cannot be answered.
        """
        rgb = open_rgb(image, name)
        captioner, describer = self.captioner, self.describer
        if captioner is None and detail == "question":
            raise InputError("Only a chat captioner answers questions. Start with --captioner internvl to ask some.")
        start = time.perf_counter()
        description = describer.describe(rgb, language)
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
        """Return the k items (fewer if there are not as many) that fit all parts best and meet all conditions.

        The first `start` hits are left out. A hit is strong, fair or weak by bounds measured for this encoder and
        collection; near-duplicates become one hit, unless `fold` is false. Raise InputError (k < 1, a text empty
        or too long), PictureError, BundleError or ModelError.
        """
        searcher = self.searcher
        if not self._background:
            searcher.derived.calibrate()
        return searcher.search(parts, k, start=start, conditions=conditions, fold=fold, words=self._words)

    def similar(self, image: ImageSource, k: int = 12, name: str = "The picture") -> SearchResult:
        """Return the k items most similar to a picture; score = cosine of the embeddings. Raise as `query` does."""
        return self.query([Part(image=image, name=name)], k)

    def search(self, text: str, k: int = 12) -> SearchResult:
        """Return the k items that fit a text best; score = cosine of text and picture. Raise as `query` does."""
        return self.query([Part(text=text)], k)

    def thumbnail(self, item: Item) -> bytes:
        """Return an item's thumbnail as WebP: the bundle's, else one of its picture, else blank. Raise BundleError."""
        return item.thumbnail or self._picture(item, THUMBNAIL_SIDE) or to_webp(Image.new("RGB", BLANK, "lightgrey"))

    def large_picture(self, id: str) -> bytes:
        """Return an item's picture as WebP of at most LARGE_SIDE pixels; its thumbnail if the file is gone or changed.

        Raise InputError for an unknown id, BundleError if the bundle cannot be opened.
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
    """Return the part, or raise a copy of its error: one error raised many times would keep the frames of each time."""
    if isinstance(part, ImgsearchError):
        raise copy(part)
    return part
