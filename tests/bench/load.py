"""Measure the app under many visitors at once, each with its own client: waiting times, errors, growth of memory."""

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gradio_client import Client, handle_file

from imgsearch.config import ROOT
from tests.bench.app import serve_app
from tests.bench.figures import Figure
from tests.helpers.app import children_of, resident_mib

NUM_VISITORS = (20, 100)
SECONDS = 180.0  # of load
ENDPOINTS = ("/search", "/similar", "/describe")
THINGS = ("dog", "owl", "orange", "guitar", "mountain", "cup of coffee", "chair", "bus", "flower", "boat")
BUSY = "Busy: "  # start of the app's message if too many requests wait
REST_S = 1.0  # maximum seconds between two requests of a visitor; half of it on average
SETTLE_S = 5.0  # seconds to wait before the memory is measured


@dataclass
class Load:
    """The outcome of the requests of many visitors. `seconds` is what a visitor waits, uploads included."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in ENDPOINTS})
    num_busy: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    descriptions: dict[Path, str] = field(default_factory=dict)  # of each picture, as its first visitor got it

    @property
    def num_answers(self) -> int:
        """Return how many requests succeeded."""
        return sum(map(len, self.seconds.values()))

    def percentile(self, endpoint: str, percent: float) -> float:
        """Return the seconds of an endpoint at this percentile; NaN if no request succeeded."""
        seconds = self.seconds[endpoint]
        return float(np.percentile(seconds, percent)) if seconds else float("nan")


def bench_load() -> Iterator[Figure]:
    """Measure the app with 20 and with 100 visitors."""
    for num_visitors in NUM_VISITORS:
        with tempfile.TemporaryDirectory() as cache, serve_app("starter", cache) as app:
            put_load(app.url, num_visitors, 10.0)  # warm-up: memory of the first requests is no leak
            before = memory_mib(app.process.pid)
            load = put_load(app.url, num_visitors, SECONDS)
            time.sleep(SETTLE_S)
            after = memory_mib(app.process.pid)
        many = f"{num_visitors} visitors"
        for endpoint in ENDPOINTS:
            for percent in (50, 95):
                yield Figure(f"{many}: {endpoint}, p{percent}", load.percentile(endpoint, percent), "s")
        yield Figure(f"{many}: answers a second", load.num_answers / SECONDS, "1/s")
        yield Figure(f"{many}: told that the app is busy", float(load.num_busy), "times")
        yield Figure(f"{many}: any other error", float(load.errors.total()), "times", 0.0)
        yield Figure(f"{many}: resident memory after it, over before", after / before, "x", 1.05)


def put_load(url: str, num_visitors: int, seconds: float) -> Load:
    """Let visitors make requests for some seconds. A result that belongs to another request counts as an error."""
    load, lock = Load(), threading.Lock()
    end = time.perf_counter() + seconds
    with ThreadPoolExecutor(num_visitors) as visitors:
        for seed in range(num_visitors):
            visitors.submit(_visit, url, seed, end, load, lock)
    return load


def memory_mib(pid: int) -> float:
    """Return the resident memory in MiB of a process and of those it has started."""
    return sum(map(resident_mib, (pid, *children_of(pid))))


def _visit(url: str, seed: int, end: float, load: Load, lock: threading.Lock) -> None:
    """Be one visitor: make random requests until `end` (`time.perf_counter`)."""
    rng = random.Random(seed)
    pictures = sorted((ROOT / "examples" / "stamps").glob("*.jpg"))
    client: Client | None = None
    while time.perf_counter() < end:
        endpoint = rng.choice(ENDPOINTS)
        start = time.perf_counter()
        try:
            client = client or Client(url, verbose=False)
            start = time.perf_counter()
            _ask(client, endpoint, rng, pictures, load.descriptions)
            with lock:
                load.seconds[endpoint].append(time.perf_counter() - start)
        except Exception as error:
            with lock:
                is_busy = BUSY in str(error)
                load.num_busy += is_busy
                load.errors.update([] if is_busy else [f"{endpoint}: {error!r:.200}"])
        time.sleep(rng.random() * REST_S)


def _ask(
    client: Client, endpoint: str, rng: random.Random, pictures: list[Path], descriptions: dict[Path, str]
) -> None:
    """Make a request and check that the result belongs to it."""
    if endpoint == "/search":
        query = f"a {rng.choice(THINGS)} number {rng.randrange(10**9)}"
        answer = client.predict(query, api_name=endpoint)[0]
        assert answer["query"] == query, f"{answer['query']!r} was not asked"
        return
    picture = rng.choice(pictures)
    answer = client.predict(handle_file(picture), api_name=endpoint)
    if endpoint == "/similar":
        assert answer[0]["hits"][0]["id"] == f"stamps/{picture.name}", "another picture was asked"
    else:
        assert answer[0] == descriptions.setdefault(picture, answer[0]), "another picture was described"
