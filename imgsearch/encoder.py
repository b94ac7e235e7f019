"""The seam between the engine and any model that maps images and texts to one vector space."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from PIL import Image

from imgsearch.vectors import Embeddings


class Encoder(Protocol):
    """Maps images and texts to one vector space. Safe to call from several threads."""

    @property
    def model_id(self) -> str:
        """The model's full name; stored in the manifest of every bundle it makes."""
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

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows; row i is images[i]. n may be 0."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, dim), unit rows; row i is texts[i]. n may be 0."""
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
