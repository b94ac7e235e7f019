"""Prepare pictures for the encoder: one thread reads and several decode ahead, so that the encoder need not wait."""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

from imgsearch.embeddings import Embeddings
from imgsearch.errors import PictureError
from imgsearch.images import IS_CUT, open_rgb, to_webp
from imgsearch.ingest.exif import columns_of, kept_columns
from imgsearch.ingest.folder import other_kind
from imgsearch.ingest.ocr import text_reader
from imgsearch.ingest.shards import ReusableItems, ShardEnd
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder, Prepared
from imgsearch.records import TEXT_IN_PICTURE, Item, Picture, Skip

AHEAD = 64  # pictures to read and decode before they are needed
MAX_WORKERS = 8  # threads; each may hold a decoded picture of 80 megapixels
END_S = 0.2  # seconds that the reading thread gets to end


@dataclass
class PreparedPicture:
    """The result for one entry: an item with the encoder's input, an item with a reused vector, or a skip."""

    outcome: Item | Skip
    prepared: Prepared | None = None
    vector: Embeddings | None = None  # float32 (dim,)
    seconds: dict[str, float] = field(default_factory=dict)  # "read", "decode", "text" and "encode"
    note: Skip | None = None  # what is lost beside the picture


@dataclass(frozen=True)
class Pipeline:
    """Everything that happens to a picture before the encoder."""

    encoder: Encoder
    reusable: ReusableItems  # where vectors are taken from
    options: BuildOptions

    def run(self, entries: Iterator[Picture | Skip | ShardEnd]) -> Generator[PreparedPicture | ShardEnd, None, None]:
        """Yield a result for each picture and skip, in order, and the shard ends between them.

        An error of `entries` is raised after the results before it. Close the generator to end the thread that reads,
        after the entry that it is reading.
        """
        ahead: queue.Queue[Future[PreparedPicture] | ShardEnd | BaseException | None] = queue.Queue(AHEAD)
        is_closed = threading.Event()
        pool = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1))

        def read() -> None:
            start = time.perf_counter()
            try:
                for entry in entries:
                    read_s = time.perf_counter() - start
                    ahead.put(entry if isinstance(entry, ShardEnd) else pool.submit(self._prepare, entry, read_s))
                    if is_closed.is_set():
                        return
                    start = time.perf_counter()
                ahead.put(None)
            except BaseException as error:
                ahead.put(error)

        thread = threading.Thread(target=read, daemon=True)  # a source that hangs must not keep the process alive
        thread.start()
        try:
            while (entry := ahead.get()) is not None:
                if isinstance(entry, BaseException):
                    raise entry
                result = entry.result() if isinstance(entry, Future) else entry
                yield result
                if isinstance(result, PreparedPicture) and result.note:
                    yield PreparedPicture(result.note)
        finally:
            is_closed.set()
            with suppress(queue.Empty):
                ahead.get_nowait()  # if it is full, the thread waits for room
            thread.join(END_S)
            pool.shutdown(cancel_futures=True)

    def _prepare(self, entry: Picture | Skip, read_s: float) -> PreparedPicture:
        if isinstance(entry, Skip):
            return PreparedPicture(entry)
        start = time.perf_counter()
        reused = self.reusable.find(stamp=entry.stamp, id=entry.id) if entry.stamp else None
        if reused and (columns := kept_columns(entry.columns, reused[0].columns, self.options)) is not None:
            return self._with_text(_reuse(entry, columns, *reused), entry.read)
        try:
            data = entry.read()
            end = time.perf_counter()
            sha256 = hashlib.sha256(data).hexdigest()
            columns = columns_of(entry.columns, data, self.options)
            if reused := reused or self.reusable.find(sha256=sha256):
                return self._with_text(_reuse(entry, columns, *reused), lambda: data)
            image = open_rgb(data, "It", side=self.encoder.image_side)
        except PictureError as error:
            if reused:  # it was only to be read for its columns
                return _reuse(entry, entry.columns, *reused)
            kind = other_kind(entry.id) if entry.stamp else ""  # only the id of a file has an ending
            return PreparedPicture(Skip(entry.id, kind or str(error), bool(kind)))
        thumbnail = to_webp(image) if self.options.thumbnails else b""
        item = Item(entry.id, entry.caption, columns, sha256, thumbnail, entry.stamp)
        prepared = self.encoder.prepare(image)
        seconds = {"read": read_s + end - start, "decode": time.perf_counter() - end}
        note = Skip(entry.id, "its end is missing; the rest is indexed", is_note=True) if IS_CUT in image.info else None
        return self._with_text(PreparedPicture(item, prepared, seconds=seconds, note=note), lambda: data)

    def _with_text(self, result: PreparedPicture, read: Callable[[], bytes]) -> PreparedPicture:
        """Add to the item of a result what is written in its picture, unless that was read before."""
        item, start = result.outcome, time.perf_counter()
        if not self.options.text or isinstance(item, Skip) or TEXT_IN_PICTURE in item.columns:
            return result
        try:
            # As the first column: others, however long, do not keep its words from being searched.
            result.outcome = replace(item, columns={TEXT_IN_PICTURE: text_reader().read(read()), **item.columns})
        except PictureError as error:
            result.note = Skip(item.id, f"its text is not read: {error}", is_note=True)
        result.seconds["text"] = time.perf_counter() - start
        return result


def _reuse(entry: Picture, columns: Mapping[str, str], item: Item, vector: Embeddings) -> PreparedPicture:
    read = {name: item.columns[name] for name in (TEXT_IN_PICTURE,) if name in item.columns}
    item = replace(item, id=entry.id, caption=entry.caption, columns={**read, **columns}, stamp=entry.stamp)
    return PreparedPicture(item, vector=vector)
