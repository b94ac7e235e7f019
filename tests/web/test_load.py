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
from tests.helpers.app import running_app, upload_raw
from tests.helpers.app_process import children_of

COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"
STARTER = ("--encoder", "starter", "--captioner", "starter")
GROWTH = 1.05  # of resident memory, at most
NUM_ASKED = 60  # descriptions, by one who leaves
GRACE_MIB = 25  # what a few seconds of load may bring: pools that fill once


def check(load: Load) -> None:
    assert not load.errors
    assert all(load.seconds[endpoint] for endpoint in ENDPOINTS)


@pytest.fixture
def own_temp(tmp_path: Path) -> Iterator[Path]:
    """The app's own temporary folder, as long as it runs."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        yield Path(folder)


def test_twenty_visitors(own_temp: Path) -> None:
    with running_app(*STARTER, TMPDIR=str(own_temp)) as (url, process):
        check(put_load(url, 20, 8))
        before = memory_mib(process.pid)
        check(put_load(url, 20, 12))
        assert memory_mib(process.pid) <= before * GROWTH + GRACE_MIB
        assert any(own_temp.rglob("*.jpg"))
    assert not [path for path in own_temp.rglob("*") if path.is_file()]


def test_it_ends_within_seconds_under_load(own_temp: Path) -> None:
    with running_app(*STARTER, TMPDIR=str(own_temp)) as (url, process):
        put_load(url, 3, 6)  # until the models are there
        visitors = threading.Thread(target=put_load, args=(url, 10, 4))
        visitors.start()
        time.sleep(3)
        workers = children_of(process.pid)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - begin < 5
        assert workers
        while time.monotonic() - begin < 5 and any(Path(f"/proc/{pid}/exe").exists() for pid in workers):
            time.sleep(0.05)  # multiprocessing's tracker ends a moment after the app
        assert not [pid for pid in workers if Path(f"/proc/{pid}/exe").exists()]
        visitors.join()
    assert not [path for path in own_temp.rglob("*") if path.is_file()]


def test_who_leaves_frees_the_place(capfd: pytest.CaptureFixture[str]) -> None:
    with running_app(*STARTER) as (url, _):
        client = Client(url, verbose=False)
        client.predict(handle_file(COFFEE), api_name="/describe")
        number = next(entry["id"] for entry in client.config["dependencies"] if entry["api_name"] == "describe")
        asked = {"data": [upload_raw(url, COFFEE), "short", "", "en"], "fn_index": number, "session_hash": "leaving"}
        for _ in range(NUM_ASKED):
            ask(url, "queue/join", asked)
        with urllib.request.urlopen(f"{url}gradio_api/queue/data?session_hash=leaving", timeout=30) as stream:
            assert b"estimation" in stream.readline()
        while queue_of(url) != {"waiting": 0, "running": 0}:
            time.sleep(0.1)
    assert capfd.readouterr().err.count('"endpoint": "describe", ') < NUM_ASKED


def ask(url: str, path: str, value: object) -> object:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}gradio_api/{path}", json.dumps(value).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def queue_of(url: str) -> object:
    with urllib.request.urlopen(f"{url}healthz", timeout=30) as answer:
        return json.load(answer)["queue"]


@pytest.mark.long
@pytest.mark.parametrize("num_visitors", [20, 100])
def test_three_minutes(num_visitors: int) -> None:
    with running_app(*STARTER) as (url, process):
        check(put_load(url, num_visitors, 15))
        before = memory_mib(process.pid)
        check(put_load(url, num_visitors, 180))
        time.sleep(5)
        assert memory_mib(process.pid) <= before * GROWTH
