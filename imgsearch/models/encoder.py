"""The seam between the engine and any model that maps images and texts to one vector space; and CLIP behind it."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt
from PIL import Image

from imgsearch.embeddings import Embeddings

BATCH_SIZE = 32  # pictures or texts in one forward pass
Prepared: TypeAlias = npt.NDArray[Any]
"""What an encoder takes of one image; its own affair."""


class Encoder(Protocol):
    """Maps images and texts to one vector space. Safe to call from several threads."""

    @property
    def model_id(self) -> str:
        """The model's full name; stored in the manifest of every bundle it makes."""
        ...

    @property
    def revision(self) -> str:
        """The commit of its weights on the hub, or their SHA-256 in a folder; "" where they come with a package."""
        ...

    @property
    def precision(self) -> str:
        """Of its forward pass: "float32" or "bfloat16"."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def text_scale(self) -> float:
        """What the inner product of a text row and an image row is multiplied by to be their cosine.

        1.0 where texts and images share all dimensions; more where an image row keeps part of its
        length in dimensions of its own.
        """
        ...

    @property
    def preprocess(self) -> str:
        """What it does to a picture before the model sees it, in words or JSON; stored in every manifest."""
        ...

    @property
    def image_side(self) -> int:
        """Pixels of the square that the model sees."""
        ...

    def prepare(self, image: Image.Image) -> Prepared:
        """What the model takes of an upright RGB image: the part of the work that other threads can do ahead."""
        ...

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` gave: float32 (n, dim), unit rows; row i is prepared[i]. n may be 0."""
        ...

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows; row i is images[i]. n may be 0."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, dim), unit rows; row i is texts[i]. n may be 0."""
        ...

    def truncated_tail(self, text: str) -> str:
        """The words at the end of a text that are beyond what the model reads; "" where it reads all."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """What an `Encoder` can also be: one that tells classes of its own from the rows of its images."""

    @property
    def classes(self) -> Sequence[Sequence[str]]:
        """Of each class the name and what it is a kind of, nearest first: ("great grey owl", "owl", "bird")."""
        ...

    def class_probabilities(self, rows: Embeddings) -> Embeddings:
        """Of (n, dim) image rows the probability of each class: float32 (n, classes), rows that sum to 1."""
        ...
