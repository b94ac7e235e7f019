"""The seam between the engine and any model that maps images and texts to one vector space; and CLIP behind it."""

import json
import threading
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.clip import ClipSpec, load_clip, split_transform
from imgsearch.device import choose_device, choose_precision
from imgsearch.errors import not_loaded
from imgsearch.images import within_ratio
from imgsearch.vectors import Embeddings, normalize

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

    def cut(self, text: str) -> str:
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


class ClipEncoder:
    """An `Encoder` over open_clip: CLIP, SigLIP and their kin."""

    text_scale = 1.0

    def __init__(self, spec: ClipSpec, folders: Mapping[str, Path], *, revision: str = "", precision: str = "auto"):
        """Load from `folders`, which hold the files of the spec's repositories. Raises ModelError."""
        self.model_id = spec.model_id
        self._tokenizing = threading.Lock()  # transformers' tokenizers keep the length they are asked for
        self.revision = revision
        self._device = choose_device()
        self.precision = choose_precision(precision, self._device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._model, transform, self._tokenizer = load_clip(spec, folders, self._device)
            self._model.eval()
            self._scale, self._normalize = split_transform(transform)
            facts = self._model.visual.preprocess_cfg
            self.preprocess = json.dumps(facts, sort_keys=True)
            self.image_side = int(np.max(facts["size"]))
            if self.precision == "bfloat16":
                _multiply_in_bfloat16(self._model)
            self.dim = len(self.encode_texts([""])[0])
        except Exception as error:
            raise not_loaded(self.model_id, error) from error

    def prepare(self, image: Image.Image) -> Prepared:
        """The image scaled and cropped, uint8 (side, side, 3)."""
        return np.asarray(self._scale(within_ratio(image)))

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` gave: float32 (n, dim), unit rows."""
        import torch

        def encode(batch: Sequence[Prepared]) -> Any:
            pixels = torch.from_numpy(np.stack(batch)).to(self._device)  # (n, side, side, 3)
            return self._model.encode_image(self._normalize(pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)))

        return self._encode(prepared, encode)

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, dim), unit rows. What is beyond the model's context is cut."""
        return self._encode(texts, lambda batch: self._model.encode_text(self._tokens(batch).to(self._device)))

    def cut(self, text: str) -> str:
        """The words at the end of a text that are beyond the model's context; "" where it reads all."""
        words = text.split()
        size = self._tokenizer.context_length
        room = size + len(text.encode()) + 8  # no text has more tokens than bytes, but for a few at its ends
        empty = self._tokens([""], room)[0]

        def is_cut(count: int) -> bool:
            tokens = self._tokens([" ".join(words[:count])], room)[0]
            return bool((tokens[size:] != empty[size:]).any() and (tokens[:-size] != empty[:-size]).any())

        return " ".join(words[bisect_left(range(1, len(words) + 1), True, key=is_cut) :])

    def _tokens(self, texts: Sequence[str], size: int | None = None) -> Any:
        """(n, size): the tokens of texts; of the model's own context where no size is given."""
        with self._tokenizing:
            return self._tokenizer(list(texts), context_length=size)

    def _encode(self, inputs: Sequence[Any], encode: Any) -> Embeddings:
        import torch

        batches = [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
        is_half = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=is_half):
            rows = [encode(batch).float().cpu().numpy() for batch in batches]
        return normalize(np.concatenate(rows)) if rows else np.zeros((0, self.dim), np.float32)


def _multiply_in_bfloat16(model: Any) -> None:
    """Convert once what autocast would convert in every pass; what the blocks add up in a picture stays float32."""
    from torch import bfloat16, nn

    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.MultiheadAttention, nn.Embedding)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(bfloat16)
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, output: output.float())
