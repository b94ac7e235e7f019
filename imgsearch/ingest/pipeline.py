"""From entries to results, in order: read in one thread, decoded in several, always a few dozen ahead."""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from imgsearch.embeddings import Embeddings
from imgsearch.errors import PictureError
from imgsearch.images import open_rgb, to_webp
from imgsearch.ingest.reuse import ReusableItems
from imgsearch.ingest.source import ShardEnd
from imgsearch.models.encoder import Encoder, Prepared
from imgsearch.records import Item, Picture, Skip

AHEAD = 64  # pictures that are read and decoded before they are needed
MAX_WORKERS = 8  # each may hold a picture of 80 megapixels
POLL_S = 0.1  # how soon the reading thread sees that nobody waits for it any more
T = TypeVar("T")


@dataclass
class PreparedPicture:
    """What became of an entry: an item with the model's input or with its embedding, or a skip."""

    outcome: Item | Skip
    prepared: Prepared | None = None
    row: Embeddings | None = None  # (dim,)
    seconds: dict[str, float] = field(default_factory=dict)  # "read" and "decode"


class Pipeline:
    """What every picture goes through before the model. `known`: whose embeddings are taken over."""

    def __init__(self, encoder: Encoder, known: ReusableItems, *, thumbnails: bool) -> None:
        self._encoder = encoder
        self._known = known
        self._thumbnails = thumbnails

    def run(self, entries: Iterator[Picture | Skip | ShardEnd]) -> Generator[PreparedPicture | ShardEnd, None, None]:
        """A result for each picture and skip, in their order, with the marks between them.

        Raises what the entries raise, in its place among them.
        """
        pool = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1))
        try:
            with closing(read_ahead(self._submit(entries, pool), AHEAD)) as stream:
                for entry in stream:
                    yield entry.result() if isinstance(entry, Future) else entry
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(
        self, entries: Iterator[Picture | Skip | ShardEnd], pool: ThreadPoolExecutor
    ) -> Generator["Future[PreparedPicture] | ShardEnd", None, None]:
        start = time.perf_counter()
        for entry in entries:
            seconds = time.perf_counter() - start
            yield entry if isinstance(entry, ShardEnd) else pool.submit(self._prepare, entry, seconds)
            start = time.perf_counter()

    def _prepare(self, entry: Picture | Skip, read_s: float) -> PreparedPicture:
        if isinstance(entry, Skip):
            return PreparedPicture(entry)
        start = time.perf_counter()
        try:
            if found := self._known.by_stamp(entry):
                return _reused(entry, *found)
            data = entry.read()
            end = time.perf_counter()
            result = self._decode(entry, data)
        except PictureError as error:
            return PreparedPicture(Skip(entry.id, str(error)))
        result.seconds = {"read": read_s + end - start, "decode": time.perf_counter() - end}
        return result

    def _decode(self, entry: Picture, data: bytes) -> PreparedPicture:
        sha256 = hashlib.sha256(data).hexdigest()
        if found := self._known.by_content(sha256):
            return _reused(entry, *found)
        image = open_rgb(data, "It", side=self._encoder.image_side)
        thumbnail = to_webp(image) if self._thumbnails else b""
        item = Item(entry.id, entry.caption, entry.columns, sha256, thumbnail, entry.stamp)
        return PreparedPicture(item, prepared=self._encoder.prepare(image))


def _reused(entry: Picture, item: Item, row: Embeddings) -> PreparedPicture:
    item = replace(item, id=entry.id, caption=entry.caption, columns=entry.columns, stamp=entry.stamp)
    return PreparedPicture(item, row=row)


def read_ahead(entries: Generator[T, None, None], count: int) -> Generator[T, None, None]:
    """The entries, of which a thread takes up to `count` before they are asked for; an error comes in its place.

    To be closed: that ends the thread after the entry that it is at.
    """
    taken: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(count)
    is_closed = threading.Event()

    def put(entry: tuple[T] | BaseException | None) -> None:
        while not is_closed.is_set():
            with suppress(queue.Full):
                taken.put(entry, timeout=POLL_S)
                return

    def take() -> None:
        try:
            with closing(entries):
                for entry in entries:
                    put((entry,))
                    if is_closed.is_set():
                        return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=take, daemon=True)  # a source may hang
    thread.start()
    try:
        while (entry := taken.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        is_closed.set()
        thread.join(2 * POLL_S)
