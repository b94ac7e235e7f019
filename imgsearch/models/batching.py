"""Encode the inputs of many threads in shared batches, on one thread: torch is slower if several threads use it."""

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

WAIT_S = 30.0  # longest wait of a query, its own encoding included
InputKind = Literal["texts", "pictures"]


@dataclass(eq=False)
class EncodeRequest:
    """The inputs of one call, at most one batch of them."""

    kind: InputKind
    inputs: Sequence[Any]
    rows: Future[Embeddings] = field(default_factory=Future)


class BatchingEncoder:
    """An `Encoder` that many threads may use: calls that wait at the same time are encoded in one batch.

    One thread, always the same, uses the model: torch is slower in a process where several threads have used it.
    If the encoder is a `Classifier`, so is this object.
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
        """Embed texts: float32 (n, dim), unit rows; row i is texts[i]. Raise BusyError if one text waits too long."""
        return self._encode_in_batches("texts", texts)

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` returned: float32 (n, dim), unit rows; row i is prepared[i]. Raise BusyError, too."""
        return self._encode_in_batches("pictures", prepared)

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows; row i is images[i]. Raise BusyError, too."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def _encode_in_batches(self, kind: InputKind, inputs: Sequence[Any]) -> Embeddings:
        """Split into batches and queue each one, so that a single query can run in between."""
        batches = [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
        wait_s = WAIT_S if len(inputs) == 1 else None  # bulk work has no timeout
        rows = [self._wait(EncodeRequest(kind, batch), wait_s) for batch in batches]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _wait(self, request: EncodeRequest, wait_s: float | None) -> Embeddings:
        with self._lock:
            self._waiting.append(request)
        self._thread.submit(self._encode_next_batch)
        try:
            return request.rows.result(wait_s)
        except TimeoutError:
            request.rows.cancel()
            raise BusyError(
                "The models had no time for this within {seconds:.0f} s. Try again later.", seconds=WAIT_S
            ) from None

    def _encode_next_batch(self) -> None:
        """Encode the request that has waited longest, with others of its kind that fit into the same batch."""
        with self._lock:
            requests, room = [], BATCH_SIZE
            for request in [request for request in self._waiting if request.kind == self._waiting[0].kind]:
                if len(request.inputs) <= room:
                    requests.append(request)
                    room -= len(request.inputs)
            self._waiting = [request for request in self._waiting if request not in requests]
        self._encode_together([request for request in requests if request.rows.set_running_or_notify_cancel()])

    def _encode_together(self, requests: Sequence[EncodeRequest]) -> None:
        if not requests:  # they were encoded with others, or nobody waits any more
            return
        try:
            rows = self._encode[requests[0].kind]([value for request in requests for value in request.inputs])
        except Exception as error:
            if len(requests) == 1:
                requests[0].rows.set_exception(error)
            for request in requests if len(requests) > 1 else ():  # one of them may be the cause: try each alone
                self._encode_together([request])
            return
        start = 0
        for request in requests:
            request.rows.set_result(rows[start : start + len(request.inputs)])
            start += len(request.inputs)
