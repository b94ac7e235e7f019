"""One client that takes all it can get, and others that are served meanwhile: each has its share of what is for all."""

import json
import logging
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest

from imgsearch.web.components.inputs import QuietDropdown
from imgsearch.web.page_state import MAX_LINK, PageState
from imgsearch.web.security.rate_limit import LINES, few_lines
from tests.helpers.app import FORM, PROGRAM, STARTER, App, form_of, resident_mib, running_app
from tests.helpers.greedy import ATTACKS, GREEDY, MODEST, SLOW, Caller, attacking, be_modest
from tests.helpers.hostile_calls import COFFEE

SHARES = """
import imgsearch.web.security.rate_limit as rate_limit
rate_limit.HEAD_S, rate_limit.OWN_CONNECTIONS = 1, 30
rate_limit.OWN_UPLOADS, rate_limit.OWN = 9 * 2**20, {"body": 2**22, "stream": 10}
import imgsearch.web.server as server
server.NUM_SESSIONS = 5
"""
MB = 2**20


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    """An app with small shares, so that it takes little to use them up."""
    few = (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    program, limit = SHARES + PROGRAM, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few)
    with running_app(*STARTER, "--rate", "120", program=program, preexec_fn=limit) as app:
        yield app


def is_there(caller: Caller, picture: dict[str, object] | None) -> bool:
    return bool(picture) and caller.ask(f"gradio_api/file={picture['path']}")[0] == 200


def test_the_oldest_uploads_of_a_client_make_room_for_its_own(app: App) -> None:
    greedy, modest = Caller(app.url, "127.0.0.11"), Caller(app.url, "127.0.0.12")
    kept = modest.upload("kept.jpg", COFFEE.read_bytes())
    pictures = [greedy.upload("a.png", bytes([number]) * 2 * MB) for number in range(6)]
    assert [is_there(greedy, picture) for picture in pictures] == [False] * 2 + [True] * 4
    assert is_there(modest, kept)


def test_a_session_that_is_forgotten_costs_a_visitor_nothing(app: App) -> None:
    def answer(caller: Caller, session: str, handler: str, data: list[object], **event: object) -> str:
        function = caller.functions(handler)[0]
        assert caller.event(int(str(function["id"])), data, session, **event)[0] == 200
        return caller.ask(f"gradio_api/queue/data?session_hash={session}")[1]

    def is_new(caller: Caller, session: str) -> bool:
        """Whether what the server knows of a session has changed by a look at the models."""
        return bool(re.search(r'"changed_state_ids": ?\[\d', answer(caller, session, "show", [None])))

    def wall(answer: str) -> dict[str, list[object]]:
        """What the page is told to show."""
        messages = [json.loads(line.removeprefix("data: ")) for line in answer.splitlines() if line]
        [result] = [message["output"]["data"] for message in messages if message["msg"] == "process_completed"]
        return dict(result[0])

    greedy, modest = Caller(app.url, "127.0.0.13"), Caller(app.url, "127.0.0.14")
    first = wall(answer(modest, "modest", "answer", [], link="?q=a+dog&k=5"))
    assert is_new(modest, "modest") and not is_new(modest, "modest")
    assert all(is_new(greedy, f"greedy{number}") for number in range(7))
    assert is_new(modest, "modest")
    more = wall(answer(modest, "modest", "answer", [], link=first["following"]))
    assert len(first["hits"]) == 5 and len(more["hits"]) == 50


def test_bodies_on_their_way_have_a_share(app: App) -> None:
    greedy, modest = Caller(app.url, "127.0.0.15"), Caller(app.url, "127.0.0.16")
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {urlsplit(app.url).netloc}\r\nContent-Type: {FORM}\r\n"
    sockets = []
    for _ in range(6):
        sockets.append(greedy.socket(head.encode() + b"Content-Length: 2000000\r\n\r\n"))
        with suppress(OSError):  # refused before the end
            sockets[-1].sendall(form_of(("a.png", bytes(1_000_000)))[:1_000_000])
    time.sleep(0.5)
    assert sum(b" 429 " in heard(connection) for connection in sockets) >= 2
    assert modest.upload("coffee.jpg", COFFEE.read_bytes())
    for connection in sockets:
        connection.close()


def heard(connection: socket.socket) -> bytes:
    """What has been answered by now."""
    connection.settimeout(0.2)
    try:
        return connection.recv(1000)
    except OSError:
        return b""


def test_streams_have_a_share(app: App) -> None:
    greedy, modest = Caller(app.url, "127.0.0.17"), Caller(app.url, "127.0.0.18")
    sockets = []
    for caller in (*[greedy] * 12, modest):
        head = f"GET /gradio_api/heartbeat/a HTTP/1.1\r\nHost: {urlsplit(app.url).netloc}\r\n\r\n"
        sockets.append(caller.socket(head.encode()))
    time.sleep(0.5)
    statuses = [heard(connection).split(b" ")[1] for connection in sockets]
    assert sorted(statuses[:-1]) == [b"200"] * 10 + [b"429"] * 2 and statuses[-1] == b"200"
    for connection in sockets:
        connection.close()


@pytest.mark.parametrize(
    "head", [b"", b"GET / HTTP/1.1\r\nHost: 127", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET"]
)
def test_connections_that_ask_nothing_are_closed(app: App, head: bytes) -> None:
    connection = Caller(app.url, "127.0.0.19").socket(head)
    connection.settimeout(10)
    with connection:
        while connection.recv(1000):
            pass


def test_connections_have_a_share(app: App) -> None:
    sockets = [Caller(app.url, "127.0.0.20").socket() for _ in range(33)]
    for connection in sockets[30:]:
        connection.settimeout(0.9)
        assert connection.recv(1) == b""
    assert Caller(app.url, "127.0.0.21").ask("healthz")[0] == 200
    for connection in sockets:
        connection.close()


def test_all_files_that_the_system_allows_may_be_open(app: App) -> None:
    soft, hard = resource.prlimit(app.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


def test_the_log_of_the_server_holds_few_lines_a_minute() -> None:
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "Too many open files", (), None)
    assert LINES // 2 <= sum(few_lines(record) for _ in range(10_000)) <= LINES


def test_the_log_does_not_repeat_what_was_sent(app: App) -> None:
    stranger = Caller(app.url, "127.0.0.22")
    picture = stranger.upload("coffee.jpg", COFFEE.read_bytes())
    for detail, language in (("a secret", "en"), ("short", ["a secret"])):
        status, answer = stranger.call("describe", picture, detail, "", language)
        assert status == 200 and "event: error" in answer
    for function in stranger.functions("answer"):
        stranger.event(int(str(function["id"])), [], "secrets", link=["a secret"], paths="a secret", number="a secret")
        stranger.ask("gradio_api/queue/data?session_hash=secrets")
    said = app.said()
    assert "a secret" not in said and "Traceback" not in said
    with pytest.raises(Exception, match="cannot be read"):
        QuietDropdown(["a"]).preprocess("a secret")


@pytest.mark.parametrize("path", ["call/search/unknown", "call/v2/search/unknown", "queue/data?session_hash=unknown"])
def test_nobody_waits_for_what_was_not_asked(app: App, path: str) -> None:
    assert Caller(app.url, MODEST).ask(f"gradio_api/{path}")[0] == 404


@pytest.mark.parametrize("range", ["bytes=0-1", "bytes=1-2-3", "bytes=-"])
def test_a_part_of_a_file_repeats_no_header(app: App, range: str) -> None:
    caller = Caller(app.url, MODEST)
    picture = caller.upload("coffee.jpg", COFFEE.read_bytes())
    assert picture
    with caller.socket() as connection:
        head = f"GET /gradio_api/file={quote(str(picture['path']))} HTTP/1.1\r\nHost: {urlsplit(app.url).netloc}\r\n"
        connection.sendall(f"{head}Range: {range}\r\nCookie: secret=7\r\nConnection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(COFFEE.read_bytes()) and b"secret" not in answer
    assert "Traceback" not in app.said()


def test_a_question_is_short() -> None:
    """Whatever an event sends, in which a character takes four bytes."""
    long = "\N{GRINNING FACE}" * 100_000
    assert len(PageState.from_link(f"?q={long}").text) <= MAX_LINK


def test_no_answer_holds_an_upload_as_it_came(app: App) -> None:
    """Gradio's component for pictures copies all of the text of an SVG into each answer."""
    config = json.loads(Caller(app.url, MODEST).ask("config")[1])
    pictures = {component["id"] for component in config["components"] if component["type"] == "image"}
    assert pictures and config["dependencies"]
    assert not any(pictures & set(event["outputs"]) for event in config["dependencies"])


def test_slow_pictures_of_one_client_leave_a_place_for_others(app: App) -> None:
    """The last of the tests that ask this app: these pictures keep it busy for a while."""
    greedy, modest = Caller(app.url, GREEDY), Caller(app.url, MODEST)
    calls = []
    for number in range(5):
        picture = greedy.upload("slow.jpg", SLOW + number.to_bytes(2))
        body = json.dumps({"data": [picture, 3, "", [], True]}).encode()
        head = f"POST /gradio_api/call/similar HTTP/1.1\r\nHost: {urlsplit(app.url).netloc}\r\n"
        calls.append(
            greedy.socket(
                f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
        )
        time.sleep(0.2)
    assert [b" 200 " in heard(call) for call in calls] == [True] * 3 + [False] * 2
    status, answer = modest.call("similar", modest.upload("coffee.jpg", COFFEE.read_bytes()), 3, "", [], True)
    assert status == 200 and "event: complete" in answer
    health = json.loads(modest.ask("healthz")[1])
    assert health["queue"]["running"] == 3  # they are still at it
    for call in calls:
        call.close()


@pytest.mark.long
def test_a_modest_client_is_served_whatever_a_greedy_one_does() -> None:
    """GREEDY_S seconds of each attack, 60 for the figures of a quiet machine; later on the memory is back."""
    seconds = int(os.environ.get("GREEDY_S", "6"))
    with running_app(*STARTER, "--rate", "120") as app:
        modest, greedy = Caller(app.url, MODEST), Caller(app.url, GREEDY)
        be_modest(modest, seconds)
        before, refused = resident_mib(app.process.pid), []
        for attack in ATTACKS:
            with attacking(attack, greedy):
                waits = be_modest(modest, seconds)
            figures = waits.p95("search"), waits.p95("similar"), max(waits.seconds["healthz"])
            print(attack.__name__, *(f"{figure:.2f}" for figure in figures), f"{resident_mib(app.process.pid):.0f} MiB")
            refused += waits.refused[:3]
        deadline = time.monotonic() + 120
        while resident_mib(app.process.pid) > 1.1 * before and time.monotonic() < deadline:
            time.sleep(2)
        print(f"{before:.0f} MiB before, {resident_mib(app.process.pid):.0f} MiB after")
        assert not refused and resident_mib(app.process.pid) <= 1.1 * before
