"""`Engine`: describe, find similar, search by text. The app and the command line need nothing else of the models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from PIL import Image

from imgsearch.errors import InputError, Message, ModelError, PictureError
from imgsearch.images import THUMBNAIL_SIDE, ImageSource, open_rgb, to_webp
from imgsearch.model_manager import ModelManager
from imgsearch.models.captioner import Detail
from imgsearch.records import Description, Item, SearchResult, Status
from imgsearch.search.query import Part

if TYPE_CHECKING:
    from imgsearch.index.filters import Condition
    from imgsearch.index.index import Index
    from imgsearch.search.searcher import Searcher

LARGE_SIDE = 1600  # pixels: the longest side of a picture shown large
NUM_AT_ONCE, NUM_KEPT = 2, 500  # pictures that are decoded at a time, and thumbnails made of them that are kept
BLANK = (320, 240)  # pixels of the blank picture shown for an item without one


class Engine:
    """Answers from the models of a collection. Safe to call from several threads.

    Example:
        engine = Engine.open(Path("indexes/starter"))
        [(hit.item.id, hit.score) for hit in engine.search("a red fruit", k=5).hits]
        engine.similar(Path("photo.jpg"))  # a path, bytes or a PIL image; returns a SearchResult, as search does
        engine.describe(Path("photo.jpg")).caption
    """

    def __init__(self, models: ModelManager, *, words: bool = True) -> None:
        """Answer from what `models` has loaded; without `words`, texts are searched by vectors alone."""
        self.models = models
        self._words = words
        self._decoding = BoundedSemaphore(NUM_AT_ONCE)
        self._kept: dict[tuple[str, str], bytes] = {}  # not by lru_cache: its cycle would keep the models in memory

    @classmethod
    def open(
        cls,
        bundle: Path,
        encoder: str = "auto",
        captioner: str = "auto",
        precision: str = "auto",
        *,
        words: bool = True,
        exact: bool = False,
    ) -> Engine:
        """Load the models and the bundle, which takes seconds, or minutes if a model is fetched; "starter" needs none.

        Without `words`, texts are searched by vectors alone; with `exact`, a Lance table without its index.

        Raise SettingsError for an unknown model or precision, ModelError for one that is not available, BundleError.
        """
        models = ModelManager(bundle, encoder, captioner, precision, exact)
        models.load()
        return cls(models, words=words)

    @property
    def bundle(self) -> Path:
        """The folder of the collection."""
        return self.models.bundle

    @property
    def status(self) -> Status:
        """The models that answer now, and the loading under way. Never waits."""
        return self.models.status

    @property
    def index(self) -> Index:
        """The opened bundle. Raise ModelError if it cannot be searched."""
        return self.searcher.index

    @property
    def searcher(self) -> Searcher:
        """The bundle's searcher. Raise ModelError if it cannot be searched: damaged, or without its encoder."""
        models = self.models.current
        if models.searcher is None:
            raise _missing(models.missing["encoder"])
        return models.searcher

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
        models = self.models.current
        if "captioner" in models.missing:
            raise _missing(models.missing["captioner"])
        captioner = models.captioner
        if captioner is None and detail == "question":
            raise InputError("Only a chat captioner answers questions. Start with --captioner internvl to ask some.")
        start = time.perf_counter()
        description = models.describer.describe(rgb, language)
        if captioner is None:
            yield replace(description, seconds=time.perf_counter() - start)
            return
        texts = captioner.describe(
            rgb,
            detail=detail,
            question=question,
            language=language,
            stop=lambda: stop() or self.models.is_closing,
        )
        yield replace(description, caption="", query="", seconds=time.perf_counter() - start)
        for text in texts:
            yield replace(description, caption=text, query=text, seconds=time.perf_counter() - start)
            if stop():  # the captioner may have written ahead of the reader
                return

    def query(
        self,
        parts: Sequence[Part],
        k: int = 12,
        *,
        start: int = 0,
        conditions: Sequence[Condition] = (),
        fold: bool = True,
        sort: str = "",
    ) -> SearchResult:
        """Return the k items (fewer if there are not as many) that fit all parts best and meet all conditions.

        The first `start` hits are left out. A hit is strong, fair or weak by bounds measured for this encoder and
        collection; near-duplicates become one hit, unless `fold` is false. With `sort`, the best hits are sorted by
        that column, with "-" before its name the highest first; those that are less likely come after the others.
        Raise InputError (k < 1, a text empty or too long, an unknown column), PictureError or ModelError.
        """
        searcher = self.searcher
        if self.models.is_complete or sort:  # else the hits of the first seconds are not judged
            searcher.derived.calibrate()
        return searcher.search(parts, k, start=start, conditions=conditions, fold=fold, words=self._words, sort=sort)

    def browse(self, k: int, *, start: int = 0, conditions: Sequence[Condition] = (), sort: str = "") -> SearchResult:
        """Return k items of the collection, sorted or in an order that mixes all parts of it. Raise as `query` does."""
        return self.searcher.browse(k, start=start, conditions=conditions, sort=sort)

    def similar(self, image: ImageSource, k: int = 12, name: str = "The picture") -> SearchResult:
        """Return the k items most similar to a picture; score = cosine of the embeddings. Raise as `query` does."""
        return self.query([Part(image=image, name=name)], k)

    def search(self, text: str, k: int = 12) -> SearchResult:
        """Return the k items that fit a text best; score = cosine of text and picture. Raise as `query` does."""
        return self.query([Part(text=text)], k)

    def thumbnail(self, item: Item) -> bytes:
        """Return an item's thumbnail as WebP: the bundle's, else one of its picture, else blank. Raise BundleError."""
        if webp := item.thumbnail or self._kept.get((item.id, item.sha256)):
            return webp
        try:
            webp = self._picture(item, THUMBNAIL_SIDE)
        except PictureError:
            return to_webp(Image.new("RGB", BLANK, "lightgrey"))
        self._kept[item.id, item.sha256] = webp
        if len(self._kept) > NUM_KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        return webp

    def large_picture(self, id: str) -> bytes:
        """Return an item's picture as WebP of at most LARGE_SIDE pixels; its thumbnail if the file is gone or changed.

        Raise InputError for an unknown id, ModelError if the collection cannot be searched.
        """
        item = self.index.item_by_id(id)
        with suppress(PictureError):
            return self._picture(item, LARGE_SIDE)
        return self.thumbnail(item)

    def _picture(self, item: Item, side: int) -> bytes:
        """Return an item's picture as WebP. Raise PictureError if the file is gone, or has changed."""
        with self._decoding:
            return to_webp(open_rgb(self.index.original(item) or b"", side=side), side)


def _missing(why: Message) -> ModelError:
    """Return an error that says why. A new one each time: an error raised again would keep the frames of each time."""
    return ModelError(why.template, **why.values)
