"""Encode the inputs of many threads in shared batches, on one thread: torch is slower if several threads use it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from PIL import Image

from imgsearch.embeddings import Embeddings
from imgsearch.errors import BusyError
from imgsearch.models.encoder import BATCH_SIZE, Encoder, Prepared, in_batches

WAIT_S = 30.0  # longest wait of a query, its own encoding included
MORE = ("truncated_tail", "classes", "class_probabilities")
Encode: TypeAlias = Callable[[Sequence[Any]], Embeddings]


@dataclass(eq=False)
class EncodeRequest:
    """The inputs of one call, at most one batch of them."""

    encode: Encode
    inputs: Sequence[Any]
    rows: Future[Embeddings] = field(default_factory=Future)


class BatchingEncoder(Encoder):
    """An `Encoder` that many threads may use: calls that wait at the same time are encoded in one batch.

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

    def __init__(self, encoder: Encoder) -> None:
        names = (*BatchingEncoder.__annotations__, *MORE)
        vars(self).update({name: getattr(encoder, name) for name in names if hasattr(encoder, name)})
        self._encode_texts, self._encode_prepared = encoder.encode_texts, encoder.encode_prepared
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting: list[EncodeRequest] = []
        self._lock = threading.Lock()

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts as `Encoder` says. Raise BusyError if one text waits too long."""
        return self._encode_in_turn(self._encode_texts, texts)

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` returned as `Encoder` says. Raise BusyError if one picture waits too long."""
        return self._encode_in_turn(self._encode_prepared, prepared)

    def _encode_in_turn(self, encode: Encode, inputs: Sequence[Any]) -> Embeddings:
        """Queue each batch by itself, so that a single query can run in between."""
        wait_s = WAIT_S if len(inputs) == 1 else None  # bulk work has no timeout
        return in_batches(partial(self._wait, encode, wait_s), inputs, BATCH_SIZE, self.dim)

    def _wait(self, encode: Encode, wait_s: float | None, inputs: Sequence[Any]) -> Embeddings:
        request = EncodeRequest(encode, inputs)
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
            for request in self._waiting:
                if request.encode == self._waiting[0].encode and len(request.inputs) <= room:
                    requests.append(request)
                    room -= len(request.inputs)
            self._waiting = [request for request in self._waiting if request not in requests]
        if requests := [request for request in requests if request.rows.set_running_or_notify_cancel()]:
            _encode_together(requests)


def _encode_together(requests: Sequence[EncodeRequest]) -> None:
    try:
        rows = requests[0].encode([value for request in requests for value in request.inputs])
    except Exception as error:
        if len(requests) == 1:
            requests[0].rows.set_exception(error)
        else:  # one of them may be the cause: try each alone
            for request in requests:
                _encode_together([request])
        return
    for request in requests:
        request.rows.set_result(rows[: len(request.inputs)])
        rows = rows[len(request.inputs) :]
