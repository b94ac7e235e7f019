"""Measure how fast the app starts and gives its first results, and how much memory it takes."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gradio_client import Client, handle_file

from imgsearch.config import ROOT, STARTER_BUNDLE
from imgsearch.engine import Engine
from tests.bench.figures import Figure
from tests.helpers.app import App, resident_mib, running_app

NUM_RUNS = 5  # of each variant, in turn; medians are compared
NUM_SEARCHES = 50
HELLO_WORLD = """
import sys, gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    name, hello = gr.Textbox(), gr.Textbox()
    name.submit(lambda name: f"Hello {name}", name, hello)
page.launch(server_port=int(sys.argv[2]), quiet=True)
"""
BARE_LOADER = "from imgsearch.models.starter import MiniLm, load_efficientnet; load_efficientnet(); MiniLm()"


def bench_app() -> Iterator[Figure]:
    """Measure the start of the app over a Gradio hello world, and its first result over a process that only loads."""
    pages: dict[str, list[float]] = {"hello": [], "starter": [], "auto": []}
    answers: dict[str, list[float]] = {"load": [], "starter": [], "auto": []}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(NUM_RUNS):
            with running_app(program=HELLO_WORLD) as app:
                pages["hello"].append(app.seconds)
            for models in ("starter", "auto"):
                with serve_app(models, cache) as app:
                    start = time.perf_counter()
                    Client(app.url, verbose=False).predict("a dog", 12, api_name="/search")
                    answers[models].append(time.perf_counter() - start)
                    pages[models].append(app.seconds)
            answers["load"].append(_seconds_to_load())
    page = {name: statistics.median(seconds) for name, seconds in pages.items()}
    answer = {name: statistics.median(seconds) for name, seconds in answers.items()}
    yield Figure("app start to first HTTP 200, over a Gradio hello world", page["starter"] - page["hello"], "s", 1.0)
    ratio = answer["starter"] / answer["load"]
    yield Figure("first answer after it, over a bare process that loads both models", ratio, "x", 1.2)
    yield Figure("the page with auto and no network, over the starter's", page["auto"] - page["starter"], "s", 0.3)
    yield Figure("the first answer so, over the starter's", answer["auto"] - answer["starter"], "s", 3.5)


def bench_answers() -> Iterator[Figure]:
    """Measure a text search with loaded models, and the memory after one result of each tab."""
    yield Figure("a text search, warm", _search_ms(), "ms", 40)
    yield Figure("resident memory after one answer of each tab", _resident_mib() / 1024, "GiB", 1.2)


@contextmanager
def serve_app(models: str, cache: str) -> Iterator[App]:
    """The app over the starter collection, without a hub and with a cache of its own, which it may fill."""
    flags = ("--encoder", models, "--captioner", models)
    with running_app(*flags, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=cache, XDG_CACHE_HOME=cache) as app:
        yield app


def _search_ms() -> float:
    engine = Engine.open(STARTER_BUNDLE, "starter", "starter")
    engine.search("a first query loads the models")
    queries = [f"a photo of {index} dogs on a beach" for index in range(NUM_SEARCHES)]
    return 1000 * statistics.median(engine.search(query).seconds for query in queries)


def _resident_mib() -> float:
    """Return VmRSS of the app after one result of each tab."""
    picture = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
    with tempfile.TemporaryDirectory() as cache, serve_app("starter", cache) as app:
        client = Client(app.url, verbose=False)
        client.predict(picture, api_name="/describe")
        client.predict(picture, 12, api_name="/similar")
        client.predict("a dog", 12, api_name="/search")
        return resident_mib(app.process.pid)


def _seconds_to_load() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE_LOADER], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start
