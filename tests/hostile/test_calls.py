"""Every raw call of a stranger to a running app: refused in plain words, nothing fetched, nothing given away."""

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from gradio_client import Client, handle_file

from imgsearch.config import ROOT
from tests.helpers.app import running_app
from tests.helpers.app_process import resident_mib
from tests.helpers.hostile_calls import API, COFFEE, Call, Server, make_calls

GROUPS = ("pictures", "misplaced", "malformed", "events", "files", "routes", "uploads")
CHUNK = 65_536
GROWTH_MB = 64  # of resident memory, over all calls
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


@dataclass(frozen=True)
class App:
    """A running app, as a stranger sees it and as the test does."""

    url: str
    pid: int
    calls: dict[str, list[Call]]
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
    flags = ("--encoder", "starter", "--captioner", "starter")
    with running_app(*flags) as (url, process), canary() as (port, fetched):
        visitor = Client(url, verbose=False)
        for endpoint in ("/describe", "/similar"):
            visitor.predict(handle_file(COFFEE), api_name=endpoint)
        upload = json.loads(ask(url, another_upload()))[0]
        server = Server(visitor.config, port, upload, visitor.session_hash)
        slow = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
        slow.sendall(b"POST /gradio_api/call/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        yield App(url, process.pid, make_calls(server), fetched, slow)
        assert process.poll() is None
        slow.close()


def another_upload() -> Call:
    head = b'--XXX\r\nContent-Disposition: form-data; name="files"; filename="coffee.jpg"\r\n\r\n'
    body = head + COFFEE.read_bytes() + b"\r\n--XXX--\r\n"
    return Call("", "POST", f"{API}/upload", body, {"Content-Type": "multipart/form-data; boundary=XXX"})


def ask(url: str, call: Call) -> str:
    """What comes back: the status and body where it is refused, else what the call leads to."""
    status, text = send(url, call)
    if status != 200:
        return f"{status} {text}"
    if call.path.endswith("/queue/join"):
        session = json.loads(call.body)["session_hash"]
        return send(url, Call("", "GET", f"{API}/queue/data?session_hash={session}"))[1]
    if "/call/" in call.path:
        return send(url, Call("", "GET", f"{call.path}/{json.loads(text)['event_id']}"))[1]
    return text


def send(url: str, call: Call) -> tuple[int, str]:
    """The status and body of the answer; 0 where the connection was closed."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.putrequest(call.method, call.path, skip_accept_encoding=True)
        for name, value in call.headers.items():
            connection.putheader(name, value)
        if call.is_chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif call.method == "POST":
            connection.putheader("Content-Length", str(len(call.body)))
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before the end
            for i in range(0, len(call.body), CHUNK):
                part = call.body[i : i + CHUNK]
                connection.send(b"%x\r\n%b\r\n" % (len(part), part) if call.is_chunked else part)
            if call.is_chunked:
                connection.send(b"0\r\n\r\n")
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()


def is_refused(answer: str) -> bool:
    """Whether it is an HTTP error, or the event ended as one."""
    if re.match(r"\d{1,3} ", answer):
        return not answer.startswith("200 ")
    return '"success":false' in answer or "event: error" in answer or '"unexpected_error"' in answer


def is_mute(answer: str) -> bool:
    """Whether it says that something is wrong, and not what."""
    return "Internal Server Error" in answer or '"error":null' in answer or '"error": null' in answer


@pytest.mark.parametrize("group", GROUPS)
def test_a_call_is_refused_and_gives_nothing_away(app: App, group: str) -> None:
    wrong = []
    for call in app.calls[group]:
        answer = ask(app.url, call)
        own = call.path.removeprefix(f"{API}/file=")
        leaks = [secret for secret in (*SECRETS, str(ROOT)) if secret in answer.replace(own, "")]
        if leaks or not (call.may_answer or is_refused(answer)) or (call.path.startswith(API) and is_mute(answer)):
            wrong.append(f"{call.name}: {leaks} {answer[:300]!r}")
    assert not wrong, "\n".join(wrong)
    assert app.fetched == []
    answer, *_ = Client(app.url, verbose=False).predict("a cup of coffee", 3, api_name="/search")
    assert len(answer["hits"]) == 3


def test_memory_returns(app: App) -> None:
    before = resident_mib(app.pid)
    for group in GROUPS:
        for call in app.calls[group]:
            ask(app.url, call)
    assert resident_mib(app.pid) <= before + GROWTH_MB


def test_a_body_that_never_ends_is_given_up(app: App) -> None:
    app.slow.settimeout(90)
    answer = app.slow.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 60 s" in answer


def test_there_are_as_many_as_promised(app: App) -> None:
    assert set(app.calls) == set(GROUPS)
    assert sum(map(len, app.calls.values())) > 400
