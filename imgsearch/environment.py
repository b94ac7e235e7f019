"""The surroundings of the process: where it runs, which folders it may write to, and what libraries may send out."""

import ctypes
import functools
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from imgsearch.errors import SettingsError

if sys.platform != "win32":
    import fcntl

UPLOADS = "imgsearch-uploads-"  # prefix of the folder for visitors' pictures
M_ARENA_MAX, M_MMAP_THRESHOLD = -8, -3  # from glibc's malloc.h
# Gradio's own request statistics: by default it recomputes them after each failed request, and nobody reads them.
STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}


def on_space(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if this runs on a Hugging Face Space."""
    return bool(environ.get("SPACE_ID"))


def can_write(folder: Path) -> bool:
    """Return True if files can be created in the folder. Create the folder if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@functools.cache
def private_folder() -> Path:
    """Return a temporary folder of this user alone: the same at each start, or a new one if others can write there."""
    user = getattr(os, "getuid", int)()
    folder = Path(tempfile.gettempdir()) / f"imgsearch-{user}"
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    status = folder.lstat()
    is_closed = os.name == "nt" or not status.st_mode & 0o077  # Windows has no such bits: the folder is the user's own
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == user and is_closed
    return folder if is_own else Path(tempfile.mkdtemp(prefix="imgsearch-"))


def configure_environment(caches: Path) -> None:
    """Set the variables that libraries read on import: no telemetry, and `caches` if their own cannot be written to.

    The user's own choices stay. If the usual folder can only be read, its models and login are still used.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ |= STATISTICS | {"FORWARDED_ALLOW_IPS": ""}  # web/security/rate_limit.py alone says who a client is
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


def limit_malloc() -> None:
    """Let glibc keep less freed memory: two heaps for the small blocks of all threads, no large blocks (mallopt(3)).

    Without this, an app in heavy use keeps 200 MB more; with it, a build takes a third longer.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 2)
        library.mallopt(M_MMAP_THRESHOLD, 2**17)


def cache_folder() -> Path:
    """Return the app's folder in the user's cache (XDG Base Directory Specification), else a private temporary one."""
    base = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # a user without a home
        folder = (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "imgsearch"
        if can_write(folder):
            return folder
    folder = private_folder() / "imgsearch"
    folder.mkdir(exist_ok=True)
    return folder


def hub_folder() -> Path:
    """Return the folder for files from the hub that the cache of its client cannot hold."""
    return cache_folder() / "hub"


def is_remote(bundle: Path) -> bool:
    """Return True if a bundle is a table that lies in S3."""
    return bundle.parts[:1] == ("s3:",)


def is_from_elsewhere(bundle: Path) -> bool:
    """Return True if the bundle lies in S3 or was fetched from the hub: paths in it are not of this machine."""
    folder = bundle.resolve()
    return is_remote(bundle) or folder.parent.name == "snapshots" or folder.is_relative_to(hub_folder().resolve())


def collection_name(bundle: Path) -> str:
    """Return the name of a bundle for the page: that of its folder, in the hub's cache that of the repository."""
    folder = bundle.resolve()
    is_snapshot = folder.parent.name == "snapshots" and "--" in folder.parents[1].name
    return folder.parents[1].name.rpartition("--")[2] if is_snapshot else folder.name


def bypass_proxy_for_localhost() -> None:
    """Exclude this machine from the environment's proxies: Gradio requests its own page, which no proxy can reach."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def temporary_folder() -> TemporaryDirectory[str]:
    """Create the folder for visitors' pictures. Only this user can open it; leaving its context deletes it.

    Delete those of apps that were killed: an app locks its folder as long as it runs.
    Raise SettingsError if GRADIO_TEMP_DIR names a folder that cannot be written to.
    """
    place = os.environ.get("GRADIO_TEMP_DIR")
    if place and not can_write(Path(place)):
        raise SettingsError(
            "GRADIO_TEMP_DIR is {place}, where nothing can be written. Give another folder.", place=place
        )
    for left in Path(place or tempfile.gettempdir()).glob(f"{UPLOADS}*"):
        if _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    for _ in range(3):  # another app that starts may take a new one for one that was left; some systems lock nothing
        folder = TemporaryDirectory(prefix=UPLOADS, dir=place or None, ignore_cleanup_errors=True)
        if _locked(Path(folder.name)):
            break
    return folder


def _locked(folder: Path) -> bool:
    """Lock a folder of this user until the process ends; return False if another process has locked it."""
    with suppress(OSError):
        if sys.platform != "win32" and folder.lstat().st_uid == os.getuid():
            fcntl.flock(os.open(folder, os.O_RDONLY | os.O_NOFOLLOW), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def exit_within(seconds: float) -> None:
    """End the process after that many seconds if a normal exit takes longer.

    No file is left half-written, because each is renamed into place once it is complete.
    """
    logging.disable()  # work that is interrupted now would be logged as an error
    for signal_number in (signal.SIGINT, signal.SIGTERM):  # the exit has begun: ignore further signals
        signal.signal(signal_number, signal.SIG_IGN)
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
