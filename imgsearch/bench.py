"""Speed and memory, as ratios against a peer or a limit measured in the same run. Reads memory from Linux's /proc."""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gradio_client import Client, handle_file

from imgsearch.config import ROOT, STARTER_BUNDLE
from imgsearch.engine import Engine
from imgsearch.peers import NUM_CAPTIONS, NUM_PHOTOS, NUM_PICTURES

GROUPS = ("app", "models", "build", "search")
PEERS, TRIALS = "imgsearch.peers", "imgsearch.trials"
NUM_RUNS = 5  # of each side, alternating; medians are compared
NUM_BUILDS, NUM_SEARCHES = 3, 50
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
    """One measured figure and the limit it is held to, if any: not to be passed, or to be reached where `is_floor`."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    is_floor: bool = False

    def __str__(self) -> str:
        shown = f"{self.name:66}{self.value:9.2f} {self.unit:5}"
        if self.limit is None:
            return shown
        is_ok = self.value >= self.limit if self.is_floor else self.value <= self.limit
        return f"{shown} (at {'least' if self.is_floor else 'most'} {self.limit:g}) {'ok' if is_ok else 'MISSED'}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bench(groups: Collection[str] = GROUPS) -> Iterator[Figure]:
    """Measure the app, the hub's models with random weights, builds and searches: minutes for each group."""
    measures = {
        "app": (_bench_app, _bench_answers),
        "models": (_bench_encoder, _bench_captioner),
        "build": (_bench_build, _bench_memory),
        "search": (_bench_search, _bench_many),
    }
    for group in groups:
        for measure in measures[group]:
            yield from measure()


def _bench_app() -> Iterator[Figure]:
    pages: dict[str, list[float]] = {"hello": [], "starter": [], "auto": []}
    answers: dict[str, list[float]] = {"load": [], "starter": [], "auto": []}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(NUM_RUNS):
            with _serving(["-c", HELLO_WORLD]) as (_, _, seconds):
                pages["hello"].append(seconds)
            for models in ("starter", "auto"):
                with _app(models, cache) as (url, _, seconds):
                    start = time.perf_counter()
                    Client(url, verbose=False).predict("a dog", 12, api_name="/search")
                    answers[models].append(time.perf_counter() - start)
                    pages[models].append(seconds)
            answers["load"].append(_seconds_to_load())
    page = {name: statistics.median(seconds) for name, seconds in pages.items()}
    answer = {name: statistics.median(seconds) for name, seconds in answers.items()}
    yield Figure("app start to first HTTP 200, over a Gradio hello world", page["starter"] - page["hello"], "s", 1.0)
    ratio = answer["starter"] / answer["load"]
    yield Figure("first answer after it, over a bare process that loads both models", ratio, "x", 1.2)
    yield Figure("the page with auto and no network, over the starter's", page["auto"] - page["starter"], "s", 0.3)
    yield Figure("the first answer so, over the starter's", answer["auto"] - answer["starter"], "s", 3.5)


def _bench_answers() -> Iterator[Figure]:
    yield Figure("a text search, warm", _search_ms(), "ms", 40)
    yield Figure("resident memory after one answer of each tab", _resident_mib() / 1024, "GiB", 1.2)


def _bench_encoder() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        _measure("make_clip", folder)
        speed, memory = _measure("encode_images", folder), _measure("load_clip", folder)
        overlap = _measure("overlap", folder)["overlap"]
    name = f"ViT-B-32 pictures in {speed['precision']}, over open_clip's loop in float32"
    yield Figure(name, speed["plain"] / speed["ours"], "x", 3.5, is_floor=True)
    yield Figure("the ten nearest of each example photo, equal to float32's", overlap, "share", 0.99, is_floor=True)
    yield Figure("1,000 pictures by it", 1000 / NUM_PICTURES * speed["ours"], "s")
    yield Figure("peak memory while it loads, over its file", memory["growth"], "x", 2.1)


def _bench_captioner() -> Iterator[Figure]:
    runs: dict[str, list[dict[str, Any]]] = {"caption_plainly": [], "caption": []}
    with tempfile.TemporaryDirectory() as folder:
        _measure("make_blip", folder)
        for _ in range(NUM_RUNS):
            for name, measured in runs.items():
                measured.append(_measure(name, folder))
        memory = _measure("load_blip", folder)
    plain, ours = (statistics.median(run["seconds"] for run in measured) for measured in runs.values())
    texts = (" ".join(runs[name][0]["texts"]).split() for name in runs)
    equal = statistics.fmean(one == other for one, other in zip(*texts, strict=True))
    name = f"BLIP-base captions in {runs['caption'][0]['precision']}, over plain float32 generate"
    yield Figure(name, plain / ours, "x", 2.5, is_floor=True)
    yield Figure("words equal to float32's; of random weights many nearly tie", equal, "share")
    yield Figure("a caption of 20 tokens by it", ours / NUM_CAPTIONS, "s")
    yield Figure("peak memory while it loads, over its file", memory["growth"], "x", 1.6)


def _bench_build() -> Iterator[Figure]:
    runs: dict[str, list[float]] = {"plain_rate": [], "model_rate": [], "bare_rate": [], "whole_rate": []}
    with tempfile.TemporaryDirectory() as folder:
        _measure("make_clip", folder)
        _measure("make_photos", folder, TRIALS)
        for _ in range(NUM_BUILDS):
            for name, rates in runs.items():
                rates.append(_measure(name, folder, TRIALS)["rate"])
        large = _measure("large_pictures", folder, TRIALS)
    plain, model, bare, whole = map(statistics.median, runs.values())
    name = f"{NUM_PHOTOS:,} pictures of 640 x 480 by ViT-B-32"
    yield Figure(f"{name}, a build over open_clip's loop", whole / plain, "x", 3.3, is_floor=True)
    yield Figure("the build without thumbnails, over the model alone", bare / model, "x", 0.8, is_floor=True)
    yield Figure("the build with thumbnails, over the model alone", whole / model, "x", 0.65, is_floor=True)
    for name, rate in (("the build", whole), ("the model alone", model), ("open_clip's loop", plain)):
        yield Figure(f"pictures a second: {name}", rate, "")
    yield Figure("12-megapixel JPEGs, over plain decoding", large["plain"] / large["ours"], "x", 1.8, is_floor=True)
    yield Figure("a build of them, over one that decodes plainly", large["plain_build"] / large["ours_build"], "x")


def _bench_memory() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        small, large = (_measure(name, folder, TRIALS) for name in ("build_small", "build_large"))
    for one in (small, large):
        yield Figure(f"peak of anonymous memory, building {one['rows']:,} rows", one["peak"] / 2**20, "MiB")
    ratio = (large["peak"] - small["peak"]) / (2 * large["dim"] * (large["rows"] - small["rows"]))
    yield Figure("its growth between them, over the vectors' bytes", ratio, "x", 1.1)


def _bench_search() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        rows = _measure("search_rows", folder, TRIALS)
        _measure("make_clip", folder)
        text = _measure("search_text", folder, TRIALS)
    yield Figure("a search of 100,000 x 512, over IndexFlatIP", rows["exact"] / rows["ours"], "x", 2.3, is_floor=True)
    yield Figure("that search", 1000 * rows["ours"], "ms")
    yield Figure("the 20 nearest, equal to float32's", rows["overlap"], "share", 0.99, is_floor=True)
    yield Figure("a text search in them, over encoding and FAISS alone", text["whole"] / text["bare"], "x", 1.15)


def _bench_many() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        _measure("make_many", folder, TRIALS)
        many = _measure("open_many", folder, TRIALS)
    yield Figure("a bundle of 1,000,000 rows opens", many["load"], "s", 1.0)
    yield Figure("anonymous memory for that and a search", many["growth"] / 1e6, "MB", 100)
    yield Figure("50 items of it", 1000 * many["items"], "ms", 20)


def _measure(name: str, folder: str, module: str = PEERS) -> dict[str, Any]:
    command = [sys.executable, "-m", module, name, folder]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _search_ms() -> float:
    engine = Engine(STARTER_BUNDLE, "starter", "starter")
    engine.search("a first query loads the models")
    queries = [f"a photo of {number} dogs on a beach" for number in range(NUM_SEARCHES)]
    return 1000 * statistics.median(engine.search(query).seconds for query in queries)


def _resident_mib() -> float:
    """VmRSS of the app after one answer of each tab."""
    picture = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
    with tempfile.TemporaryDirectory() as cache, _app("starter", cache) as (url, process, _):
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
def _app(models: str, cache: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]", float]]:
    """The app over the starter collection, without a hub and with a cache of its own, which it may fill."""
    command = ["app.py", "--encoder", models, "--captioner", models, "--port"]
    environ = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": cache, "XDG_CACHE_HOME": cache}
    with _serving(command, environ) as served:
        yield served


@contextmanager
def _serving(
    command: list[str], environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[str, "subprocess.Popen[bytes]", float]]:
    """Run Python with `command` and a free port; its address, process and seconds to its first HTTP 200."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
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
