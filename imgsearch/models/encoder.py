"""The `Encoder` protocol between the engine and any model that maps images and texts to one vector space."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.embeddings import Embeddings

PLAIN_STARTER_ID = "starter/efficientnet-lite0+minilm-l6-v2"  # without colours; bundles of earlier versions name it
STARTER_ID = f"{PLAIN_STARTER_ID}+colours"  # the model_id of the starter model
STARTER_IDS = (STARTER_ID, PLAIN_STARTER_ID)
BATCH_SIZE = 32  # pictures or texts in one forward pass
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


def in_batches(encode: Callable[[Sequence[Any]], Embeddings], inputs: Sequence[Any], size: int, dim: int) -> Embeddings:
    """Encode at most `size` inputs at a time: float32 (n, dim)."""
    rows = [encode(inputs[start : start + size]) for start in range(0, len(inputs), size)]
    return np.concatenate(rows) if rows else np.zeros((0, dim), np.float32)
