"""open_clip's models: their parts, and loading them from files on disk. Only this module imports that library."""

import json
import threading
import warnings
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imgsearch.embeddings import Embeddings, in_batches, normalize
from imgsearch.errors import Message, ModelError, SettingsError
from imgsearch.files import digest_file
from imgsearch.images import within_ratio
from imgsearch.models.encoder import BATCH_SIZE, Encoder, Prepared
from imgsearch.models.loading import CONFIG, choose_device, choose_precision, clip_weights, not_loaded, tokenizer_files

LOCAL_DIR_PREFIX, HF_HUB_PREFIX = "local-dir:", "hf-hub:"  # open_clip's own prefixes
MAX_CHARACTERS = 2000  # of a text that are read: the tokenizers take the square of a run of accents
SAFE = {"trust_remote_code": False, "local_files_only": True}  # for a tokenizer, whatever its own files say


@dataclass(frozen=True)
class ClipSpec:
    """The parts of an open_clip model. `weights`, `tokenizer`, `text_config`: repositories on the hub, "" for none."""

    model_id: str  # MODEL/PRETRAINED, hf-hub:ORG/NAME or local-dir:PATH
    weights: str  # "" for a local folder
    file: str = ""  # name of the weights file; "" for the usual names
    tokenizer: str = ""
    text_config: str = ""  # of a text tower from transformers

    @classmethod
    def parse(cls, model_id: str) -> "ClipSpec":
        """Parse a model's name. Raise SettingsError if open_clip has no such model. May import open_clip: seconds."""
        if model_id.startswith((LOCAL_DIR_PREFIX, HF_HUB_PREFIX)):
            return cls(model_id, model_id.removeprefix(HF_HUB_PREFIX) if model_id.startswith(HF_HUB_PREFIX) else "")
        import open_clip

        name, _, tag = model_id.rpartition("/")
        known, config = open_clip.get_pretrained_cfg(name, tag), open_clip.get_model_config(name)
        location = known.get("hf_hub", "")
        if not location or not config:
            tags = open_clip.list_pretrained_tags_by_model(name)
            known = f"{name} has {', '.join(tags)}" if tags else Message("open_clip's documentation lists them")
            raise SettingsError("open_clip has no pretrained model {model!r}: {known}.", model=model_id, known=known)
        if known.get("quick_gelu") and not config.get("quick_gelu"):  # open_clip only warns
            other = f"{name}-quickgelu/{tag}"
            raise SettingsError(
                "{model} was trained with another activation than {name} has. Use {other}.",
                model=model_id,
                name=name,
                other=other,
            )
        organisation, repo, file = location.split("/")
        text = config["text_cfg"]
        tokenizer, tower = text.get("hf_tokenizer_name", ""), text.get("hf_model_name", "")
        return cls(model_id, f"{organisation}/{repo}", file, tokenizer, tower)

    @property
    def repos(self) -> list[str]:
        """The repositories to fetch, that of the weights first."""
        return list(dict.fromkeys(filter(None, (self.weights, self.tokenizer, self.text_config))))

    def choose(self, repo: str, names: Collection[str]) -> list[str]:
        """Return the needed ones of a repository's file names. Raise ModelError if the weights are missing."""
        wanted = [clip_weights(repo, names, self.file), CONFIG] if repo == self.weights else []
        if repo == self.tokenizer or self.model_id.startswith(HF_HUB_PREFIX):
            wanted += tokenizer_files(names)
        if repo in (self.tokenizer, self.text_config):
            wanted.append("config.json")
        return list(dict.fromkeys(name for name in wanted if name in names))


def load_clip(spec: ClipSpec, folders: Mapping[str, Path], device: str) -> tuple[Any, Any, Any]:
    """Return model, transform and tokenizer in float32. `folders` has one for each of the spec's repositories.

    Raise ModelError if files are missing, and whatever open_clip raises on damaged ones.
    """
    import open_clip

    folder = folders[spec.weights]
    has_config = (folder / CONFIG).is_file() and not spec.text_config
    if has_config or spec.model_id.startswith((LOCAL_DIR_PREFIX, HF_HUB_PREFIX)):
        return _load_folder(folder, device)
    name, _, tag = spec.model_id.rpartition("/")
    known = open_clip.get_pretrained_cfg(name, tag)
    text = open_clip.get_model_config(name)["text_cfg"]
    options: dict[str, Any] = {"device": device}
    if spec.text_config:
        text |= {"hf_model_name": str(folders[spec.text_config]), "hf_model_pretrained": False}
        options["text_cfg"] = text
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


def _load_folder(folder: Path, device: str) -> tuple[Any, Any, Any]:
    """Load by the configuration in the folder, which may come from a stranger."""
    import open_clip

    name = f"{LOCAL_DIR_PREFIX}{folder}"
    config = open_clip.get_model_config(name)
    text, image = config["text_cfg"], config["vision_cfg"]
    tower = text.get("hf_model_name") or (":" in image.get("timm_model_name", "") and image["timm_model_name"])
    if tower:  # open_clip would fetch it from the hub
        raise ModelError("its tower {tower} is not in its folder.", tower=tower)
    safe = SAFE if text.get("hf_tokenizer_name") else {}
    return *open_clip.create_model_from_pretrained(name, device=device), open_clip.get_tokenizer(name, **safe)


class ClipEncoder(Encoder):
    """An `Encoder` for open_clip's models: CLIP, SigLIP and related ones."""

    text_scale = 1.0

    def __init__(self, spec: ClipSpec, folders: Mapping[str, Path], *, precision: str = "auto") -> None:
        """Load the model from `folders`, one for each of the spec's repositories. Raise ModelError if that fails."""
        from torchvision.transforms import Compose, Normalize, ToTensor

        self.model_id = spec.model_id
        self._tokenizing = threading.Lock()  # a tokenizer of transformers stores the length of the call
        self._device = choose_device()
        self.precision = choose_precision(precision, self._device)
        folder = folders[spec.weights]
        try:
            self.revision = folder.name if spec.weights else _digest_weights(folder)  # a commit names its snapshot
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._model, transform, self._tokenizer = load_clip(spec, folders, self._device)
            self._model.eval()
            *steps, to_tensor, self._normalize = transform.transforms
            if not isinstance(to_tensor, ToTensor) or not isinstance(self._normalize, Normalize):
                raise ValueError(f"an unknown transform: {transform}")
            self._scale = Compose(steps)  # the rest is done for a whole batch
            config = self._model.visual.preprocess_cfg
            self.preprocess = json.dumps(config, sort_keys=True)
            self.image_side = int(np.max(config["size"]))
            if self.precision == "bfloat16":
                _multiply_in_bfloat16(self._model)
            self.dim = 0  # until the first row is there
            self.dim = self.encode_texts([""]).shape[1]
        except Exception as error:
            raise not_loaded(self.model_id, error) from error

    def prepare(self, image: Image.Image) -> Prepared:
        """Return the image scaled and cropped: uint8 (side, side, 3)."""
        return np.asarray(self._scale(within_ratio(image)))

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        """Embed what `prepare` returned: float32 (n, dim), unit rows."""
        import torch

        def encode(batch: Sequence[Prepared]) -> Any:
            pixels = torch.from_numpy(np.stack(batch)).to(self._device)  # (n, side, side, 3)
            return self._model.encode_image(self._normalize(pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)))

        return self._encode(prepared, encode)

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, dim), unit rows. Words beyond the model's context are cut off."""
        return self._encode(texts, lambda batch: self._model.encode_text(self._tokens(batch).to(self._device)))

    def truncated_tail(self, text: str) -> str:
        """Return the words at the end of a text that are beyond the model's context; "" if it reads all."""
        words = text.split()
        size = self._tokenizer.context_length
        room = size + len(text[:MAX_CHARACTERS].encode()) + 8  # no text has more tokens than bytes, plus its ends
        empty = self._tokens([""], room)[0]

        def is_cut(count: int) -> bool:
            tokens = self._tokens([" ".join(words[:count])], room)[0]
            return bool((tokens[size:] != empty[size:]).any() and (tokens[:-size] != empty[:-size]).any())

        return " ".join(words[bisect_left(range(1, len(words) + 1), True, key=is_cut) :])

    def _tokens(self, texts: Sequence[str], size: int | None = None) -> Any:
        """Return the tokens of texts, (n, size). The default size is the model's context length."""
        with self._tokenizing:
            return self._tokenizer([text[:MAX_CHARACTERS] for text in texts], context_length=size)

    def _encode(self, inputs: Sequence[Any], encode: Any) -> Embeddings:
        import torch

        is_half = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=is_half):
            rows = in_batches(lambda batch: encode(batch).float().cpu().numpy(), inputs, BATCH_SIZE, self.dim)
        return normalize(rows)


def _digest_weights(folder: Path) -> str:
    return digest_file(folder / clip_weights(str(folder), [path.name for path in folder.iterdir()])).sha256


def _multiply_in_bfloat16(model: Any) -> None:
    """Convert the weights once, not by autocast in every pass. The sums between a picture's blocks stay float32."""
    from torch import bfloat16, nn

    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.MultiheadAttention, nn.Embedding)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(bfloat16)
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, output: output.float())
