"""The Hugging Face hub: what it has, asked; a model's files, fetched and checked. The only home of its client."""

import hashlib
import math
import queue
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, get_cached_repo_tree, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
from tqdm import tqdm

from imgsearch.config import cache_folder
from imgsearch.errors import ImgsearchError, InputError, ModelError, SettingsError

WAIT_S = 0.01  # between two looks for an answer
PROBE_S = 3.0  # the client's own timeout does not hold for a slow name server or a hub that accepts and hangs

Kind: TypeAlias = Literal["model", "dataset"]
T = TypeVar("T")
Choose: TypeAlias = Callable[[Collection[str]], list[str]]
"""Of a repository's file names those that are needed. Raises ModelError where they are not all there."""
OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes expected."""


@dataclass(frozen=True)
class Repo:
    """A repository at a revision: a branch, a tag or a commit."""

    id: str  # ORG/NAME
    revision: str = "main"
    kind: Kind = "model"

    @classmethod
    def parse(cls, text: str) -> "Repo":
        """From `ORG/NAME` or `ORG/NAME@REV`. Raises SettingsError."""
        id, at, revision = text.partition("@")
        if id.count("/") != 1 or not all(id.split("/")) or (at and not revision):
            raise SettingsError(f"{text!r} is not the name of a model on the hub. Give ORG/NAME or ORG/NAME@REVISION.")
        return cls(id, revision or "main")

    def __str__(self) -> str:
        return self.id if self.revision == "main" else f"{self.id}@{self.revision}"


@dataclass(frozen=True)
class Snapshot:
    """The needed files of a repository at one commit, complete."""

    folder: Path
    commit: str


def cached(repo: Repo, choose: Choose) -> Snapshot | None:
    """What was fetched before, by this app or into the client's own cache, without any request; None if incomplete."""
    with suppress(OSError, ValueError, ModelError):
        commit, *names = _record(repo).read_text("utf-8").splitlines()
        folder = _store(repo) / commit
        if all((folder / name).is_file() for name in choose(names)):
            return Snapshot(folder, commit)
    try:
        names = choose([file.path for file in get_cached_repo_tree(repo.id, revision=repo.revision)])
        folder = Path(snapshot_download(repo.id, revision=repo.revision, allow_patterns=names, local_files_only=True))
    except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError, ModelError, OSError, ValueError):
        return None
    return Snapshot(folder, folder.name)


def probe(repo: Repo) -> ModelInfo | DatasetInfo:
    """Ask the hub for the repository's commit and files: one request, PROBE_S at most.

    Raises ModelError, for a dataset InputError.
    """

    def ask() -> ModelInfo | DatasetInfo:
        api = HfApi()
        ask_info = api.model_info if repo.kind == "model" else api.dataset_info
        return ask_info(repo.id, revision=repo.revision, timeout=2 * PROBE_S, files_metadata=repo.kind == "model")

    return _aside(repo, ask, PROBE_S)


def fetch(repo: Repo, choose: Choose, on_progress: OnProgress) -> Snapshot:
    """The cached files, else those of the hub: the commit is resolved, its files are fetched, their digests compared.

    A file that was broken off, in whatever process, goes on where it ended. Raises ModelError.
    """
    found = cached(repo, choose)
    if found:
        return found
    info = probe(repo)
    files = {file.rfilename: file for file in info.siblings or []}
    needed = sorted((files[name] for name in choose(files)), key=lambda file: file.size or 0)
    folder = _store(repo) / str(info.sha)

    def fetch_all() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            done, total = 0, sum(file.size or 0 for file in needed)
            for file in needed:
                if not (folder / file.rfilename).is_file():
                    _fetch_file(repo, file, folder, partial(_add, on_progress, done, total))
                done += file.size or 0
        for revision in (repo.revision, str(info.sha)):  # a bundle asks for the commit
            _record(Repo(repo.id, revision)).write_text("\n".join([str(info.sha), *files]), "utf-8")

    _aside(repo, fetch_all, math.inf)
    return Snapshot(folder, str(info.sha))


def fetch_all(repo: Repo) -> Path:
    """The folder of all files of a repository at a commit, fetched by the client. Raises as `probe` does."""
    folder = _store(repo) / repo.revision
    get = partial(snapshot_download, repo.id, repo_type=repo.kind, revision=repo.revision, local_dir=folder)
    _aside(repo, get, math.inf)
    return folder


def _aside(repo: Repo, work: Callable[[], T], timeout_s: float) -> T:
    """What `work` returns, done in a thread that is left alone after `timeout_s`, or when the program ends.

    Raises ModelError, for a dataset InputError, with the reason for any error.
    """
    answers: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while answers.empty():
        if time.monotonic() >= deadline:
            raise _not_had(repo, f"the hub did not answer within {timeout_s:.0f} s.")
        if not threading.main_thread().is_alive():
            raise _not_had(repo, "the program ends.")
        time.sleep(WAIT_S)
    answer, error = answers.get()
    if isinstance(error, ModelError):
        raise error
    if error:
        raise _not_had(repo, reason(error, repo.kind)) from error
    return cast(T, answer)


def _not_had(repo: Repo, why: str) -> ImgsearchError:
    return (ModelError if repo.kind == "model" else InputError)(f"{repo} cannot be had: {why}")


def _fetch_file(repo: Repo, file: RepoSibling, folder: Path, on_bytes: Callable[[int], None]) -> None:
    """Put one file into `folder`: it gets its name once its digest is the one the hub states."""

    part = folder / f"{file.rfilename}.part"
    resumed = part.stat().st_size if part.exists() else 0
    if resumed > (file.size or 0):
        part.unlink()
        resumed = 0

    class Bar(tqdm):  # type: ignore[misc]
        """A progress bar for the console that also reports; the client's own is switched off with transformers'."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options, delay=0.5)

        def update(self, n: float | None = 1) -> Any:
            shown = super().update(n)
            on_bytes(int(self.n))
            return shown

    with part.open("ab") as stream:
        http_get(
            hf_hub_url(repo.id, file.rfilename, revision=folder.name),
            stream,
            resume_size=resumed,
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},  # bytes as they are stored
            expected_size=file.size,
            displayed_filename=f"{repo.id}: {file.rfilename}",
            tqdm_class=Bar,
        )
    if not _is_whole(part, file):
        part.unlink()
        raise ModelError(f"{repo} cannot be had: {file.rfilename} arrived damaged. Start again to fetch it again.")
    part.replace(folder / file.rfilename)


def _add(on_progress: OnProgress, before: int, total: int, here: int) -> None:
    on_progress(before + here, total)


def _is_whole(path: Path, file: RepoSibling) -> bool:
    """Whether the bytes are those the hub has: by SHA-256 of a large file, by git's object id of a small one."""
    with path.open("rb") as stream:
        if file.lfs:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256
        data = stream.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.blob_id


def _store(repo: Repo) -> Path:
    return cache_folder() / "hub" / repo.id.replace("/", "--")


def _record(repo: Repo) -> Path:
    """What was fetched for a revision: the commit, then the names of all files that it has on the hub."""
    return _store(repo) / f"{repo.revision.replace('/', '--')}.txt"


def reason(error: BaseException, kind: Kind) -> str:
    """What went wrong between here and the hub and what to do, in words."""
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
        variable = "XDG_CACHE_HOME" if kind == "model" else "HF_HOME"
        return f"{error.strerror} ({place}). Make room, or set {variable} to another folder."
    return f"the connection to the hub failed ({type(error).__name__}). Check the network and start again."


_REASONS = {
    401: "the hub knows no such MODEL, or does not show it to you (401). Check the name, or log in: hf auth login",
    403: "the hub does not show it to you (403). Ask for access on its page, and log in: hf auth login",
    404: "the hub knows no such MODEL or revision (404). Check the name.",
    429: "the hub has had too many requests (429). Try again in a few minutes.",
}
