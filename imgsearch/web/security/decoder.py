"""`Decoder`: decode strangers' files in worker processes, so that a hostile file can slow, fill or crash only those."""

import os
import signal
import sys
import time
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from copy import copy
from functools import lru_cache
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from threading import Lock, Semaphore
from typing import TypeAlias
from weakref import WeakSet, WeakValueDictionary

from pebble import ProcessFuture, ProcessPool
from PIL import Image

from imgsearch.errors import BusyError, PictureError
from imgsearch.images import BYTES_PER_PIXEL, MAX_PIXELS, SEEN_PIXELS, damaged_picture, open_rgb

if sys.platform != "win32":  # Windows has no resource limits of this kind
    import resource

MAX_KEPT = 4  # outcomes
MAX_KEPT_BYTES = 3 * SEEN_PIXELS  # of each outcome
NICENESS = 5
WAIT_S = 20.0  # seconds to wait for a free worker; the decode itself has the decoder's `timeout_s`
SPARE_BYTES = 512 * 2**20  # address space for everything except pixels
Outcome: TypeAlias = "ProcessFuture[tuple[tuple[int, int], bytes]]"
"""Will hold the (width, height) and RGB bytes of a decoded picture, or the error."""


class Decoder:
    """Decodes in `num_workers` processes, started with the first picture; kills a decode after `timeout_s` seconds.

    A client may use `max_own` workers at once: others must find a free one. Safe to call from several threads. Keeps
    the last MAX_KEPT outcomes, except very large ones, so that the same picture is not decoded twice in a row.
    """

    def __init__(self, num_workers: int = 2, timeout_s: float = 10.0, max_own: int = sys.maxsize) -> None:
        self._num_workers, self._max_own = num_workers, max_own
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._pool: ProcessPool | None = None
        self._scheduled = lru_cache(MAX_KEPT)(self._schedule)
        self._outcomes = WeakSet[Outcome]()  # all that somebody waits for
        self._turns: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()  # client -> free places

    def open_rgb(
        self, path: Path, name: str, side: int | None = None, begin: float | None = None, client: str = ""
    ) -> Image.Image:
        """Do what `images.open_rgb` does, in a worker. The wait for one counts from `begin` (`time.monotonic`), or now.

        Raise PictureError also if it takes too long or crashes the worker, BusyError if no worker was free in time.
        """
        begin = time.monotonic() if begin is None else begin
        with self._lock:
            turn = self._turns.setdefault(client, Semaphore(self._max_own))
        if not turn.acquire(timeout=max(0.0, begin + WAIT_S - time.monotonic())):
            raise _busy(name)
        try:
            return self._decoded(path, name, side, begin)
        finally:
            turn.release()

    def _decoded(self, path: Path, name: str, side: int | None, begin: float) -> Image.Image:
        identity = _identity(path)
        try:
            while True:
                with self._lock:
                    outcome = self._scheduled(path, identity, name, side)
                error = outcome.exception(max(0.0, begin + WAIT_S + self._timeout_s - time.monotonic()))
                if not isinstance(error, BrokenProcessPool):
                    break
                self._scheduled.cache_clear()  # a worker died while idle, so it was not this picture: try again
        except (CancelledError, RuntimeError):  # the decoder is closed, or the pool has just broken
            raise damaged_picture(name) from None
        except TimeoutError:
            raise _busy(name) from None
        if isinstance(error, PictureError):
            raise copy(error)  # one that is raised again and again keeps the frames of each time
        if isinstance(error, TimeoutError):  # the pool stopped the worker
            raise PictureError("{name} takes too long to decode. Use a smaller one, or save it as JPEG.", name=name)
        if error:  # the worker crashed
            raise damaged_picture(name)
        size, data = outcome.result()
        if len(data) > MAX_KEPT_BYTES:
            self._scheduled.cache_clear()
        return Image.frombytes("RGB", size, data)

    def close(self) -> None:
        """Stop the workers at once; calls of `open_rgb` that still wait raise PictureError."""
        with self._lock:
            for outcome in self._outcomes:
                outcome.cancel()
            if self._pool:
                self._pool.stop()
                self._pool.join()

    def _schedule(self, path: Path, identity: tuple[int, ...], name: str, side: int | None) -> Outcome:
        """Begin a decode. `identity` tells apart what a path names now and later, for the cache."""
        if not (self._pool and self._pool.active):
            self._pool = ProcessPool(self._num_workers, initializer=_prepare, context=get_context("spawn"))
        outcome = self._pool.schedule(_decode, args=(path, name, side, self._timeout_s), timeout=self._timeout_s)
        self._outcomes.add(outcome)
        return outcome


def _busy(name: str) -> BusyError:
    return BusyError(
        "There was no time to decode {name} within {seconds:.0f} s: too many pictures wait. Try again later.",
        name=name,
        seconds=WAIT_S,
    )


def _identity(path: Path) -> tuple[int, ...]:
    """Return device, inode, size and modification time of a file; an empty tuple if there is no file."""
    with suppress(OSError, ValueError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return ()


def _prepare() -> None:
    """Prepare a worker: end on SIGTERM, run at low priority, print nothing, limit its memory."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler in Python would wait for the decode
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(devnull, stream)
    if sys.platform == "win32":
        return
    os.nice(NICENESS)
    with suppress(OSError):  # systems without /proc
        used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, used_bytes + MAX_PIXELS * BYTES_PER_PIXEL + SPARE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)  # no core dumps: they would hold the picture


def _limit(kind: int, value: int) -> None:
    with suppress(ValueError):  # a lower limit is set already
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _decode(path: Path, name: str, side: int | None, timeout_s: float) -> tuple[tuple[int, int], bytes]:
    if sys.platform != "win32":  # stops the worker even if the app, which would kill it, is gone
        _limit(resource.RLIMIT_CPU, ceil(time.process_time() + timeout_s * (os.cpu_count() or 1)) + 1)
    image = open_rgb(path, name, side=side)
    return image.size, image.tobytes()
