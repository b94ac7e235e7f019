"""Fetch files from the Hugging Face hub into the standard cache of its client, which all programs share."""

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from filelock import FileLock
from huggingface_hub import (
    HfApi,
    HfFileSystem,
    HfFileSystemFile,
    constants,
    get_cached_repo_tree,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff  # type: ignore[attr-defined]
from tqdm import tqdm

from imgsearch.embeddings import OnProgress
from imgsearch.environment import cache_folder, can_write, hub_folder, on_space
from imgsearch.errors import BundleError, ImgsearchError, Message, ModelError
from imgsearch.files import write_atomic
from imgsearch.hub import COMMIT, Extend, Repo, explain_hub_error, probe, run_with_timeout

# Seconds. The client's own timeouts do not cover the list of all files, nor its many retries.
ANSWER_S = 10.0  # to begin with a file, or to list all
IN_MOST = ["README.md", ".gitattributes"]  # of datasets; looked for when only names are wanted
STALL_S = 60.0  # without a byte of a file: a connection may come back
READ_RETRIES = 2  # of a range of a remote file; each waits for the client's timeout, ten seconds
HASH_RATE = 50e6  # bytes per second that a slow machine hashes

SILENT: Any = partial(tqdm, disable=True)

Choose: TypeAlias = Callable[[Collection[str]], list[str]]
"""Return the needed ones of a repository's file names. Raise ModelError or BundleError if one is missing."""


def cached_snapshot(repo: Repo, choose: Choose) -> Path | None:
    """Return the folder of what is on disk, whoever fetched it, or None if a file is missing. Works offline."""
    for cache in _caches():
        options: dict[str, Any] = {"repo_type": repo.type, "revision": repo.revision, "cache_dir": cache}
        with suppress(CachedRepoTreeNotFoundError, OSError, ValueError, ModelError, BundleError):
            names = choose(_recorded_names(repo, options))
            folder = Path(snapshot_download(repo.id, **options, allow_patterns=names, local_files_only=True))
            if not _lock_file(repo, folder.name).exists():
                return folder
    return _old_snapshot(repo, choose)


def _caches() -> list[Path]:
    """Return the client's cache and, if that can only be read, one to write to."""
    standard = Path(constants.HF_HUB_CACHE)
    return [standard] if can_write(standard) else [standard, cache_folder() / "huggingface" / "hub"]


def _recorded_names(repo: Repo, options: Mapping[str, Any]) -> list[str]:
    """Return the names of all files that the hub has, as the client recorded them."""
    try:
        return [file.path for file in get_cached_repo_tree(repo.id, **options)]
    except CachedRepoTreeNotFoundError:
        if not on_space():  # a Space preloads the files in README.md's header, not always with a record
            raise
    folder = Path(snapshot_download(repo.id, **options, local_files_only=True))
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _lock_file(repo: Repo, commit: str) -> Path:
    """Return the file that is there from the start of a download until its digests have been compared."""
    return hub_folder() / f"{_folder_name(repo)}--{commit}.lock"


def _folder_name(repo: Repo) -> str:
    return "--".join([f"{repo.type}s", *repo.id.split("/")])


def _old_snapshot(repo: Repo, choose: Choose) -> Path | None:
    """Look into the folder of version 0.8 and before: REVISION.txt has the commit, then the names of all files."""
    is_bundle, name = repo.kind == "bundle", repo.id.replace("/", "--")
    folder = hub_folder() / (f"bundles--{name}" if is_bundle else name)
    with suppress(OSError, ValueError, ModelError, BundleError):
        commit, *names = (folder / f"{repo.revision.replace('/', '--')}.txt").read_text("utf-8").splitlines()
        folder = folder / commit / (repo.id.rpartition("/")[2] if is_bundle else "")
        if all((folder / name).is_file() for name in choose(names)):
            return folder
    return None


def resolve_commit(repo: Repo, choose: Choose) -> Repo:
    """Ask the hub for the commit of a branch or tag, fetch no file, and return the repository at this commit.

    Without the hub return it as it is if files of it are on disk; if there are none, raise as `probe` does.
    """
    if COMMIT.fullmatch(repo.revision):
        return repo
    try:
        return replace(repo, revision=str(probe(repo).sha))
    except ImgsearchError:
        if cached_snapshot(repo, choose):
            return repo
        raise


def remember_commit(repo: Repo, folder: Path) -> None:
    """Record the commit of a branch or tag, for offline use and for other programs, once all its files are on disk."""
    refs = folder.parents[1] / "refs"
    file = (refs / repo.revision).resolve()
    if folder.parent.name == "snapshots" and file.is_relative_to(refs) and repo.revision != folder.name:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, folder.name.encode())


def fetch_snapshot(repo: Repo, choose: Choose, on_progress: OnProgress, *, max_bytes: float = math.inf) -> Path:
    """Return the folder of the chosen files, a model's named by its commit. Fetch them if they are not on disk.

    Digests are compared with the hub's. Raise `repo.unavailable` if the hub cannot be reached or the files have more
    than `max_bytes` in total.
    """
    if cached := cached_snapshot(repo, choose):
        return cached
    info = probe(repo)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    needed = {name: sizes[name] for name in sorted(choose(sizes), key=sizes.__getitem__)}
    if sum(needed.values()) > max_bytes:
        raise repo.unavailable(Message("its files are larger than it says. Get it from elsewhere."))
    pinned = replace(repo, revision=str(info.sha))
    lock = _lock_file(repo, pinned.revision)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            folder = run_with_timeout(repo, partial(_fetch_files, pinned, needed, on_progress), ANSWER_S)
        with suppress(PermissionError):  # on Windows it stays if another process has it by now
            lock.unlink(missing_ok=True)
    except OSError as error:
        raise repo.unavailable(explain_hub_error(error, repo.kind)) from error
    remember_commit(repo, folder)
    return folder


def _fetch_files(repo: Repo, sizes: Mapping[str, int], on_progress: OnProgress, extend: Extend) -> Path:
    """Fetch the files that are not on disk, then compare all with the hub's digests. Delete those that differ."""
    options: dict[str, Any] = {"repo_type": repo.type, "revision": repo.revision, "cache_dir": _caches()[-1]}
    done, shown, total = 0, 0, sum(sizes.values())

    def report(num_bytes: int) -> None:
        nonlocal shown
        extend(STALL_S)
        shown = max(shown, done + num_bytes)  # the client may count both what arrives and what it writes
        on_progress(shown, total)

    for name, size in sizes.items():  # one by one: threads of `snapshot_download` would delay the exit
        extend(ANSWER_S)
        bar: Any = partial(ProgressBar, title=f"{repo.id}: {name}", on_bytes=report)
        hf_hub_download(repo.id, name, **options, tqdm_class=bar)
        done += size
        report(0)
    extend(ANSWER_S)
    # This records the names of all files.
    folder = Path(snapshot_download(repo.id, **options, allow_patterns=[*sizes], tqdm_class=SILENT))
    extend(ANSWER_S + total / HASH_RATE)
    checked = HfApi().verify_repo_checksums(repo.id, **options)
    wrong = {*checked.missing_paths, *checked.extra_paths, *(mismatch["path"] for mismatch in checked.mismatches)}
    damaged = sorted(wrong & sizes.keys())
    for name in damaged:
        blob = (folder / name).resolve()
        (folder / name).unlink(missing_ok=True)
        if blob.is_relative_to(folder.parents[1] / "blobs"):
            blob.unlink()
    if damaged:
        raise repo.unavailable(Message("{file} arrived damaged. Start again to fetch it again.", file=damaged[0]))
    return folder


def fetch_whole_repo(repo: Repo) -> Path:
    """Return the folder of all files of a dataset at a commit. Fetch those that are not on disk; raise as `probe`."""
    old = hub_folder() / _folder_name(repo) / repo.revision  # of version 0.9 and before
    place: dict[str, Any] = {"local_dir": old} if old.is_dir() else {"cache_dir": _caches()[-1]}

    def fetch(extend: Extend) -> Path:
        bar: Any = partial(ProgressBar, title=repo.id, on_bytes=lambda _: extend(STALL_S))
        options: dict[str, Any] = {"repo_type": repo.type, "revision": repo.revision, "tqdm_class": bar}
        return Path(snapshot_download(repo.id, **options, **place))

    return run_with_timeout(repo, fetch, STALL_S)


class RemoteFile(HfFileSystemFile):
    """A file on the hub, hf://datasets/ORG/NAME@COMMIT/PATH, for reading. Only what is read is fetched."""

    def __init__(self, url: str) -> None:
        super().__init__(HfFileSystem(), url, cache_type="none")

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Fetch bytes as the client does, but give up a silent server within half a minute, not after two."""
        headers = build_hf_headers() | {"range": f"bytes={start}-{end - 1}"}
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        response = http_backoff("GET", self.url(), headers=headers, timeout=timeout, max_retries=READ_RETRIES)
        hf_raise_for_status(response)
        return bytes(response.content)


def remember_dataset(repo: Repo, commit: str) -> None:
    """Record the commit of a dataset and the names of its files, which are fetched when they are read."""
    options: dict[str, Any] = {"repo_type": repo.type, "revision": commit, "tqdm_class": SILENT}
    remember_commit(repo, Path(snapshot_download(repo.id, **options, allow_patterns=IN_MOST)))


def cached_dataset(repo: Repo) -> tuple[Path, list[str]]:
    """Return the folder of a dataset in the client's cache, and the names of all its files, also of those not there.

    Raise OSError or CachedRepoTreeNotFoundError if the dataset is not known.
    """
    options: dict[str, Any] = {"repo_type": repo.type, "revision": repo.revision}
    folder = Path(snapshot_download(repo.id, **options, allow_patterns=IN_MOST, local_files_only=True))
    return folder, _recorded_names(repo, options)


class ProgressBar(tqdm):  # type: ignore[misc]
    """A console progress bar that also reports bytes. The client's own bar is off, together with transformers' bars."""

    def __init__(self, *, title: str, on_bytes: Callable[[int], None], **options: Any) -> None:
        self._on_bytes = on_bytes
        super().__init__(**options | {"desc": title}, delay=0.5)

    def update(self, n: float | None = 1) -> Any:
        """Add n bytes."""
        is_drawn = super().update(n)
        self._on_bytes(int(self.n))
        return is_drawn
