"""Choose by name the files that a model needs from its repository, so that nothing else is fetched."""

from collections.abc import Collection
from pathlib import Path

from imgsearch.errors import ModelError

CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
CAPTIONER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json")
VOCABULARIES = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def clip_weights(repo: str, names: Collection[str], file: str = "") -> str:
    """Return the weights' name, safetensors first; `file` is an unusual name. Raise ModelError if there are none."""
    wanted = (str(Path(file).with_suffix(".safetensors")), file) if file else CLIP_WEIGHTS
    available = [name for name in wanted if name in names]
    if not available:
        raise ModelError(
            "{repo} holds no weights for open_clip ({file}). Choose another model.", repo=repo, file=wanted[0]
        )
    return available[0]


def tokenizer_files(names: Collection[str]) -> list[str]:
    """Return the names of the files from which transformers reads a tokenizer."""
    wanted = TOKENIZER if "tokenizer.json" in names else TOKENIZER + VOCABULARIES
    return [name for name in names if name in wanted]


def captioner_files(repo: str, names: Collection[str]) -> list[str]:
    """Return the names of all files from which transformers reads a captioner. Raise ModelError without weights."""
    names = [name for name in names if "/" not in name]
    chosen = [name for name in names if name.endswith((".json", ".jinja")) and ".index." not in name]
    chosen += [name for name in tokenizer_files(names) if name not in chosen]
    for weights in CAPTIONER_WEIGHTS:
        stem, _, suffix = weights.rpartition(".")
        shards = [name for name in names if name.startswith(f"{stem}-") and name.endswith(f".{suffix}")]
        if weights in names:
            return [*chosen, weights]
        if shards and f"{weights}.index.json" in names:
            return [*chosen, f"{weights}.index.json", *shards]
    raise ModelError(
        "{repo} holds no weights for transformers ({file}). Choose another model.", repo=repo, file=CAPTIONER_WEIGHTS[0]
    )
