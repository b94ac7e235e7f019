"""Which model answers: a spec from the user to a loaded model."""

from imgsearch.encoder import Encoder
from imgsearch.errors import SettingsError

SPECS = ("auto", "starter")  # auto: the best model at hand, which is the starter


def load_encoder(spec: str) -> Encoder:
    """Load the encoder that `spec` names. Takes seconds. Raises SettingsError for an unknown spec."""
    check_spec("encoder", spec)
    from imgsearch.starter import StarterEncoder  # imports torch

    return StarterEncoder()


def check_spec(kind: str, spec: str) -> None:
    """Raise SettingsError where no `kind` (encoder, captioner) goes by the name of `spec`."""
    if spec not in SPECS:
        raise SettingsError(f"There is no {kind} {spec!r}. Use one of: {', '.join(SPECS)}.")
