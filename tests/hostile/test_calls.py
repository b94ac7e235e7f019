"""Every raw call of a stranger to a running app, and every hostile file through its three tabs.

Each is answered or refused in plain words; nothing is fetched, nothing given away.
"""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gradio.utils import get_hash_seed
from gradio_client import Client, handle_file

from imgsearch.config import ROOT
from tests.helpers.app import PROGRAM, STARTER, resident_mib, running_app, upload_raw
from tests.helpers.hostile_calls import (
    API,
    COFFEE,
    Call,
    Server,
    ask,
    event,
    is_mute,
    is_refused,
    make_calls,
    post,
)
from tests.helpers.hostile_pictures import make_hostile

GROUPS = ("pictures", "misplaced", "malformed", "events", "functions", "files", "routes", "uploads")
GROWTH_MB = 64  # of resident memory, over all calls
FILES_GROWTH_MB = 96  # over all files: the last pictures are kept, up to 50 MB
SENTENCE = re.compile(r'"error": ?"([^"]+\.)"')
SECRETS = (
    "root:",
    "def build_app",
    "PATH=",
    '"format"',
    "include-system-site",
    "Traceback",
    '.py", line',
    "secret dog",
)
BODY_S = 20  # in which a body must be there; 60 s where nobody waits for it in a test
HURRY = f"import imgsearch.web.security.request as request; request.MAX_S = {BODY_S}.0"


@dataclass(frozen=True)
class App:
    """A running app, as a stranger sees it and as the test does."""

    url: str
    pid: int
    server: Server
    fetched: list[str]  # what was asked of the stranger's own server
    slow: socket.socket  # a request that was begun and never goes on


@contextmanager
def canary() -> Iterator[tuple[int, list[str]]]:
    """A server that nobody should ask anything: its port and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with running_app(*STARTER, program=HURRY + PROGRAM) as (url, process), canary() as (port, fetched):
        visitor = Client(url, verbose=False)
        for endpoint in ("/describe", "/similar"):
            visitor.predict(handle_file(COFFEE), api_name=endpoint)
        upload = str(upload_raw(url, COFFEE)["path"])
        server = Server(visitor.config, port, upload, visitor.session_hash)
        slow = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
        slow.sendall(b"POST /gradio_api/call/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        yield App(url, process.pid, server, fetched, slow)
        assert process.poll() is None
        slow.close()


@pytest.fixture(scope="module")
def calls(app: App) -> dict[str, list[Call]]:
    return make_calls(app.server)


@pytest.mark.parametrize("group", GROUPS)
def test_a_call_is_refused_and_gives_nothing_away(app: App, calls: dict[str, list[Call]], group: str) -> None:
    wrong = []
    for call in calls[group]:
        answer = ask(app.url, call)
        own = call.path.removeprefix(f"{API}/file=")
        leaks = [secret for secret in (*SECRETS, str(ROOT)) if secret in answer.replace(own, "")]
        if leaks or not (call.may_answer or is_refused(answer)) or (call.path.startswith(API) and is_mute(answer)):
            wrong.append(f"{call.name}: {leaks} {answer[:300]!r}")
    assert not wrong, "\n".join(wrong)
    assert app.fetched == []
    answer, *_ = Client(app.url, verbose=False).predict("a cup of coffee", 3, api_name="/search")
    assert len(answer["hits"]) == 3


@pytest.mark.long
def test_memory_returns(app: App, calls: dict[str, list[Call]]) -> None:
    client = Client(app.url, verbose=False)  # what answers need is in memory before
    client.predict("a cup of coffee", 3, api_name="/search")
    client.predict(handle_file(COFFEE), 3, api_name="/similar")
    client.predict(handle_file(COFFEE), api_name="/describe")
    before = resident_mib(app.pid)
    for group in GROUPS:
        for call in calls[group]:
            ask(app.url, call)
    assert resident_mib(app.pid) <= before + GROWTH_MB


@pytest.mark.long
def test_a_body_that_never_ends_is_given_up(app: App) -> None:
    app.slow.settimeout(2 * BODY_S)
    answer = app.slow.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408") and f"did not arrive within {BODY_S} s".encode() in answer


def test_there_are_as_many_as_promised(calls: dict[str, list[Call]]) -> None:
    assert set(calls) == set(GROUPS)
    assert sum(map(len, calls.values())) > 400


def asked(app: App, name: str, link: str, path: object, **more: object) -> str:
    """What an event of the page answers to a link, with the path of an upload that the link names."""
    data = {"link": link, "paths": [path]} | more
    return ask(app.url, event(app.server, "", app.server.number(name), {}, event_data=data))


@pytest.mark.parametrize("path", [str(COFFEE), "/etc/passwd", f"{ROOT}/README.md"])
def test_the_page_opens_nothing_but_uploads(app: App, path: str) -> None:
    folder = Path(path).parent.name[:16]
    for name, link in (
        ("answer", f"?tab=search&q=a+dog&part=1:upload:{folder}"),
        ("answer_1", f"?tab=similar&u={folder}"),
        ("_describe", f"?tab=describe&u={folder}"),
        ("export", f"?tab=similar&u={folder}"),
    ):
        answer = asked(app, name, link, path, kind="json")
        assert "is not here any more" in answer and "data:image" not in answer.replace("gif;base64", "")


def test_a_link_to_anothers_picture_opens_nothing(app: App) -> None:
    """Nor does a path that is worked out from the content."""
    upload = Path(app.server.upload)
    digest = hashlib.sha256(get_hash_seed().encode() + COFFEE.read_bytes()).hexdigest()
    for path in (None, upload.parent.parent / digest / upload.name, upload.parent / "..", upload.parent):
        for name in ("answer_1", "_describe", "export"):
            answer = asked(app, name, f"?tab=similar&u={upload.parent.name[:16]}", path and str(path), kind="csv")
            assert "is not here any more" in answer
    assert "espresso" in asked(app, "_describe", f"?tab=describe&u={upload.parent.name[:16]}", str(upload))


def answers(app: App, file: Path) -> dict[str, str]:
    """What each tab says of a file; the search has it as one of its parts."""
    picture: dict[str, Any] = upload_raw(app.url, file) | {"orig_name": file.name}
    token = Path(picture["path"]).parent.name[:16]
    return {
        "describe": ask(app.url, post("", "/call/describe", {"data": [picture, "short", "", "en"]})),
        "similar": ask(app.url, post("", "/call/similar", {"data": [picture, 3, "", [], True]})),
        "search": asked(app, "answer", f"?tab=search&q=an+animal&part=1:upload:{token}", picture["path"]),
        "picture": asked(app, "answer_1", f"?tab=similar&u={token}", picture["path"]),
        "words": asked(app, "_describe", f"?tab=describe&u={token}", picture["path"]),
    }


@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.long)])
def test_a_hostile_file_gets_an_answer_or_a_sentence(app: App, step: int, tmp_path: Path) -> None:
    """Each tenth of them; all where the long tests run."""
    before = resident_mib(app.pid)
    wrong = []
    for hostile in make_hostile(tmp_path)[::step]:
        for tab, answer in answers(app, hostile.path).items():
            refused = is_refused(answer) or bool(SENTENCE.search(answer))
            if is_mute(answer) or (refused and not SENTENCE.search(answer)) or refused is hostile.is_picture:
                wrong.append(f"{tab}, {hostile.path.name!r}: {answer[-300:]!r}")
    assert not wrong, "\n".join(wrong)
    assert resident_mib(app.pid) <= before + FILES_GROWTH_MB
    answer, *_ = Client(app.url, verbose=False).predict("a cup of coffee", 3, api_name="/search")
    assert len(answer["hits"]) == 3
