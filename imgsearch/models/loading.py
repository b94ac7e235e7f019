"""Choose the files of a model from the hub, a device and a precision, and say why loading it failed."""

from collections.abc import Collection
from pathlib import Path

from imgsearch.errors import Message, ModelError, SettingsError

CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
CAPTIONER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json")
VOCABULARIES = ("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
PRECISIONS = ("auto", "float32", "bfloat16")


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
    settings = [name for name in names if name.endswith((".json", ".jinja")) and ".index." not in name]
    chosen = list(dict.fromkeys([*settings, *tokenizer_files(names)]))
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


def choose_device() -> str:
    """Return the first of "cuda", "mps" and "cpu" that is available."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(precision: str, device: str) -> str:
    """Resolve "auto" for a device: bfloat16 if the hardware multiplies it, else float32. Return any other as it is."""
    import torch

    if precision != "auto":
        return precision
    if device == "cuda":
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        is_fast = device == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return "bfloat16" if is_fast else "float32"


def check_precision(precision: str) -> None:
    """Raise SettingsError for an unknown precision."""
    if precision not in PRECISIONS:
        raise SettingsError(
            "There is no precision {precision!r}. Use one of: {precisions}.",
            precision=precision,
            precisions=", ".join(PRECISIONS),
        )


def not_loaded(model_id: str, error: Exception) -> ModelError:
    """Return the error that tells the user why a library could not load a model."""
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return ModelError(
            "{model} cannot be loaded: there is not enough memory. Choose a smaller model.", model=model_id
        )
    reason = (
        error
        if isinstance(error, ModelError)
        else Message("its files are damaged or of another kind ({error}).", error=f"{error!r:.80}")
    )
    return ModelError(
        "{model} cannot be loaded: {reason} Choose another model, or put its files right.",
        model=model_id,
        reason=reason,
    )
