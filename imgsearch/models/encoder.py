"""The `Encoder` protocol between the engine and any model that maps images and texts to one vector space.

`BatchingEncoder` runs one for many threads: torch is slower if several of them use it.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt
from PIL import Image

from imgsearch.embeddings import Embeddings, in_batches
from imgsearch.errors import BusyError

PLAIN_STARTER_ID = "starter/efficientnet-lite0+minilm-l6-v2"  # without colours; bundles of earlier versions name it
STARTER_ID = f"{PLAIN_STARTER_ID}+colours"  # the model_id of the starter model
STARTER_IDS = (STARTER_ID, PLAIN_STARTER_ID)
BATCH_SIZE = 32  # pictures or texts in one forward pass
WAIT_S = 30.0  # longest wait of a query, its own encoding included
Encode: TypeAlias = Callable[[Sequence[Any]], Embeddings]
Prepared: TypeAlias = npt.NDArray[Any]
"""An encoder's input for one image. Only the encoder knows its shape."""


class Encoder(Protocol):
    """A model that maps images and texts to one vector space. Safe to call from several threads.

    Each input becomes a row of length 1. The score of two rows is a cosine, -1..1: the inner product of two image rows;
    for a text row and an image row, the inner product times `text_scale`.

    Example:
        images = encoder.encode_images([cat, dog])  # float32 (2, dim)
        texts = encoder.encode_texts(["a cat"])  # float32 (1, dim)
        scores = texts @ images.T * encoder.text_scale  # (1, 2): scores[i, j] is for text i and image j
        similarities = images @ images.T  # (2, 2), with 1.0 on the diagonal
    """

    model_id: str  # the model's full name; stored in the manifest of every bundle it makes
    revision: str  # the commit of its weights on the hub, or their SHA-256 if from a folder; "" if from a package
    precision: str  # of its forward pass: "float32" or "bfloat16"
    dim: int  # length of an embedding
    # The inner product of a text row and an image row, times this, is their cosine: 1.0 if texts and images share all
    # dimensions; more if image rows have part of their length in extra ones.
    text_scale: float
    preprocess: str  # the preparation of a picture for the model, in words or JSON; stored in every manifest
    image_side: int  # the side of the square that the model sees, in pixels

    def prepare(self, image: Image.Image) -> Prepared:
        """Return the model's input for an upright RGB image: the part of the work that other threads can do ahead."""

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` returned: float32 (n, dim), unit rows; row i is prepared[i]. n may be 0."""

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows; row i is images[i]. n may be 0."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, dim), unit rows; row i is texts[i]. n may be 0."""

    def truncated_tail(self, text: str) -> str:
        """Return the words at the end of a text that the model does not read; "" if it reads all."""
        return ""


@runtime_checkable
class Classifier(Protocol):
    """An extra ability of some `Encoder`s: to classify image rows into classes of their own."""

    classes: Sequence[str]  # for each class the narrowest term of the vocabulary that it is; "" for none

    def class_probabilities(self, rows: Embeddings) -> Embeddings:
        """Return the probability of each class for (n, dim) image rows: float32 (n, classes), rows that sum to 1."""


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

    def __init__(self, encoder: Encoder) -> None:
        self.model_id, self.revision, self.precision = encoder.model_id, encoder.revision, encoder.precision
        self.dim, self.text_scale = encoder.dim, encoder.text_scale
        self.preprocess, self.image_side = encoder.preprocess, encoder.image_side
        if isinstance(encoder, Classifier):
            self.classes, self.class_probabilities = encoder.classes, encoder.class_probabilities
        self._encoder = encoder
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._waiting: list[EncodeRequest] = []
        self._lock = threading.Lock()

    def prepare(self, image: Image.Image) -> Prepared:
        """Return the encoder's input for an image, in the caller's thread."""
        return self._encoder.prepare(image)

    def truncated_tail(self, text: str) -> str:
        """Return the words at the end of a text that the encoder does not read."""
        return self._encoder.truncated_tail(text)

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts as `Encoder` says. Raise BusyError if one text waits too long."""
        return self._encode_in_turn(self._encoder.encode_texts, texts)

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` returned as `Encoder` says. Raise BusyError if one picture waits too long."""
        return self._encode_in_turn(self._encoder.encode_prepared, prepared)

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
