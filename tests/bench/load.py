"""Many visitors at once, each with a client of its own: what they wait, what goes wrong, what is left behind."""

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
SECONDS = 180.0
ENDPOINTS = ("/search", "/similar", "/describe")
THINGS = ("dog", "owl", "lemon", "guitar", "mountain", "cup of coffee", "key", "bus", "flower", "boat")
BUSY = "Busy: "  # says the app where too many wait
REST_S = 1.0  # at most, between two questions of a visitor, half of it on average
SETTLE_S = 5.0  # before what is left behind is measured


@dataclass
class Load:
    """What came of many visitors' questions. Seconds as a visitor waits: a picture's upload included."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in ENDPOINTS})
    num_busy: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    descriptions: dict[Path, str] = field(default_factory=dict)  # of each picture, as the first visitor got it

    @property
    def num_answers(self) -> int:
        """How many questions were answered."""
        return sum(map(len, self.seconds.values()))

    def percentile(self, endpoint: str, percent: float) -> float:
        """Seconds that this share of an endpoint's answers took at most; NaN where there is none."""
        seconds = self.seconds[endpoint]
        return float(np.percentile(seconds, percent)) if seconds else float("nan")


def bench_load() -> Iterator[Figure]:
    """The app under 20 and 100 visitors."""
    for num_visitors in NUM_VISITORS:
        with tempfile.TemporaryDirectory() as cache, serve_app("starter", cache) as app:
            put_load(app.url, num_visitors, 10.0)  # what the first questions bring is no leak
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
    """Have that many visitors ask as long. An answer to another one's question counts as an error."""
    load, lock = Load(), threading.Lock()
    end = time.perf_counter() + seconds
    with ThreadPoolExecutor(num_visitors) as visitors:
        for number in range(num_visitors):
            visitors.submit(_visit, url, number, end, load, lock)
    return load


def memory_mib(pid: int) -> float:
    """Resident memory of a process and those it has started."""
    return sum(map(resident_mib, (pid, *children_of(pid))))


def _visit(url: str, number: int, end: float, load: Load, lock: threading.Lock) -> None:
    """One visitor."""
    chance = random.Random(number)
    pictures = sorted((ROOT / "examples" / "stamps").glob("*.jpg"))
    client: Client | None = None
    while time.perf_counter() < end:
        endpoint = chance.choice(ENDPOINTS)
        start = time.perf_counter()
        try:
            client = client or Client(url, verbose=False)
            start = time.perf_counter()
            _ask(client, endpoint, chance, pictures, load.descriptions)
            with lock:
                load.seconds[endpoint].append(time.perf_counter() - start)
        except Exception as error:
            with lock:
                is_busy = BUSY in str(error)
                load.num_busy += is_busy
                load.errors.update([] if is_busy else [f"{endpoint}: {error!r:.200}"])
        time.sleep(chance.random() * REST_S)


def _ask(
    client: Client, endpoint: str, chance: random.Random, pictures: list[Path], descriptions: dict[Path, str]
) -> None:
    """Ask, and see that the answer is the one to this question."""
    if endpoint == "/search":
        query = f"a {chance.choice(THINGS)} number {chance.randrange(10**9)}"
        answer = client.predict(query, api_name=endpoint)[0]
        assert answer["query"] == query, f"{answer['query']!r} was not asked"
        return
    picture = chance.choice(pictures)
    answer = client.predict(handle_file(picture), api_name=endpoint)
    if endpoint == "/similar":
        assert answer[0]["hits"][0]["id"] == f"stamps/{picture.name}", "another picture was asked"
    else:
        assert answer[0] == descriptions.setdefault(picture, answer[0]), "another picture was described"
