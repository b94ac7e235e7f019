"""A client that takes all it can get, in one way after the other, and a modest one that needs a little beside it."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException
from itertools import count
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from imgsearch.config import ROOT
from tests.helpers.app import FORM, form_of
from tests.helpers.hostile_calls import META
from tests.helpers.hostile_pictures import slow_jpeg

GREEDY, MODEST = "127.0.0.2", "127.0.0.1"  # two clients, as the app tells them apart
NUM_THREADS = 24  # of the greedy one
Answer = tuple[int, str]  # status, 0 where there was none; and text


@dataclass(frozen=True)
class Caller:
    """Asks an app from an address of its own."""

    url: str
    address: str

    def ask(self, path: str, value: object = None, data: bytes | None = None, **headers: str) -> Answer:
        """A GET, a POST of JSON, or of bytes."""
        body = json.dumps(value).encode() if value is not None else data
        names = {"Content-Type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=120, source_address=(self.address, 0))
        with suppress(OSError, HTTPException):
            try:
                connection.request("GET" if body is None else "POST", f"/{path}", body, names)
                response = connection.getresponse()
                return response.status, response.read().decode("utf-8", "replace")
            finally:
                connection.close()
        return 0, ""

    def upload(self, name: str, data: bytes) -> dict[str, object] | None:
        """What stands for a picture in a call; None where it was refused."""
        status, text = self.ask("gradio_api/upload", data=form_of((name, data)), Content_Type=FORM)
        return {"path": json.loads(text)[0], "meta": META} if status == 200 else None

    def call(self, name: str, *data: object) -> Answer:
        """The answer of an endpoint, waited for."""
        status, text = self.ask(f"gradio_api/call/{name}", {"data": data})
        return self.ask(f"gradio_api/call/{name}/{json.loads(text)['event_id']}") if status == 200 else (status, text)

    def event(self, function: int, data: Sequence[object], session: str, **event_data: object) -> Answer:
        """An event of the page, whose result is not waited for."""
        body = {"data": data, "fn_index": function, "session_hash": session, "event_data": event_data}
        return self.ask("gradio_api/queue/join", body)

    def functions(self, name: str) -> list[dict[str, object]]:
        """The events of the page whose handler has that name."""
        return [event for event in events_of(self.url) if str(event["api_name"]).rstrip("_0123456789") == name]

    def socket(self, head: bytes = b"") -> socket.socket:
        """A connection on which a request has begun."""
        parts = urlsplit(self.url)
        connection = socket.create_connection((parts.hostname, parts.port), 30, (self.address, 0))
        connection.sendall(head)
        return connection


@cache
def events_of(url: str) -> list[dict[str, object]]:
    """All events of the page, asked for once."""
    return list(json.loads(Caller(url, "127.0.0.3").ask("config")[1])["dependencies"])


Attack = Callable[[Caller, int], None]


def slow_pictures(greedy: Caller, number: int) -> None:
    """Search for a picture that takes as long as it may, another one each time."""
    picture = greedy.upload("slow.jpg", SLOW + number.to_bytes(4))
    if picture:
        greedy.call("similar", picture, 3, "", [], True)


def unfetched_answers(greedy: Caller, number: int) -> None:
    """Ask for a picture, and for the description of an SVG of 19 MB, again and again and fetch no answer."""
    session = f"unfetched{number % 20}"
    picture = greedy.upload("x.svg", b"<svg>" + b'"' * 19 * 2**20)
    if picture:
        token = Path(str(picture["path"])).parent.name[:16]
        for _ in range(10):
            for link, paths in (
                (f"?tab=describe&u={token}", [picture["path"]]),
                ("?tab=similar&id=skimage/coffee.jpg", []),
            ):
                want(greedy, session, link, paths)


def want(greedy: Caller, session: str, link: str, paths: Sequence[object] = ()) -> None:
    """Open a link in a session."""
    for function in greedy.functions("answer"):
        greedy.event(int(str(function["id"])), [], session, link=link, paths=list(paths))


def long_states(greedy: Caller, number: int) -> None:
    """Fill sessions, a new one each time, with texts as long as a body may be."""
    want(greedy, f"long{number}", "?q=" + "x" * 240_000 + "\N{GRINNING FACE}")


def idle_connections(greedy: Caller, number: int) -> None:
    """Open connections with half a head, and hold them."""
    with suppress(OSError):
        connections = [greedy.socket(b"GET / HTTP/1.1\r\nHost: 127") for _ in range(50)]
        time.sleep(10)
        for connection in connections:
            connection.close()


def half_bodies(greedy: Caller, number: int) -> None:
    """Send the most of a body, and hold the rest back."""
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {urlsplit(greedy.url).netloc}\r\nContent-Type: {FORM}\r\n"
    with suppress(OSError), greedy.socket(head.encode() + b"Content-Length: 20000000\r\n\r\n") as connection:
        connection.sendall(form_of(("a.png", bytes(19_000_000)))[:19_000_000])
        connection.settimeout(10)
        connection.recv(1)


def large_uploads(greedy: Caller, number: int) -> None:
    """Upload 20 MB, others each time."""
    greedy.upload("a.png", number.to_bytes(4) + bytes(20 * 2**20 - 100))


def many_sessions(greedy: Caller, number: int) -> None:
    """Be another visitor each time."""
    greedy.event(int(str(greedy.functions("show")[0]["id"])), [None], f"many{number}")


def page_loads(greedy: Caller, number: int) -> None:
    """Load the page."""
    greedy.ask("")


ATTACKS = (
    slow_pictures,
    unfetched_answers,
    long_states,
    idle_connections,
    half_bodies,
    large_uploads,
    many_sessions,
    page_loads,
)
SLOW = slow_jpeg()


@contextmanager
def attacking(attack: Attack, greedy: Caller) -> Iterator[None]:
    """The greedy client does its worst, in a process of its own, which takes no time from the modest one's."""
    context = get_context("spawn")
    is_over = context.Event()
    process = context.Process(target=go_on, args=(attack, greedy, is_over))
    process.start()
    try:
        yield
    finally:
        is_over.set()
        process.join(10)
        process.kill()


def go_on(attack: Attack, greedy: Caller, is_over: Event) -> None:
    """Attack until the event is set, in many threads."""
    os.nice(5)  # it stands for another machine
    numbers, lock = count(), threading.Lock()

    def attack_on() -> None:
        while not is_over.is_set():
            with lock:
                number = next(numbers)
            attack(greedy, number)

    for _ in range(NUM_THREADS):
        threading.Thread(target=attack_on, daemon=True).start()
    is_over.wait()


@dataclass
class Waits:
    """What the modest one waited for its answers, in seconds, and how many it did not get."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"search": [], "similar": [], "healthz": []})
    refused: list[str] = field(default_factory=list)

    def p95(self, kind: str) -> float:
        return float(np.percentile(self.seconds[kind], 95)) if self.seconds[kind] else float("inf")


def be_modest(caller: Caller, seconds: float) -> Waits:
    """Search by text and by picture, one after the other, and look at /healthz meanwhile."""
    waits, end = Waits(), time.monotonic() + seconds
    pictures = sorted((ROOT / "examples" / "stamps").glob("*.jpg"))

    def ask_on(pause_s: float, *kinds: str) -> None:
        number = 0
        while time.monotonic() < end:
            number += 1
            for kind in kinds:
                begin = time.monotonic()
                if kind == "healthz":
                    status, text = caller.ask("healthz")
                elif kind == "search":
                    status, text = caller.call("search", f"a dog number {number}", 3, [], True)
                else:
                    picture = caller.upload("a.jpg", pictures[number % len(pictures)].read_bytes())
                    status, text = caller.call("similar", picture, 3, "", [], True)
                waits.seconds[kind].append(time.monotonic() - begin)
                if status != 200 or "event: error" in text:
                    waits.refused.append(f"{kind}: {status} {text[:200]}")
            time.sleep(pause_s)

    health = threading.Thread(target=ask_on, args=(0.1, "healthz"))
    health.start()
    ask_on(2.5, "search", "similar")
    health.join()
    return waits
