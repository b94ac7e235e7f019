"""The seam between the engine and any model that maps images and texts to one vector space; and CLIP behind it."""

import threading
import warnings
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from imgsearch.checkpoints import CONFIG, clip_weights, tokenizer_files
from imgsearch.device import choose_device, choose_precision
from imgsearch.errors import ModelError, SettingsError, not_loaded
from imgsearch.images import within_ratio
from imgsearch.vectors import Embeddings, normalize

BATCH_SIZE = 32  # pictures or texts in one forward pass
LOCAL, HUB = "local-dir:", "hf-hub:"  # open_clip's own prefixes
SAFE = {"trust_remote_code": False, "local_files_only": True}  # of a tokenizer, whatever the settings beside it say


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


@dataclass(frozen=True)
class ClipSpec:
    """What one open_clip model is made of. The names are of repositories on the hub, "" for none."""

    model_id: str  # MODEL/PRETRAINED, hf-hub:ORG/NAME or local-dir:PATH
    weights: str
    file: str = ""  # of the weights; "" for the usual names
    tokenizer: str = ""
    text_config: str = ""  # of a text tower out of transformers

    @classmethod
    def parse(cls, model_id: str) -> "ClipSpec":
        """Raises SettingsError where open_clip has no such model. Imports open_clip: seconds."""
        if model_id.startswith((LOCAL, HUB)):
            return cls(model_id, model_id.removeprefix(HUB) if model_id.startswith(HUB) else "")
        import open_clip

        name, _, tag = model_id.rpartition("/")
        location = open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "")
        config = open_clip.get_model_config(name)
        if not location or not config:
            tags = open_clip.list_pretrained_tags_by_model(name)
            known = f"{name} has {', '.join(tags)}" if tags else "open_clip's documentation lists them"
            raise SettingsError(f"open_clip has no pretrained model {model_id!r}: {known}.")
        _check_gelu(model_id, config, open_clip.get_pretrained_cfg(name, tag))
        organisation, repo, file = location.split("/")
        text = config["text_cfg"]
        tokenizer, tower = text.get("hf_tokenizer_name", ""), text.get("hf_model_name", "")
        return cls(model_id, f"{organisation}/{repo}", file, tokenizer, tower)

    @property
    def repos(self) -> list[str]:
        """The repositories to fetch, the weights' first."""
        return list(dict.fromkeys(filter(None, (self.weights, self.tokenizer, self.text_config))))

    def choose(self, repo: str, names: Collection[str]) -> list[str]:
        """The files needed of a repository, by the names it has. Raises ModelError where there are no weights."""
        chosen: list[str] = []
        if repo == self.weights:
            chosen += [clip_weights(repo, names, self.file)]
            chosen += [name for name in names if name == CONFIG]
        if repo == self.tokenizer or self.model_id.startswith(HUB):
            chosen += tokenizer_files(names)
        if repo in (self.tokenizer, self.text_config):
            chosen += [name for name in names if name == "config.json"]
        return list(dict.fromkeys(chosen))


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
                self._model, self._transform, self._tokenizer = _load(spec, folders, self.precision, self._device)
            self._model.eval()
            self.dim = len(self.encode_texts([""])[0])
        except Exception as error:
            raise not_loaded(self.model_id, error) from error

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed upright RGB images: float32 (n, dim), unit rows."""
        import torch

        dtype = getattr(torch, self.precision)

        def encode(batch: Sequence[Image.Image]) -> Any:
            pixels = torch.stack([self._transform(within_ratio(image)) for image in batch])  # (n, 3, side, side)
            return self._model.encode_image(pixels.to(self._device, dtype))

        return self._encode(images, encode)

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
        with torch.inference_mode():
            rows = [encode(batch).float().cpu().numpy() for batch in batches]
        return normalize(np.concatenate(rows)) if rows else np.zeros((0, self.dim), np.float32)


def _load(spec: ClipSpec, folders: Mapping[str, Path], precision: str, device: str) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer, from files on disk only."""
    options = {"precision": {"float32": "fp32", "bfloat16": "pure_bf16"}[precision], "device": device}
    folder = folders.get(spec.weights) or Path(spec.model_id.removeprefix(LOCAL))
    if spec.model_id.startswith((LOCAL, HUB)) or ((folder / CONFIG).is_file() and not spec.text_config):
        return _load_folder(folder, options)
    return _load_known(spec, folders, options)


def _load_folder(folder: Path, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """As the configuration in the folder says, which may be anyone's."""
    import open_clip

    name = f"{LOCAL}{folder}"
    clip_weights(str(folder), [path.name for path in folder.iterdir()])
    config = open_clip.get_model_config(name)
    text, image = config["text_cfg"], config["vision_cfg"]
    tower = text.get("hf_model_name") or (":" in image.get("timm_model_name", "") and image["timm_model_name"])
    if tower:  # it would be asked of the hub
        raise ModelError(f"its tower {tower} is not in its folder")
    safe = SAFE if text.get("hf_tokenizer_name") else {}
    return *open_clip.create_model_from_pretrained(name, **options), open_clip.get_tokenizer(name, **safe)


def _load_known(spec: ClipSpec, folders: Mapping[str, Path], options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """As open_clip's own configuration of that name says."""
    import open_clip

    name, _, tag = spec.model_id.rpartition("/")
    known = open_clip.get_pretrained_cfg(name, tag)
    text = open_clip.get_model_config(name)["text_cfg"]
    if spec.text_config:
        text |= {"hf_model_name": str(folders[spec.text_config]), "hf_model_pretrained": False}
        options["text_cfg"] = text
    folder = folders[spec.weights]
    loaded = open_clip.create_model_from_pretrained(
        name,
        pretrained=str(folder / clip_weights(spec.weights, [path.name for path in folder.iterdir()], spec.file)),
        image_mean=known.get("mean"),
        image_std=known.get("std"),
        image_interpolation=known.get("interpolation"),
        image_resize_mode=known.get("resize_mode"),
        **options,
    )
    if not spec.tokenizer:
        return *loaded, open_clip.get_tokenizer(name)
    tokenizer = open_clip.tokenizer.HFTokenizer(
        str(folders[spec.tokenizer]),
        context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
        tokenizer_mode=text.get("tokenizer_mode"),
        **text.get("tokenizer_kwargs", {}) | SAFE,
    )
    return *loaded, tokenizer


def _check_gelu(model_id: str, config: Mapping[str, Any], pretrained: Mapping[str, Any]) -> None:
    """open_clip only warns where weights trained with one activation would be run with another."""
    if config.get("quick_gelu", False) != pretrained.get("quick_gelu", False):
        name, _, tag = model_id.rpartition("/")
        other = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
        raise SettingsError(f"{model_id} was trained with another activation than {name} has. Use {other}/{tag}.")
