"""Look up repositories of the Hugging Face hub, and fetch and verify their files, all with limits on the waiting."""

import hashlib
import math
import queue
import re
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
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

from imgsearch.config import HF_DATASETS_PREFIX
from imgsearch.environment import hub_folder, on_space
from imgsearch.errors import BundleError, ImgsearchError, InputError, Message, ModelError, SettingsError
from imgsearch.files import write_atomic

WAIT_S = 0.01  # between two checks for a result
COMMIT = re.compile("[0-9a-f]{40}")
PROBE_S = 3.0  # the client's own timeout does not cover a slow name server or a hub that accepts and hangs

T = TypeVar("T")
RepoKind: TypeAlias = Literal["model", "dataset", "bundle"]
Choose: TypeAlias = Callable[[Collection[str]], list[str]]
"""Return the needed ones of a repository's file names. Raise ModelError or BundleError if one is missing."""
OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with the number of bytes on disk and the number expected."""


@dataclass(frozen=True)
class Repo:
    """A repository at a revision: a branch, a tag or a commit."""

    id: str  # ORG/NAME
    revision: str = "main"
    kind: RepoKind = "model"

    @classmethod
    def parse(cls, text: str) -> "Repo":
        """Parse `ORG/NAME` or `ORG/NAME@REVISION`. Raise SettingsError for any other text."""
        repo_id, at, revision = text.partition("@")
        if repo_id.count("/") != 1 or not all(repo_id.split("/")) or (at and not revision):
            raise SettingsError(
                "{text!r} is not the name of a model on the hub. Give ORG/NAME or ORG/NAME@REVISION.", text=text
            )
        return cls(repo_id, revision or "main")

    @property
    def type(self) -> str:
        """The hub's name of its kind: a bundle is stored there as a dataset."""
        return "model" if self.kind == "model" else "dataset"

    def __str__(self) -> str:
        name = f"{HF_DATASETS_PREFIX}{self.id}" if self.kind == "bundle" else self.id
        return name if self.revision == "main" else f"{name}@{self.revision}"


@dataclass(frozen=True)
class Snapshot:
    """The needed files of a repository at one commit, complete."""

    folder: Path
    commit: str


def cached_snapshot(repo: Repo, choose: Choose) -> Snapshot | None:
    """Return what is on disk, or None if a file is missing. Works offline. A model may be in the client's own cache."""
    with suppress(OSError, ValueError, ModelError, BundleError):
        commit, *names = _record_file(repo).read_text("utf-8").splitlines()
        folder = _snapshot_folder(repo, commit)
        if all((folder / name).is_file() for name in choose(names)):
            return Snapshot(folder, commit)
    if repo.kind == "bundle":  # the client's cache holds links that lead out of the folder
        return None
    try:
        names = choose(_client_files(repo))
        folder = Path(snapshot_download(repo.id, revision=repo.revision, allow_patterns=names, local_files_only=True))
    except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError, ModelError, OSError, ValueError):
        return None
    return Snapshot(folder, folder.name)


def _client_files(repo: Repo) -> list[str]:
    """Return the names of a model's files as the client recorded them."""
    try:
        return [file.path for file in get_cached_repo_tree(repo.id, revision=repo.revision)]
    except CachedRepoTreeNotFoundError:
        if not on_space():  # a Space preloads the files in README.md's header, not always with a record
            raise
    folder = Path(snapshot_download(repo.id, revision=repo.revision, local_files_only=True))
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def probe(repo: Repo) -> ModelInfo | DatasetInfo:
    """Ask the hub for a repository's commit and file names, and fetch no file. Return or raise within PROBE_S seconds.

    Without internet raise ModelError, for a dataset InputError, for a bundle BundleError.
    """

    def ask() -> ModelInfo | DatasetInfo:
        api = HfApi()
        ask_info = api.model_info if repo.type == "model" else api.dataset_info
        # A dataset may have a hundred thousand files, and the client looks up those that it reads by itself.
        return ask_info(repo.id, revision=repo.revision, timeout=2 * PROBE_S, files_metadata=repo.kind != "dataset")

    return _run_with_timeout(repo, ask, PROBE_S)


def resolve_commit(repo: Repo) -> Repo:
    """Ask the hub for the commit of a branch or tag, fetch no file, and return the repository at this commit.

    Offline use the commit that `remember_commit` recorded; if there is none, raise as `probe` does.
    """
    if COMMIT.fullmatch(repo.revision):
        return repo
    try:
        return replace(repo, revision=str(probe(repo).sha))
    except ImgsearchError:
        with suppress(OSError):
            return replace(repo, revision=_record_file(repo).read_text("utf-8").splitlines()[0])
        raise


def remember_commit(repo: Repo, pinned: Repo) -> None:
    """Record the commit of a branch or tag for offline use. Call it once all needed files are on disk."""
    with suppress(OSError):
        write_atomic(_record_file(repo), _record_file(pinned).read_bytes())


def fetch_snapshot(repo: Repo, choose: Choose, on_progress: OnProgress, *, max_bytes: float = math.inf) -> Snapshot:
    """Return the files on disk at once and without a request; else fetch the chosen ones and return when all are here.

    Digests are compared with the hub's. A broken download is resumed, whichever process began it. Raise ModelError, for
    a bundle BundleError, if the hub cannot be reached or the files have more than `max_bytes` in total.
    """
    if cached := cached_snapshot(repo, choose):
        return cached
    info = probe(repo)
    files = {file.rfilename: file for file in info.siblings or []}
    names = [name for name in choose(files) if not set(name) & set("\\:")]  # on Windows these lead elsewhere
    needed = sorted((files[name] for name in names), key=lambda file: file.size or 0)
    folder, total = _snapshot_folder(repo, str(info.sha)), sum(file.size or 0 for file in needed)
    if total > max_bytes:
        raise _not_available(repo, Message("its files are larger than it says. Get it from elsewhere."))

    def fetch_needed() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        done = 0
        for file in needed:
            if not (folder / file.rfilename).is_file():
                url = hf_hub_url(repo.id, file.rfilename, revision=info.sha, repo_type=repo.type)
                on_bytes = partial(_report_total, on_progress, done, total)
                if not fetch_file(url, file, folder, f"{repo.id}: {file.rfilename}", on_bytes):
                    raise _not_available(
                        repo, Message("{file} arrived damaged. Start again to fetch it again.", file=file.rfilename)
                    )
            done += file.size or 0

    def fetch_alone() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0):
            fetch_needed()
        for revision in (repo.revision, str(info.sha)):  # a bundle is looked up by commit
            write_atomic(_record_file(replace(repo, revision=revision)), "\n".join([str(info.sha), *files]).encode())

    _run_with_timeout(repo, fetch_alone, math.inf)
    return Snapshot(folder, str(info.sha))


def fetch_whole_repo(repo: Repo) -> Path:
    """Fetch all files at a commit and return their folder. Offline, reuse an earlier fetch, else raise as `probe`."""
    folder = _snapshot_folder(repo, repo.revision)
    get = partial(snapshot_download, repo.id, repo_type=repo.type, revision=repo.revision, local_dir=folder)
    _run_with_timeout(repo, get, math.inf)
    return folder


def _run_with_timeout(repo: Repo, work: Callable[[], T], timeout_s: float) -> T:
    """Return the result of `work`, run in a thread. Stop waiting after `timeout_s` seconds, or if the program ends.

    Turn any error into a ModelError, for a dataset InputError, for a bundle BundleError, that says the reason.
    """
    results: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while results.empty():
        if time.monotonic() >= deadline:
            raise _not_available(repo, Message("the hub did not answer within {seconds:.0f} s.", seconds=timeout_s))
        if not threading.main_thread().is_alive():
            raise _not_available(repo, Message("the program ends."))
        time.sleep(WAIT_S)
    result, error = results.get()
    if isinstance(error, ImgsearchError):
        raise error
    if error:
        raise _not_available(repo, explain_hub_error(error, repo.kind)) from error
    return cast(T, result)


def _not_available(repo: Repo, why: Message) -> ImgsearchError:
    kind = repo.kind
    return (ModelError if kind == "model" else InputError if kind == "dataset" else BundleError)(
        "{repo} cannot be had: {why}", repo=repo, why=why
    )


def _report_total(on_progress: OnProgress, num_before: int, total: int, num_bytes: int) -> None:
    on_progress(num_before + num_bytes, total)


def _repo_folder(repo: Repo) -> Path:
    folder = repo.id.replace("/", "--")
    return hub_folder() / (folder if repo.kind == "model" else f"{repo.kind}s--{folder}")


def _snapshot_folder(repo: Repo, commit: str) -> Path:
    """Return the folder for the files of a commit. A bundle's folder has the bundle's name, which the page shows."""
    folder = _repo_folder(repo) / commit
    return folder / repo.id.rpartition("/")[2] if repo.kind == "bundle" else folder


def _record_file(repo: Repo) -> Path:
    """Return the file that records what a revision was when fetched: its commit, then all its file names on the hub."""
    return _repo_folder(repo) / f"{repo.revision.replace('/', '--')}.txt"


def explain_hub_error(error: BaseException, kind: RepoKind) -> Message:
    """Return the end of a sentence: the reason why something of that kind is not available."""
    if isinstance(error, HFValidationError):
        return Message("the hub has no {kind} of such a name. Check the name.", kind=kind)
    if isinstance(error, OfflineModeIsEnabled):
        return Message("HF_HUB_OFFLINE is set and its files are not all here. Unset it once to fetch them.")
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        code = error.response.status_code
        return Message(_REASONS.get(code, "the hub answers {code}. Try later."), code=code, kind=kind)
    if isinstance(error, Timeout):
        return Message("another process is fetching it. Wait until it is done, then start again.")
    if isinstance(error, OSError) and error.strerror:
        place = error.filename or Message("while fetching")
        variable = "HF_HOME" if kind == "dataset" else "XDG_CACHE_HOME"
        return Message(
            "{reason} ({place}). Make room, or set {variable} to another folder.",
            reason=error.strerror,
            place=place,
            variable=variable,
        )
    return Message(
        "the connection to the hub failed ({error}). Check the network and start again.", error=type(error).__name__
    )


_REASONS = {
    401: "the hub knows no such {kind}, or does not show it to you (401). Check the name, or log in: hf auth login",
    403: "the hub does not show it to you (403). Ask for access on its page, and log in: hf auth login",
    404: "the hub knows no such {kind} or revision (404). Check the name.",
    429: "the hub has had too many requests (429). Try again in a few minutes.",
}


class ProgressBar(tqdm):  # type: ignore[misc]
    """A console progress bar that also reports bytes. The client's own bar is off, together with transformers' bars."""

    def __init__(self, *, on_bytes: Callable[[int], None], **options: Any) -> None:
        self._on_bytes = on_bytes
        super().__init__(**options, delay=0.5)

    def update(self, n: float | None = 1) -> Any:
        """Add n bytes."""
        is_drawn = super().update(n)
        self._on_bytes(int(self.n))
        return is_drawn


def fetch_file(url: str, file: RepoSibling, folder: Path, title: str, on_bytes: Callable[[int], None]) -> bool:
    """Download one file into `folder`, or resume it. Return True when it has its name and the digest is right.

    `on_bytes` is called with the number of bytes on disk. If the digest is wrong, delete the file and return False.
    """
    part = folder / f"{file.rfilename}.part"
    resumed = part.stat().st_size if part.exists() else 0
    if resumed > (file.size or 0):
        part.unlink()
        resumed = 0
    with part.open("ab") as stream:
        http_get(
            url,
            stream,
            resume_size=resumed,
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},  # the stored bytes, not compressed
            expected_size=file.size,
            displayed_filename=title,
            tqdm_class=partial(ProgressBar, on_bytes=on_bytes),  # type: ignore[arg-type]
        )
    if not _is_whole(part, file):
        part.unlink()
        return False
    part.replace(folder / file.rfilename)
    return True


def _is_whole(path: Path, file: RepoSibling) -> bool:
    """Return True if the file is the hub's: compare a large one by SHA-256, a small one by git's object id."""
    with path.open("rb") as stream:
        if file.lfs:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256
        data = stream.read()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.blob_id
