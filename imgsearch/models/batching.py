"""Encode in batches what several threads ask for at the same time, in one thread: torch is slower with more."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image

from imgsearch.embeddings import Embeddings
from imgsearch.errors import BusyError
from imgsearch.models.encoder import BATCH_SIZE, Encoder, Prepared

WAIT_S = 30.0  # that a query waits at most, its own turn included
InputKind = Literal["texts", "pictures"]


@dataclass(eq=False)
class EncodeRequest:
    """Inputs of one call, at most a batch of them."""

    kind: InputKind
    inputs: Sequence[Any]
    rows: Future[Embeddings] = field(default_factory=Future)


class BatchingEncoder:
    """An `Encoder` that many threads may use: calls that wait for each other become one batch.

    The model itself is used by one thread only, always the same: torch is slower in a process where several have used
    it. Where the encoder is a `Classifier`, so is this.
    """

    model_id: str
    revision: str
    precision: str
    dim: int
    text_scale: float
    preprocess: str
    image_side: int
    prepare: Callable[[Image.Image], Prepared]
    truncated_tail: Callable[[str], str]
    SHARED = (
        *("model_id", "revision", "precision", "dim", "text_scale", "preprocess", "image_side"),
        *("prepare", "truncated_tail", "classes", "class_probabilities"),
    )

    def __init__(self, encoder: Encoder) -> None:
        for name in self.SHARED:
            if hasattr(encoder, name):
                setattr(self, name, getattr(encoder, name))
        self._encode: dict[InputKind, Callable[[Sequence[Any]], Embeddings]] = {
            "texts": encoder.encode_texts,
            "pictures": encoder.encode_prepared,
        }
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting: list[EncodeRequest] = []
        self._lock = threading.Lock()

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, dim), unit rows; row i is texts[i]. Raises BusyError."""
        return self._rows("texts", texts)

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` gave: float32 (n, dim), unit rows; row i is prepared[i]. Raises BusyError."""
        return self._rows("pictures", prepared)

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows; row i is images[i]. Raises BusyError."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def _rows(self, kind: InputKind, inputs: Sequence[Any]) -> Embeddings:
        """Many inputs are as many batches, and each waits its turn anew: a query comes between two of them."""
        batches = [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
        wait_s = WAIT_S if len(inputs) == 1 else None  # what is no query has time
        rows = [self._wait(EncodeRequest(kind, batch), wait_s) for batch in batches]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _wait(self, job: EncodeRequest, wait_s: float | None) -> Embeddings:
        with self._lock:
            self._waiting.append(job)
        self._thread.submit(self._work)
        try:
            return job.rows.result(wait_s)
        except TimeoutError:
            job.rows.cancel()
            raise BusyError(f"The models had no time for this within {WAIT_S:.0f} s. Try again later.") from None

    def _work(self) -> None:
        """Encode the job that has waited longest, and with it those of its kind that fit into the batch."""
        with self._lock:
            jobs, room = [], BATCH_SIZE
            for job in [job for job in self._waiting if job.kind == self._waiting[0].kind]:
                if len(job.inputs) <= room:
                    jobs.append(job)
                    room -= len(job.inputs)
            self._waiting = [job for job in self._waiting if job not in jobs]
        self._answer([job for job in jobs if job.rows.set_running_or_notify_cancel()])

    def _answer(self, jobs: Sequence[EncodeRequest]) -> None:
        if not jobs:  # they were answered with others, or nobody waits any more
            return
        try:
            rows = self._encode[jobs[0].kind]([one for job in jobs for one in job.inputs])
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].rows.set_exception(error)
            for job in jobs if len(jobs) > 1 else ():  # one of them may have spoilt it for the others
                self._answer([job])
            return
        start = 0
        for job in jobs:
            job.rows.set_result(rows[start : start + len(job.inputs)])
            start += len(job.inputs)
