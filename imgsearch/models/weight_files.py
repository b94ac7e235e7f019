"""Which of its repository's files a model needs, by their names."""

from collections.abc import Collection
from pathlib import Path

from imgsearch.errors import ModelError

CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
CAPTIONER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json")
VOCABULARIES = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")


def clip_weights(repo: str, names: Collection[str], file: str = "") -> str:
    """The name of open_clip's weights, safetensors where there are some; `file` where they go by a name of their own.

    Raises ModelError where there are none.
    """
    wanted = (str(Path(file).with_suffix(".safetensors")), file) if file else CLIP_WEIGHTS
    found = [name for name in wanted if name in names]
    if not found:
        raise ModelError(f"{repo} holds no weights for open_clip ({wanted[0]}). Choose another model.")
    return found[0]


def tokenizer_files(names: Collection[str]) -> list[str]:
    """What transformers reads a tokenizer from."""
    wanted = TOKENIZER if "tokenizer.json" in names else TOKENIZER + VOCABULARIES
    return [name for name in names if name in wanted]


def captioner_files(repo: str, names: Collection[str]) -> list[str]:
    """All that transformers reads a captioner from. Raises ModelError where there are no weights."""
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
    raise ModelError(f"{repo} holds no weights for transformers ({CAPTIONER_WEIGHTS[0]}). Choose another model.")
