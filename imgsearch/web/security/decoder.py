"""`Decoder`: decodes strangers' files in worker processes, which a hostile one can slow, fill or crash alone."""

import os
import signal
import sys
import time
from collections import OrderedDict
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from pebble import ProcessExpired, ProcessFuture, ProcessPool
from PIL import Image

from imgsearch.errors import BusyError, PictureError
from imgsearch.images import BYTES_PER_PIXEL, MAX_PIXELS, SEEN_PIXELS, LazyImage, damaged_picture, open_rgb

if sys.platform != "win32":  # which has no limits of this kind
    import resource

MAX_KEPT = 4  # outcomes
MAX_KEPT_BYTES = 3 * SEEN_PIXELS  # of each
NICENESS = 5
WAIT_S = 20.0  # to wait for a free worker; the decode itself has the decoder's `timeout_s`
SPARE_BYTES = 512 * 2**20  # of addresses, for all that is not pixels
Outcome: TypeAlias = tuple[tuple[int, int], bytes] | PictureError
"""Size and RGB bytes of a decoded picture, or why there is none."""


@dataclass(frozen=True)
class _Upload:
    """A file that the decoder decodes."""

    decoder: "Decoder"
    path: Path

    def decode(self, name: str, side: int | None) -> Image.Image:
        return self.decoder.decode(self.path, name, side)


@dataclass(frozen=True)
class DecodeJob:
    """What is decoded; equal where the outcome is the same."""

    path: Path
    identity: tuple[int, ...]  # of the file
    name: str
    side: int | None


class Decoder:
    """Decodes in `num_workers` processes, started with the first picture; a decode past `timeout_s` is killed.

    Safe to call from several threads. The last pictures are kept, unless they are very large: none is decoded twice
    in a row.
    """

    def __init__(self, num_workers: int = 2, timeout_s: float = 10.0) -> None:
        self._num_workers = num_workers
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._pool: ProcessPool | None = None
        self._outcomes: OrderedDict[DecodeJob, ProcessFuture[Outcome]] = OrderedDict()  # the last used last

    def picture(self, path: Path) -> LazyImage:
        """The picture in a file, to be decoded here once someone asks for it."""
        return _Upload(self, path)

    def decode(self, path: Path, name: str, side: int | None) -> Image.Image:
        """What `open_rgb` gives for a file. Raises PictureError, BusyError."""
        try:
            outcome = self._outcome(DecodeJob(path, _identity(path), name, side))
        except TimeoutError:
            raise PictureError(
                "{name} takes too long to decode. Use a smaller one, or save it as JPEG.", name=name
            ) from None
        except (ProcessExpired, CancelledError, RuntimeError):  # the last of a pool that breaks just now
            raise damaged_picture(name) from None
        if isinstance(outcome, PictureError):
            raise copy(outcome)  # one that is raised again and again keeps the frames of each time
        return Image.frombytes("RGB", *outcome)

    def close(self) -> None:
        """End the workers at once; who waits for a picture gets PictureError."""
        with self._lock:
            pool, self._pool = self._pool, None
            futures = list(self._outcomes.values())
            self._outcomes.clear()
        for future in futures:
            future.cancel()
        _end(pool)

    def _outcome(self, order: DecodeJob) -> Outcome:
        future = self._future(order)
        try:
            outcome = self._result(future, order.name)
        except BrokenProcessPool:  # by a worker that died idle, which says nothing of this picture
            self._forget(order, future)
            return self._result(self._future(order), order.name)
        if not isinstance(outcome, PictureError) and len(outcome[1]) > MAX_KEPT_BYTES:
            self._forget(order, future)
        return outcome

    def _result(self, future: "ProcessFuture[Outcome]", name: str) -> Outcome:
        """Return the outcome. Raise TimeoutError if the decode took too long, BusyError if it did not get its turn."""
        try:
            outcome: Outcome = future.result(WAIT_S + self._timeout_s)
            return outcome
        except TimeoutError:
            if future.done():  # the pool stopped the worker
                raise
            raise BusyError(
                "There was no time to decode {name} within {seconds:.0f} s: too many pictures wait. Try again later.",
                name=name,
                seconds=WAIT_S,
            ) from None

    def _forget(self, order: DecodeJob, future: "ProcessFuture[Outcome]") -> None:
        with self._lock:
            if self._outcomes.get(order) is future:
                del self._outcomes[order]

    def _future(self, order: DecodeJob) -> "ProcessFuture[Outcome]":
        with self._lock:
            if order not in self._outcomes:
                if self._pool is None or not self._pool.active:
                    _end(self._pool)
                    self._pool = ProcessPool(self._num_workers, initializer=_prepare, context=get_context("spawn"))
                done = [each for each, future in self._outcomes.items() if future.done()]
                for oldest in done[: max(0, len(self._outcomes) + 1 - MAX_KEPT)]:
                    del self._outcomes[oldest]
                args = (order.path, order.name, order.side, self._timeout_s)
                self._outcomes[order] = self._pool.schedule(_decode, args=args, timeout=self._timeout_s)
            self._outcomes.move_to_end(order)
            return self._outcomes[order]


def _end(pool: ProcessPool | None) -> None:
    if pool:
        pool.stop()
        pool.join()


def _identity(path: Path) -> tuple[int, ...]:
    """Device, number, size and time of a file; empty where there is none."""
    with suppress(OSError, ValueError):
        facts = path.stat()
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
    return ()


def _prepare() -> None:
    """Make a worker one that ends when it is told to, gives way, says nothing and cannot take all memory."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler in Python would wait for the decode
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    if sys.platform == "win32":
        return
    os.nice(NICENESS)
    with suppress(OSError):  # no /proc
        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, own + MAX_PIXELS * BYTES_PER_PIXEL + SPARE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)  # it would hold the picture


def _limit(kind: int, value: int) -> None:
    with suppress(ValueError):  # a lower limit holds already
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _decode(path: Path, name: str, side: int | None, timeout_s: float) -> Outcome:
    if sys.platform != "win32":  # for where nobody is left who could kill it
        _limit(resource.RLIMIT_CPU, ceil(time.process_time() + timeout_s * (os.cpu_count() or 1)) + 1)
    try:
        image = open_rgb(path, name, side=side)
    except PictureError as error:
        return error
    return image.size, image.tobytes()
