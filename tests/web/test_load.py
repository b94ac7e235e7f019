"""Many visitors at once: right answers or "busy", nothing else; what they leave goes, and the app ends at once."""

import json
import signal
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from imgsearch.config import ROOT
from tests.bench.load import ENDPOINTS, Load, memory_mib, put_load
from tests.helpers.app import STARTER, App, children_of, running_app, upload_raw

pytestmark = pytest.mark.long

COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"
GROWTH = 1.05  # of resident memory, at most
NUM_ASKED = 40  # descriptions, by one who leaves
GRACE_MIB = 25  # what a few seconds of load may bring: pools that fill once


def check(load: Load) -> None:
    assert not load.errors
    assert all(load.seconds[endpoint] for endpoint in ENDPOINTS)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The app's own temporary folder, as long as it runs."""
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.mktemp("load")) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def app(temporary: Path) -> Iterator[App]:
    with running_app(*STARTER, TMPDIR=str(temporary)) as app:
        Client(app.url, verbose=False).predict(handle_file(COFFEE), api_name="/describe")
        yield app


def test_who_leaves_frees_the_place(app: App) -> None:
    config = Client(app.url, verbose=False).config
    number = next(entry["id"] for entry in config["dependencies"] if entry["api_name"] == "describe")
    asked = {"data": [upload_raw(app.url, COFFEE), "short", "", "en"], "fn_index": number, "session_hash": "leaving"}
    for _ in range(NUM_ASKED):
        ask(app.url, "queue/join", asked)
    with urllib.request.urlopen(f"{app.url}gradio_api/queue/data?session_hash=leaving", timeout=30) as stream:
        assert b"estimation" in stream.readline()
    while queue_of(app.url) != {"waiting": 0, "running": 0}:
        time.sleep(0.1)
    assert app.said().count('"endpoint": "describe", ') < NUM_ASKED


def test_twenty_visitors(app: App, temporary: Path) -> None:
    check(put_load(app.url, 20, 5))
    before = memory_mib(app.process.pid)
    check(put_load(app.url, 20, 8))
    assert memory_mib(app.process.pid) <= before * GROWTH + GRACE_MIB
    assert any(temporary.rglob("*.jpg"))


def test_it_ends_within_seconds_under_load_and_leaves_no_file(app: App, temporary: Path) -> None:
    """The last of the tests that ask this app."""
    visitors = threading.Thread(target=put_load, args=(app.url, 10, 3))
    visitors.start()
    time.sleep(2)
    workers = children_of(app.process.pid)
    begin = time.monotonic()
    assert app.end(signal.SIGTERM) == 0
    assert workers
    while time.monotonic() - begin < 5 and any(Path(f"/proc/{pid}/exe").exists() for pid in workers):
        time.sleep(0.05)  # multiprocessing's tracker ends a moment after the app
    assert not [pid for pid in workers if Path(f"/proc/{pid}/exe").exists()]
    visitors.join()
    assert not [path for path in temporary.rglob("*") if path.is_file()]


def ask(url: str, path: str, value: object) -> object:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}gradio_api/{path}", json.dumps(value).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def queue_of(url: str) -> object:
    with urllib.request.urlopen(f"{url}healthz", timeout=30) as answer:
        return json.load(answer)["queue"]


@pytest.mark.parametrize(("num_visitors", "seconds"), [(20, 150), (100, 90)])
def test_minutes_of_load(num_visitors: int, seconds: float) -> None:
    with running_app(*STARTER) as (url, process):
        check(put_load(url, num_visitors, 15))
        before = memory_mib(process.pid)
        check(put_load(url, num_visitors, seconds))
        deadline = time.monotonic() + 60
        while memory_mib(process.pid) > before * GROWTH and time.monotonic() < deadline:
            time.sleep(2)  # what was asked last is still on its way out
        assert memory_mib(process.pid) <= before * GROWTH
