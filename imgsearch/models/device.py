"""Choose the device and the precision in which the hub's models run."""

from imgsearch.errors import SettingsError

PRECISIONS = ("auto", "float32", "bfloat16")


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
