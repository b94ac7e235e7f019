"""open_clip's models: what one is made of, and its loading from files on disk. The only home of that library."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgsearch.checkpoints import CONFIG, clip_weights, tokenizer_files
from imgsearch.errors import ModelError, SettingsError

LOCAL, HUB = "local-dir:", "hf-hub:"  # open_clip's own prefixes
SAFE = {"trust_remote_code": False, "local_files_only": True}  # of a tokenizer, whatever the settings beside it say


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
        known, config = open_clip.get_pretrained_cfg(name, tag), open_clip.get_model_config(name)
        location = known.get("hf_hub", "")
        if not location or not config:
            tags = open_clip.list_pretrained_tags_by_model(name)
            known = f"{name} has {', '.join(tags)}" if tags else "open_clip's documentation lists them"
            raise SettingsError(f"open_clip has no pretrained model {model_id!r}: {known}.")
        if known.get("quick_gelu") and not config.get("quick_gelu"):  # open_clip only warns
            other = f"{name}-quickgelu/{tag}"
            raise SettingsError(f"{model_id} was trained with another activation than {name} has. Use {other}.")
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


def load_clip(spec: ClipSpec, folders: Mapping[str, Path], device: str) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer, in float32, from `folders`, which hold the files of the spec's repositories.

    Raises ModelError where they are not all there, and whatever open_clip raises on damaged ones.
    """
    folder = folders.get(spec.weights) or Path(spec.model_id.removeprefix(LOCAL))
    if spec.model_id.startswith((LOCAL, HUB)) or ((folder / CONFIG).is_file() and not spec.text_config):
        return _load_folder(folder, device)
    return _load_known(spec, folders, device)


def _load_folder(folder: Path, device: str) -> tuple[Any, Any, Any]:
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
    return *open_clip.create_model_from_pretrained(name, device=device), open_clip.get_tokenizer(name, **safe)


def _load_known(spec: ClipSpec, folders: Mapping[str, Path], device: str) -> tuple[Any, Any, Any]:
    """As open_clip's own configuration of that name says."""
    import open_clip

    name, _, tag = spec.model_id.rpartition("/")
    known = open_clip.get_pretrained_cfg(name, tag)
    text = open_clip.get_model_config(name)["text_cfg"]
    options: dict[str, Any] = {"device": device}
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


def split_transform(transform: Any) -> tuple[Any, Any]:
    """Of a picture's transform what scales and crops an image, and what normalizes pixels, (n, 3, h, w) in 0..1.

    Raises ValueError for a transform that is not made of these two with the conversion to a tensor between them.
    """
    from torchvision.transforms import Compose, Normalize, ToTensor

    *steps, to_tensor, normalize = transform.transforms
    if not isinstance(to_tensor, ToTensor) or not isinstance(normalize, Normalize):
        raise ValueError(f"an unknown transform: {transform}")
    return Compose(steps), normalize
