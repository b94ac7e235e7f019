"""Speed and memory, as ratios against a peer or a limit measured in the same run. Reads memory from Linux's /proc."""

import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file

from imgsearch.config import ROOT, Settings
from imgsearch.engine import Engine
from imgsearch.manifest import read_manifest

NUM_RUNS = 5  # of each side, alternating; medians are compared
NUM_SEARCHES = 50
TIMEOUT_S = 120
HELLO_WORLD = """
import sys, gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    name, hello = gr.Textbox(), gr.Textbox()
    name.submit(lambda name: f"Hello {name}", name, hello)
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""
BARE_LOADER = "from imgsearch.starter import MiniLm, load_efficientnet; load_efficientnet(); MiniLm()"


@dataclass(frozen=True)
class Figure:
    """One measured figure and the limit it is held to."""

    name: str
    value: float
    unit: str
    limit: float

    def __str__(self) -> str:
        verdict = "ok" if self.value <= self.limit else "MISSED"
        return f"{self.name:62}{self.value:9.2f} {self.unit:4} (at most {self.limit:g}) {verdict}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bench(settings: Settings) -> Iterator[Figure]:
    """Measure the app over the bundle of `settings`: its start, its first answer, a search, its memory.

    Raises BundleError where the bundle cannot be opened.
    """
    read_manifest(settings.index)
    pages: list[float] = []
    hellos: list[float] = []
    answers: list[float] = []
    loads: list[float] = []
    for _ in range(NUM_RUNS):
        with _serving(["-c", HELLO_WORLD]) as (_, _, seconds):
            hellos.append(seconds)
        with _app(settings) as (url, _, seconds):
            start = time.perf_counter()
            Client(url, verbose=False).predict("a dog", 12, api_name="/search")
            answers.append(time.perf_counter() - start)
            pages.append(seconds)
        loads.append(_seconds_to_load())
    yield Figure(
        "app start to first HTTP 200, over a Gradio hello world",
        statistics.median(pages) - statistics.median(hellos), "s", 1.0,
    )  # fmt: skip
    yield Figure(
        "first answer after it, over a bare process that loads both models",
        statistics.median(answers) / statistics.median(loads), "x", 1.2,
    )  # fmt: skip
    yield Figure("a text search, warm", _search_ms(settings), "ms", 40)
    yield Figure("resident memory after one answer of each tab", _resident_mib(settings) / 1024, "GiB", 1.2)


def _search_ms(settings: Settings) -> float:
    engine = Engine(settings.index, settings.encoder, settings.captioner)
    engine.search("a first query loads the models")
    queries = [f"a photo of {number} dogs on a beach" for number in range(NUM_SEARCHES)]
    return 1000 * statistics.median(engine.search(query).seconds for query in queries)


def _resident_mib(settings: Settings) -> float:
    """VmRSS of the app after one answer of each tab."""
    picture = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
    with _app(settings) as (url, process, _):
        client = Client(url, verbose=False)
        client.predict(picture, api_name="/describe")
        client.predict(picture, 12, api_name="/similar")
        client.predict("a dog", 12, api_name="/search")
        status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _seconds_to_load() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE_LOADER], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


@contextmanager
def _app(settings: Settings) -> Iterator[tuple[str, "subprocess.Popen[bytes]", float]]:
    models = ["--encoder", settings.encoder, "--captioner", settings.captioner]
    with _serving(["app.py", "--index", str(settings.index.absolute()), *models, "--port"]) as served:
        yield served


@contextmanager
def _serving(command: list[str]) -> Iterator[tuple[str, "subprocess.Popen[bytes]", float]]:
    """Run Python with `command` and a free port; its address, process and seconds to its first HTTP 200."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, str(port)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with suppress(OSError):
                urllib.request.urlopen(url, timeout=TIMEOUT_S).close()
                break
            if process.poll() is not None or time.perf_counter() - start > TIMEOUT_S:
                raise RuntimeError(f"{command[0]} did not answer")
            time.sleep(0.01)
        yield url, process, time.perf_counter() - start
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)
