"""Ask the Hugging Face hub about repositories, with limits on the waiting and errors that say the reason."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from filelock import Timeout
from huggingface_hub import HfApi, get_session, set_client_factory
from huggingface_hub.errors import (
    FileMetadataError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.hf_api import DatasetInfo, ModelInfo

from imgsearch.config import HF_DATASETS_PREFIX
from imgsearch.errors import BundleError, ImgsearchError, InputError, Message, ModelError, SettingsError

COMMIT, RESOLVED = re.compile("[0-9a-f]{40}"), re.compile("/resolve/([0-9a-f]{40})/")
ETAG = re.compile(r'(W/)?"?[\w-]+"?')
NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@(.+))?", re.ASCII)  # no part of it leads to another folder
PROBE_S = 3.0  # the client's own timeout does not cover a slow name server or a hub that accepts and hangs
FAILED = 400  # from here on an HTTP status is an error
POLL_S = 0.5  # between two looks at the clock

T = TypeVar("T")
RepoKind: TypeAlias = Literal["model", "dataset", "bundle"]
Extend: TypeAlias = Callable[[float], None]
"""Called by work that goes on: it may take that many seconds from now."""


@dataclass(frozen=True)
class Repo:
    """A repository at a revision: a branch, a tag or a commit."""

    id: str  # ORG/NAME
    revision: str = "main"
    kind: RepoKind = "model"

    @classmethod
    def parse(cls, text: str, kind: RepoKind = "model") -> "Repo":
        """Parse `ORG/NAME` or `ORG/NAME@REVISION`, of a bundle after hf://datasets/. Raise SettingsError for others."""
        prefix = HF_DATASETS_PREFIX if kind == "bundle" else ""
        match = NAME.fullmatch(text.removeprefix(prefix))
        if not match or not text.startswith(prefix):
            raise SettingsError(
                "{text!r} is not the name of a {kind} on the hub. Give {prefix}ORG/NAME or {prefix}ORG/NAME@REVISION.",
                text=text,
                kind=kind,
                prefix=prefix,
            )
        return cls(match[1], match[2] or "main", kind)

    @property
    def type(self) -> str:
        """The hub's name of its kind: a bundle is stored there as a dataset."""
        return "model" if self.kind == "model" else "dataset"

    def __str__(self) -> str:
        name = f"{HF_DATASETS_PREFIX}{self.id}" if self.kind == "bundle" else self.id
        return name if self.revision == "main" else f"{name}@{self.revision}"

    def unavailable(self, why: Message) -> ImgsearchError:
        """Return the error for it: a ModelError, for a dataset an InputError, for a bundle a BundleError."""
        return {"model": ModelError, "dataset": InputError, "bundle": BundleError}[self.kind](
            "{repo} cannot be had: {why}", repo=self, why=why
        )


def probe(repo: Repo) -> ModelInfo | DatasetInfo:
    """Ask the hub for a repository's commit and file names, and fetch no file. Return or raise within PROBE_S seconds.

    Without internet raise `repo.unavailable`.
    """

    def ask(_: Extend) -> ModelInfo | DatasetInfo:
        api = HfApi()
        ask_info = api.model_info if repo.type == "model" else api.dataset_info
        # A dataset may have a hundred thousand files, and the client looks up those that it reads by itself.
        info = ask_info(repo.id, revision=repo.revision, timeout=2 * PROBE_S, files_metadata=repo.kind != "dataset")
        if not COMMIT.fullmatch(str(info.sha)):  # it becomes the name of a folder
            raise FileMetadataError
        return info

    return run_with_timeout(repo, ask, PROBE_S)


def run_with_timeout(repo: Repo, work: Callable[[Extend], T], timeout_s: float) -> T:
    """Return the result of `work`, run in a thread. Stop waiting after `timeout_s` seconds, or if the program ends.

    Turn any error into `repo.unavailable` with the reason.
    """
    result: Future[T] = Future()
    deadline = time.monotonic() + timeout_s

    def extend(seconds: float) -> None:
        nonlocal deadline, timeout_s
        if time.monotonic() >= deadline:
            raise TimeoutError  # nobody waits any more
        deadline, timeout_s = time.monotonic() + seconds, seconds

    def run() -> None:
        _statuses.pop(threading.get_ident(), None)  # of an earlier thread
        try:
            result.set_result(work(extend))
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    while not wait([result], max(0.0, min(POLL_S, deadline - time.monotonic()))).done:
        if time.monotonic() >= deadline:
            code = _statuses.get(thread.ident or 0, 0)
            silence = Message("the hub did not answer within {seconds:.0f} s.", seconds=timeout_s)
            raise repo.unavailable(_explain_status(code, repo.kind) if code >= FAILED else silence)
        if not threading.main_thread().is_alive():
            raise repo.unavailable(Message("the program ends."))
    try:
        return result.result()
    except ImgsearchError:
        raise
    except Exception as error:
        raise repo.unavailable(explain_hub_error(error, repo.kind)) from error


def explain_hub_error(error: BaseException, kind: RepoKind) -> Message:
    """Return the end of a sentence: the reason why something of that kind is not available."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:  # the client looked on disk after a failure
        return explain_hub_error(error.__cause__, kind)
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error.response.status_code, kind)
    for cause, template in _CAUSES.items():
        if isinstance(error, cause):
            return Message(template, kind=kind)
    if isinstance(error, OSError) and error.strerror:
        place = error.filename or Message("while fetching")
        return Message(
            "{reason} ({place}). Make room, or set HF_HOME to another folder.", reason=error.strerror, place=place
        )
    return Message(
        "the connection to the hub failed ({error}). Check the network and start again.", error=type(error).__name__
    )


def _explain_status(code: int, kind: RepoKind) -> Message:
    return Message(_REASONS.get(code, "the hub answers {code}. Try later."), code=code, kind=kind)


_CAUSES: dict[type[BaseException], str] = {
    HFValidationError: "the hub has no {kind} of such a name. Check the name.",
    OfflineModeIsEnabled: "HF_HUB_OFFLINE is set and its files are not all here. Unset it once to fetch them.",
    FileMetadataError: "what answers is no hub. Check HF_ENDPOINT.",
    Timeout: "another process is fetching it. Wait until it is done, then start again.",
}
_REASONS = {
    401: "the hub knows no such {kind}, or does not show it to you (401). Check the name, or log in: hf auth login",
    403: "the hub does not show it to you (403). Ask for access on its page, and log in: hf auth login",
    404: "the hub knows no such {kind} or revision (404). Check the name.",
    429: "the hub has had too many requests (429). Try again in a few minutes.",
}


_statuses: dict[int, int] = {}  # of the last answer to each thread: the client tries again and again in silence


def _check_response(response: Any) -> None:
    """Raise FileMetadataError if the client, which makes file names of these headers, would write elsewhere."""
    _statuses[threading.get_ident()] = response.status_code
    if response.request.method != "HEAD":
        return
    etags = [response.headers.get(name, "-") for name in ("ETag", "X-Linked-Etag") if response.status_code < FAILED]
    commit, asked = response.headers.get("X-Repo-Commit", ""), RESOLVED.search(response.request.url.path)
    is_other = commit and (commit != asked[1] if asked else not COMMIT.fullmatch(commit))
    if is_other or not all(map(ETAG.fullmatch, etags)):
        raise FileMetadataError


_client = get_session()  # as the library makes it
_hooks = {**_client.event_hooks, "response": [_check_response]}
set_client_factory(partial(type(_client), event_hooks=_hooks, follow_redirects=True, timeout=None))
