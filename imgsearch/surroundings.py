"""What the process finds around it: where it runs, where it may write, what libraries would tell others of it."""

import ctypes
import functools
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

M_ARENA_MAX, M_MMAP_THRESHOLD = -8, -3  # of glibc's malloc.h
# Gradio's own, of all requests: after each that fails it would work out anew what nobody looks at.
STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}


def on_space(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this runs on a Hugging Face Space."""
    return bool(environ.get("SPACE_ID"))


def can_write(folder: Path) -> bool:
    """Whether files can be put into a folder, which is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@functools.cache
def private_folder() -> Path:
    """A temporary folder of this user alone: the same at each start, unless another user has taken its name."""
    user = getattr(os, "getuid", int)()
    folder = Path(tempfile.gettempdir()) / f"imgsearch-{user}"
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    facts = folder.lstat()
    is_closed = os.name == "nt" or not facts.st_mode & 0o077  # Windows has no such bits: the folder is the user's own
    is_own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == user and is_closed
    return folder if is_own else Path(tempfile.mkdtemp(prefix="imgsearch-"))


def prepare(caches: Path) -> None:
    """Set what libraries read when they are imported: no telemetry, and `caches` where theirs cannot be written to.

    What the user has set stays. Of a place that can be read at least, the models and the login are still used.
    """
    _give_memory_back()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ |= STATISTICS | {"FORWARDED_ALLOW_IPS": ""}  # the gate alone says who a client is
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    hub = Path(os.path.expanduser(os.environ.get("HF_HOME") or usual))  # noqa: PTH111 there may be no home
    if str(hub).startswith("~") or not can_write(hub):
        for variable, name in (("HF_HUB_CACHE", "hub"), ("HF_TOKEN_PATH", "token")):
            if (hub / name).exists():
                os.environ.setdefault(variable, str(hub / name))
        os.environ["HF_HOME"] = str(caches / "huggingface")
    else:
        os.environ["HF_HOME"] = str(hub)
    os.environ["XDG_CACHE_HOME"] = str(caches)  # numba's too


def _give_memory_back() -> None:
    """Have glibc keep less of what is free: of all threads' small blocks two heaps, of large ones none (mallopt(3)).

    As it is, an app that is much used keeps 200 MB more.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 2)
        library.mallopt(M_MMAP_THRESHOLD, 2**17)
