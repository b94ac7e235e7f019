"""A source and an encoder that take almost no memory, so that only the memory of a build is measured."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from imgsearch.embeddings import Embeddings, normalize
from imgsearch.ingest.source import START, Position
from imgsearch.models.encoder import Prepared
from imgsearch.records import Picture, Skip

DIM = 512
SEED = 0


class FakeSource:
    """A `Source` of tiny JPEGs, each created when it is read."""

    name, revision, split, licence = "hf://datasets/made/up", "1", "train", ""
    options: Mapping[str, str] = MappingProxyType({})
    is_lazy = False
    group_ends: Sequence[int] = ()
    files: Sequence["FakeSource"] = ()
    listing = ""

    def __init__(self, num_entries: int) -> None:
        self.skips: list[Skip] = []
        self.num_entries: int | None = num_entries

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        for index in range(start.index, self.num_entries or 0):
            yield Picture(f"train/{index}", partial(self._jpeg, index), f"caption of the picture {index}")

    def state(self) -> str:
        return ""

    def _jpeg(self, index: int) -> bytes:
        buffer = io.BytesIO()
        Image.frombytes("L", (8, 8), hashlib.blake2b(str(index).encode()).digest()).save(buffer, "JPEG")
        return buffer.getvalue()


class Projection:
    """An `Encoder` that takes almost no memory: it multiplies 8 x 8 RGB pixels by a random matrix."""

    model_id, revision, precision, preprocess = "projection", "1", "float32", "8 x 8"
    dim, text_scale, image_side = DIM, 1.0, 8

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(SEED).standard_normal((192, DIM), np.float32)

    def prepare(self, image: Image.Image) -> Prepared:
        return np.asarray(image.resize((8, 8)))

    def encode_prepared(self, prepared: Any) -> Embeddings:
        return normalize(np.stack(prepared).reshape(len(prepared), -1) @ self._matrix)

    def encode_images(self, images: Any) -> Embeddings:
        return self.encode_prepared([self.prepare(image) for image in images])

    def encode_texts(self, texts: Any) -> Embeddings:
        raise NotImplementedError("a build embeds no text")

    def truncated_tail(self, text: str) -> str:
        return ""
