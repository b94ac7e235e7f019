"""A Hugging Face hub of models and datasets on the loopback interface, which can also fail as a real one does."""

import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from imgsearch.errors import ImgsearchError

LFS_BYTES = 100_000
POLL_S = 0.02
API = re.compile(
    r"/api/(?P<kind>models/|datasets/)(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<what>revision|tree)/(?P<rev>[^/]+)(?:/(?P<path>.+))?)?"
)
RESOLVE = re.compile(r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/(?P<what>resolve)/(?P<rev>[^/]+)/(?P<path>.+)")
LICENCE = re.compile(rb"^license: *(.+)$", re.MULTILINE)


class Request(NamedTuple):
    method: str
    path: str
    range: str


@dataclass(frozen=True)
class Status:
    """Answers with an HTTP status wherever `where` occurs in the path."""

    code: int
    where: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Hang:
    """Keeps silent on a request with `where` in its path until the fault is lifted or the hub closes."""

    where: str = ""


@dataclass(frozen=True)
class Cut:
    """Sends nothing of a file (without a name, the largest) beyond its first `after` bytes, then closes or stalls.

    With `once` it is over when one answer was cut.
    """

    after: int
    name: str = ""
    stall: bool = False
    once: bool = False


@dataclass(frozen=True)
class Corrupt:
    """Inverts the last `span` bytes of a file (without a name, the largest); its length and headers stay right."""

    name: str = ""
    span: int = 64


@dataclass(frozen=True)
class Slow:
    """Sends files in chunks of `chunk` bytes with a pause between two."""

    seconds: float
    chunk: int = 1 << 16


@dataclass(frozen=True)
class Forge:
    """Names another commit, and answers for files with other headers."""

    sha: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Blob:
    def __init__(self, path: str, data: bytes) -> None:
        self.data, self.size = data, len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        self.is_lfs = self.size > LFS_BYTES
        stored = pointer if self.is_lfs else data
        oid = hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()
        self.etag = self.sha256 if self.is_lfs else oid
        lfs = {"sha256": self.sha256, "oid": self.sha256, "size": self.size, "pointerSize": len(pointer)}
        facts = {"size": self.size, "oid": oid, "blobId": oid} | ({"lfs": lfs} if self.is_lfs else {})
        self.listed = {"type": "file", "path": path, "rfilename": path, **facts}


def children(entries: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Of all files below a folder those directly in it, and its subfolders."""
    names = [entry["path"].removeprefix(folder) for entry in entries]
    folders = sorted({folder + name.split("/")[0] for name in names if "/" in name})
    oid = "0" * 40
    return [
        *({"type": "directory", "path": path, "oid": oid} for path in folders),
        *(entry for entry, name in zip(entries, names, strict=True) if "/" not in name),
    ]


class LoopbackHub:
    """`with LoopbackHub() as hub:` serves the folders given to `hub.add` at `hub.url`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.num_sent = Counter[str]()  # bytes, by file
        self.fault: Status | Hang | Cut | Corrupt | Slow | Forge | None = None
        self.closed = threading.Event()
        self.repos: dict[str, dict[str, dict[str, Blob]]] = {}  # a dataset's name begins with datasets/
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo: str, folder: Path, kind: str = "model") -> str:
        """Makes the files of `folder` a new commit on main, and returns its hash."""
        repo = f"datasets/{repo}" if kind == "dataset" else repo
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files = {name: Blob(name, path.read_bytes()) for name, path in paths.items()}
        sha = hashlib.sha1("".join(f"{name}\0{blob.sha256}\n" for name, blob in files.items()).encode()).hexdigest()
        commits = self.repos.get(repo, {})
        self.repos[repo] = {known: commits[known] for known in commits if known != sha} | {sha: files}
        return sha

    def commit(self, repo: str) -> str:
        """The commit that main points to."""
        return list(self.repos[repo])[-1]

    def wait_while(self, fault: object) -> None:
        while self.fault is fault and not self.closed.wait(POLL_S):
            pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of the hub."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, hub: LoopbackHub, *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.hub.requests.append(Request(self.command, self.path, self.headers.get("Range", "")))
        if isinstance(fault := self.hub.fault, Hang) and fault.where in path:
            self.hub.wait_while(fault)
        if self.hub.closed.is_set():
            self.close_connection = True
        elif isinstance(fault := self.hub.fault, Status) and fault.where in path:
            self.reply(fault.code, b"the hub was told to answer this", dict(fault.headers))
        elif match := API.fullmatch(path) or RESOLVE.fullmatch(path):
            repo, what, revision, file = (unquote(match[name] or "") for name in ("repo", "what", "rev", "path"))
            repo = f"datasets/{repo}" if match["kind"] == "datasets/" else repo
            self.find(repo, what, revision, file, query.lower())
        else:
            self.missing("RepoNotFound")

    def find(self, repo: str, what: str, revision: str, path: str, query: str) -> None:
        commits = self.hub.repos.get(repo, {})
        sha = list(commits)[-1] if commits and revision in ("", "main") else revision
        files = commits.get(sha, {})
        folder = f"{path}/" if what == "tree" and path else ""
        below = [blob.listed for name, blob in files.items() if name.startswith(folder)]
        if sha not in commits:
            self.missing("RevisionNotFound" if commits else "RepoNotFound")
        elif not below or (what == "resolve" and path not in files):
            self.missing("EntryNotFound", {"X-Repo-Commit": sha})
        elif what == "resolve":
            largest = max(files, key=lambda name: files[name].size)
            self.send_blob(files[path], sha, {path} | ({""} if path == largest else set()))
        elif what == "tree":
            self.reply_json(below if "recursive=false" not in query else children(below, folder))
        else:
            siblings = [entry if "blobs=true" in query else {"rfilename": entry["rfilename"]} for entry in below]
            licence = LICENCE.search(files["README.md"].data) if "README.md" in files else None
            card = {"license": licence[1].decode()} if licence else None
            fault = self.hub.fault
            said = fault.sha if isinstance(fault, Forge) and fault.sha else sha
            info = {"id": repo.removeprefix("datasets/"), "sha": said, "private": False, "gated": False, "tags": []}
            self.reply_json(info | {"siblings": siblings, "cardData": card})

    def send_blob(self, blob: Blob, sha: str, names: set[str]) -> None:
        fault, data, start, end = self.hub.fault, blob.data, 0, blob.size
        headers = {"ETag": f'"{blob.etag}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if blob.is_lfs:
            headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(asked[1]), min(int(asked[2] or end) + 1, end)
            if start >= end:
                return self.reply(416, b"", {"Content-Range": f"bytes */{blob.size}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
        headers |= dict(fault.headers) if isinstance(fault, Forge) else {}
        self.head(206 if asked else 200, end - start, headers)
        if self.command == "HEAD":
            return None
        if isinstance(fault, Corrupt) and fault.name in names:
            data = data[: -fault.span] + bytes(byte ^ 0xFF for byte in data[-fault.span :])
        cut = fault if isinstance(fault, Cut) and fault.name in names and fault.after < end else None
        last = max(start, cut.after) if cut else end
        while start < last:
            pace = fault if isinstance(fault, Slow) and self.hub.fault is fault else Slow(0)
            self.wfile.write(data[start : min(start + pace.chunk, last)])
            self.hub.num_sent[blob.listed["path"]] += min(start + pace.chunk, last) - start
            start += pace.chunk
            if start < last:
                self.hub.closed.wait(pace.seconds)
        if cut and cut.stall:
            self.hub.wait_while(cut)
        if cut and cut.once:
            self.hub.fault = None
        self.close_connection = self.close_connection or cut is not None
        return None

    def missing(self, code: str, headers: dict[str, str] | None = None) -> None:
        self.reply(404, code.encode(), {"X-Error-Code": code, **(headers or {})})

    def reply_json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


def sentence(error: ImgsearchError, name: str) -> str:
    """The message: one line that names the model, in words."""
    message = str(error)
    assert name in message and not any(word in message for word in ("\n", "http", "Traceback", "Error:"))
    return message


HUB = LoopbackHub()  # the one that the clients of a test session ask: they read its address at import
