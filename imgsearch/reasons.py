"""What went wrong between here and the hub and what to do, in words."""

from typing import Literal, TypeAlias

from filelock import Timeout
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

Kind: TypeAlias = Literal["model", "dataset", "bundle"]


def reason(error: BaseException, kind: Kind) -> str:
    """The end of a sentence on something of that kind that cannot be had."""
    if isinstance(error, HFValidationError):
        return f"the hub has no {kind} of such a name. Check the name."
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set and its files are not all here. Unset it once to fetch them."
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        code = error.response.status_code
        return _REASONS.get(code, f"the hub answers {code}. Try later.").replace("MODEL", kind)
    if isinstance(error, Timeout):
        return "another process is fetching it. Wait until it is done, then start again."
    if isinstance(error, OSError) and error.strerror:
        place = error.filename or "while fetching"
        variable = "HF_HOME" if kind == "dataset" else "XDG_CACHE_HOME"
        return f"{error.strerror} ({place}). Make room, or set {variable} to another folder."
    return f"the connection to the hub failed ({type(error).__name__}). Check the network and start again."


_REASONS = {
    401: "the hub knows no such MODEL, or does not show it to you (401). Check the name, or log in: hf auth login",
    403: "the hub does not show it to you (403). Ask for access on its page, and log in: hf auth login",
    404: "the hub knows no such MODEL or revision (404). Check the name.",
    429: "the hub has had too many requests (429). Try again in a few minutes.",
}
