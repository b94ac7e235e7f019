"""Speed and memory, as ratios against a peer or a limit measured in the same run. Reads memory from Linux's /proc."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from typing import Any

from gradio_client import Client, handle_file

from imgsearch.config import ROOT, STARTER_BUNDLE
from imgsearch.engine import Engine
from imgsearch.figures import Figure, bench_build, bench_many, bench_memory, bench_order, bench_search, run_trial
from imgsearch.load import bench_load
from imgsearch.peers import NUM_CAPTIONS, NUM_PICTURES
from imgsearch.serving import resident_mib, serve, serve_app

GROUPS = ("app", "models", "build", "search", "load")
NUM_RUNS = 5  # of each side, alternating; medians are compared
NUM_SEARCHES = 50
HELLO_WORLD = """
import sys, gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    name, hello = gr.Textbox(), gr.Textbox()
    name.submit(lambda name: f"Hello {name}", name, hello)
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""
BARE_LOADER = "from imgsearch.starter import MiniLm, load_efficientnet; load_efficientnet(); MiniLm()"


def bench(groups: Collection[str] = GROUPS) -> Iterator[Figure]:
    """Measure the app, the hub's models with random weights, builds, searches, visitors: minutes for each group."""
    measures = {
        "app": (_bench_app, _bench_answers),
        "models": (_bench_encoder, _bench_captioner),
        "build": (bench_build, bench_memory),
        "search": (bench_search, bench_order, bench_many),
        "load": (bench_load,),
    }
    for group in groups:
        for measure in measures[group]:
            yield from measure()


def _bench_app() -> Iterator[Figure]:
    pages: dict[str, list[float]] = {"hello": [], "starter": [], "auto": []}
    answers: dict[str, list[float]] = {"load": [], "starter": [], "auto": []}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(NUM_RUNS):
            with serve(["-c", HELLO_WORLD]) as (_, _, seconds):
                pages["hello"].append(seconds)
            for models in ("starter", "auto"):
                with serve_app(models, cache) as (url, _, seconds):
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
        run_trial("make_clip", folder)
        speed, memory = run_trial("encode_images", folder), run_trial("load_clip", folder)
        overlap = run_trial("overlap", folder)["overlap"]
    name = f"ViT-B-32 pictures in {speed['precision']}, over open_clip's loop in float32"
    yield Figure(name, speed["plain"] / speed["ours"], "x", 3.5, is_floor=True)
    yield Figure("the ten nearest of each example photo, equal to float32's", overlap, "share", 0.99, is_floor=True)
    yield Figure("1,000 pictures by it", 1000 / NUM_PICTURES * speed["ours"], "s")
    yield Figure("peak memory while it loads, over its file", memory["growth"], "x", 2.1)


def _bench_captioner() -> Iterator[Figure]:
    runs: dict[str, list[dict[str, Any]]] = {"caption_plainly": [], "caption": []}
    with tempfile.TemporaryDirectory() as folder:
        run_trial("make_blip", folder)
        for _ in range(NUM_RUNS):
            for name, measured in runs.items():
                measured.append(run_trial(name, folder))
        memory = run_trial("load_blip", folder)
    plain, ours = (statistics.median(run["seconds"] for run in measured) for measured in runs.values())
    texts = (" ".join(runs[name][0]["texts"]).split() for name in runs)
    equal = statistics.fmean(one == other for one, other in zip(*texts, strict=True))
    name = f"BLIP-base captions in {runs['caption'][0]['precision']}, over plain float32 generate"
    yield Figure(name, plain / ours, "x", 2.5, is_floor=True)
    yield Figure("words equal to float32's; of random weights many nearly tie", equal, "share")
    yield Figure("a caption of 20 tokens by it", ours / NUM_CAPTIONS, "s")
    yield Figure("peak memory while it loads, over its file", memory["growth"], "x", 1.6)


def _search_ms() -> float:
    engine = Engine(STARTER_BUNDLE, "starter", "starter")
    engine.search("a first query loads the models")
    queries = [f"a photo of {number} dogs on a beach" for number in range(NUM_SEARCHES)]
    return 1000 * statistics.median(engine.search(query).seconds for query in queries)


def _resident_mib() -> float:
    """VmRSS of the app after one answer of each tab."""
    picture = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
    with tempfile.TemporaryDirectory() as cache, serve_app("starter", cache) as (url, process, _):
        client = Client(url, verbose=False)
        client.predict(picture, api_name="/describe")
        client.predict(picture, 12, api_name="/similar")
        client.predict("a dog", 12, api_name="/search")
        return resident_mib(process.pid)


def _seconds_to_load() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE_LOADER], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start
