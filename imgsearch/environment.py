"""What the process finds around it: where it runs, where it may write, what libraries would tell others of it."""

import ctypes
import functools
import logging
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from imgsearch.errors import SettingsError

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


def configure_environment(caches: Path) -> None:
    """Set what libraries read when they are imported: no telemetry, and `caches` where theirs cannot be written to.

    What the user has set stays. Of a place that can be read at least, the models and the login are still used.
    """
    _limit_malloc()
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


def _limit_malloc() -> None:
    """Have glibc keep less of what is free: of all threads' small blocks two heaps, of large ones none (mallopt(3)).

    As it is, an app that is much used keeps 200 MB more.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 2)
        library.mallopt(M_MMAP_THRESHOLD, 2**17)


def cache_folder() -> Path:
    """The user's cache folder for this app (XDG Base Directory Specification); a private temporary one without it."""
    base = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # a user without a home
        folder = (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "imgsearch"
        if can_write(folder):
            return folder
    folder = private_folder() / "imgsearch"
    folder.mkdir(exist_ok=True)
    return folder


def hub_folder() -> Path:
    """Where files from the hub are kept."""
    return cache_folder() / "hub"


def is_from_hub(bundle: Path) -> bool:
    """Whether this was fetched from the hub: what it says of paths does not concern this machine."""
    return bundle.resolve().is_relative_to(hub_folder().resolve())


def bypass_proxy_for_localhost() -> None:
    """Keep requests to this machine away from any proxy of the environment: Gradio checks its own page by one."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def disable_openmp_spinning() -> None:
    """Have torch's threads sleep where they wait for each other: spinning, they take the cores from those that decode.

    To be called before torch is imported (GCC's libgomp manual: GOMP_SPINCOUNT).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def temporary_folder() -> TemporaryDirectory[str]:
    """Make the folder for visitors' pictures, which nobody else can reach; it is deleted when the app ends.

    Raise SettingsError where GRADIO_TEMP_DIR names a folder that cannot be written to.
    """
    place = os.environ.get("GRADIO_TEMP_DIR")
    if place and not can_write(Path(place)):
        raise SettingsError(f"GRADIO_TEMP_DIR is {place}, where nothing can be written. Give another folder.")
    return TemporaryDirectory(prefix="imgsearch-", dir=place or None, ignore_cleanup_errors=True)


def exit_within(seconds: float) -> None:
    """End the process after that many seconds, if closing everything takes longer.

    No file is left half-written: each is put in its place whole, by a rename.
    """
    logging.disable()  # what is cut short now would be reported as an error
    for signal_number in (signal.SIGINT, signal.SIGTERM):  # once is enough
        signal.signal(signal_number, signal.SIG_IGN)
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
