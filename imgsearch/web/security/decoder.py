"""`Decoder`: decode strangers' files in worker processes, so that a hostile file can slow, fill or crash only those."""

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

if sys.platform != "win32":  # Windows has no resource limits of this kind
    import resource

MAX_KEPT = 4  # outcomes
MAX_KEPT_BYTES = 3 * SEEN_PIXELS  # of each outcome
NICENESS = 5
WAIT_S = 20.0  # seconds to wait for a free worker; the decode itself has the decoder's `timeout_s`
SPARE_BYTES = 512 * 2**20  # address space for everything except pixels
Outcome: TypeAlias = tuple[tuple[int, int], bytes] | PictureError
"""(width, height) and RGB bytes of a decoded picture, or the error."""


@dataclass(frozen=True)
class _Upload:
    """A `LazyImage` that a Decoder decodes."""

    decoder: "Decoder"
    path: Path

    def decode(self, name: str, side: int | None) -> Image.Image:
        return self.decoder.decode(self.path, name, side)


@dataclass(frozen=True)
class DecodeJob:
    """One decode. Two jobs are equal if their outcomes are the same."""

    path: Path
    identity: tuple[int, ...]  # of the file, see _identity
    name: str
    side: int | None


class Decoder:
    """Decodes in `num_workers` processes, started with the first picture; kills a decode after `timeout_s` seconds.

    Safe to call from several threads. Keeps the last MAX_KEPT pictures, except very large ones, so that the same
    picture is not decoded twice in a row.
    """

    def __init__(self, num_workers: int = 2, timeout_s: float = 10.0) -> None:
        self._num_workers = num_workers
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._pool: ProcessPool | None = None
        self._outcomes: OrderedDict[DecodeJob, ProcessFuture[Outcome]] = OrderedDict()  # least recently used first

    def picture(self, path: Path) -> LazyImage:
        """Return the picture in a file; it is decoded by this decoder when its pixels are needed."""
        return _Upload(self, path)

    def decode(self, path: Path, name: str, side: int | None) -> Image.Image:
        """Do what `open_rgb` does, in a worker.

        Raise PictureError also if it takes too long or crashes the worker, BusyError if no worker was free in time.
        """
        try:
            outcome = self._outcome(DecodeJob(path, _identity(path), name, side))
        except TimeoutError:
            raise PictureError(
                "{name} takes too long to decode. Use a smaller one, or save it as JPEG.", name=name
            ) from None
        except (ProcessExpired, CancelledError, RuntimeError):  # RuntimeError: the pool has just broken
            raise damaged_picture(name) from None
        if isinstance(outcome, PictureError):
            raise copy(outcome)  # one that is raised again and again keeps the frames of each time
        return Image.frombytes("RGB", *outcome)

    def close(self) -> None:
        """Stop the workers at once; calls of `decode` that still wait raise PictureError."""
        with self._lock:
            pool, self._pool = self._pool, None
            futures = list(self._outcomes.values())
            self._outcomes.clear()
        for future in futures:
            future.cancel()
        _end(pool)

    def _outcome(self, job: DecodeJob) -> Outcome:
        future = self._future(job)
        try:
            outcome = self._result(future, job.name)
        except BrokenProcessPool:  # a worker died while idle, so it was not this picture: try again
            self._forget(job, future)
            return self._result(self._future(job), job.name)
        if not isinstance(outcome, PictureError) and len(outcome[1]) > MAX_KEPT_BYTES:
            self._forget(job, future)
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

    def _forget(self, job: DecodeJob, future: "ProcessFuture[Outcome]") -> None:
        with self._lock:
            if self._outcomes.get(job) is future:
                del self._outcomes[job]

    def _future(self, job: DecodeJob) -> "ProcessFuture[Outcome]":
        with self._lock:
            if job not in self._outcomes:
                if self._pool is None or not self._pool.active:
                    _end(self._pool)
                    self._pool = ProcessPool(self._num_workers, initializer=_prepare, context=get_context("spawn"))
                done = [job for job, future in self._outcomes.items() if future.done()]
                for oldest in done[: max(0, len(self._outcomes) + 1 - MAX_KEPT)]:
                    del self._outcomes[oldest]
                args = (job.path, job.name, job.side, self._timeout_s)
                self._outcomes[job] = self._pool.schedule(_decode, args=args, timeout=self._timeout_s)
            self._outcomes.move_to_end(job)
            return self._outcomes[job]


def _end(pool: ProcessPool | None) -> None:
    if pool:
        pool.stop()
        pool.join()


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


def _decode(path: Path, name: str, side: int | None, timeout_s: float) -> Outcome:
    if sys.platform != "win32":  # stops the worker even if the app, which would kill it, is gone
        _limit(resource.RLIMIT_CPU, ceil(time.process_time() + timeout_s * (os.cpu_count() or 1)) + 1)
    try:
        image = open_rgb(path, name, side=side)
    except PictureError as error:
        return error
    return image.size, image.tobytes()
