"""`Figure`, one result of a benchmark, and the benchmarks of builds and searches."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from imgsearch.config import ROOT
from tests.bench.baselines import NUM_PHOTOS

PEERS, TRIALS, SEARCHES = "tests.bench.baselines", "tests.bench.builds", "tests.bench.searches"
NUM_BUILDS = 3  # of each variant, in turn; medians are compared


@dataclass(frozen=True)
class Figure:
    """One measured figure and its limit, if any: an upper limit, or with `is_floor` a lower limit."""

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


def run_trial(name: str, folder: str, module: str = PEERS) -> dict[str, Any]:
    """Run a trial of a module in its own process and return the JSON object that it prints."""
    command = [sys.executable, "-m", module, name, folder]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def bench_build() -> Iterator[Figure]:
    """Compare builds with open_clip's loop, with the model alone and with plain decoding."""
    runs: dict[str, list[float]] = {"plain_rate": [], "model_rate": [], "bare_rate": [], "whole_rate": []}
    with tempfile.TemporaryDirectory() as folder:
        run_trial("make_clip", folder)
        run_trial("make_photos", folder, TRIALS)
        for _ in range(NUM_BUILDS):
            for name, rates in runs.items():
                rates.append(run_trial(name, folder, TRIALS)["rate"])
        large = run_trial("large_pictures", folder, TRIALS)
    plain, model, bare, whole = map(statistics.median, runs.values())
    name = f"{NUM_PHOTOS:,} pictures of 640 x 480 by ViT-B-32"
    yield Figure(f"{name}, a build over open_clip's loop", whole / plain, "x", 3.3, is_floor=True)
    yield Figure("the build without thumbnails, over the model alone", bare / model, "x", 0.8, is_floor=True)
    yield Figure("the build with thumbnails, over the model alone", whole / model, "x", 0.65, is_floor=True)
    for name, rate in (("the build", whole), ("the model alone", model), ("open_clip's loop", plain)):
        yield Figure(f"pictures a second: {name}", rate, "")
    yield Figure("12-megapixel JPEGs, over plain decoding", large["plain"] / large["ours"], "x", 1.8, is_floor=True)
    yield Figure("a build of them, over one that decodes plainly", large["plain_build"] / large["ours_build"], "x")


def bench_memory() -> Iterator[Figure]:
    """Measure how the memory of a build grows with the size of the collection."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (run_trial(name, folder, TRIALS) for name in ("build_small", "build_large"))
    for run in (small, large):
        yield Figure(f"peak of anonymous memory, building {run['rows']:,} rows", run["peak"] / 2**20, "MiB")
    ratio = (large["peak"] - small["peak"]) / (2 * large["dim"] * (large["rows"] - small["rows"]))
    yield Figure("its growth between them, over the vectors' bytes", ratio, "x", 1.1)


def bench_search() -> Iterator[Figure]:
    """Compare searches with FAISS's own index and with the encoder alone."""
    with tempfile.TemporaryDirectory() as folder:
        rows = run_trial("search_rows", folder, SEARCHES)
        run_trial("make_clip", folder)
        text = run_trial("search_text", folder, SEARCHES)
    yield Figure("a search of 100,000 x 512, over IndexFlatIP", rows["exact"] / rows["ours"], "x", 2.3, is_floor=True)
    yield Figure("that search", 1000 * rows["ours"], "ms")
    yield Figure("the 20 nearest, equal to float32's", rows["overlap"], "share", 0.99, is_floor=True)
    yield Figure("a text search in them, over encoding and FAISS alone", text["whole"] / text["bare"], "x", 1.15)


def bench_order() -> Iterator[Figure]:
    """Compare searches with filters to those without; measure near-duplicates, pages, columns and the map."""
    with tempfile.TemporaryDirectory() as folder:
        filtered, rows = run_trial("filter_rows", folder, SEARCHES), run_trial("other_rows", folder, SEARCHES)
        judged, table = run_trial("judge_rows", folder, SEARCHES), run_trial("read_table", folder, SEARCHES)
        drawn = run_trial("draw_map", folder, SEARCHES)
    for share, random, worst in zip(*filtered.values(), strict=True):
        yield Figure(f"a search in {100 * share:g} % of 100,000, over one in all", random, "x", 1.3)
        yield Figure("the same in those that fit the query least", worst, "x", 3.5)
    yield Figure("its hits are judged, over the search alone", 1000 * (judged["judged"] - judged["bare"]), "ms", 2)
    yield Figure("the near-duplicates among 200 hits are folded", 1000 * rows["fold"], "ms", 5)
    yield Figure("the page of 50 hits after 50,000, over the first page", rows["deep"] / rows["page"], "x")
    yield Figure(f"{table['columns']} columns of 100,000 items are read", table["seconds"], "s", 1.0)
    yield Figure("the map of 10,000 items is drawn", drawn["seconds"], "s", 60)


def bench_many() -> Iterator[Figure]:
    """Measure a bundle of a million rows."""
    with tempfile.TemporaryDirectory() as folder:
        run_trial("make_many", folder, SEARCHES)
        many = run_trial("open_many", folder, SEARCHES)
    yield Figure("a bundle of 1,000,000 rows opens", many["load"], "s", 1.0)
    yield Figure("anonymous memory for that and a search", many["growth"] / 1e6, "MB", 100)
    yield Figure("50 items of it", 1000 * many["items"], "ms", 20)
