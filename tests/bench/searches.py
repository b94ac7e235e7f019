"""Searches that `tests.bench` measures, with made-up vectors.

Each runs in its own process, `python -m tests.bench.searches TRIAL FOLDER`, and prints one JSON object.
FOLDER keeps files for the next trial; for `search_text` it must hold the checkpoint of `baselines.make_clip`.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np

from imgsearch.embeddings import Embeddings, normalize
from imgsearch.engine import Engine
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.index import Block, Index, write_bundle
from imgsearch.index.items import Mask
from imgsearch.index.manifest import Provenance, provenance_of
from imgsearch.models.clip import LOCAL_DIR_PREFIX
from imgsearch.models.registry import load_encoder
from imgsearch.records import Item
from imgsearch.search.calibration import Calibration
from imgsearch.search.collection import DerivedData
from imgsearch.search.duplicates import fold_near_duplicates
from imgsearch.search.projection import NUM_POINTS, compute_projection
from imgsearch.search.query import Part
from imgsearch.search.searcher import Searcher
from imgsearch.search.thresholds import ScoreThresholds
from tests.bench.baselines import SEED, compare, main, memory
from tests.bench.fakes import DIM, Projection

NUM_ROWS, NUM_MANY, BLOCK = 100_000, 1_000_000, 10_000
NUM_CENTRES = 2_000
SPREAD = 0.7  # of a cluster: length of the noise that is added to its centre, which has length 1
NUM_QUERIES = 50
NUM_TEXTS = 30
NUM_ITEMS = 50  # items read from the large bundle
SHARES = (0.001, 0.1, 0.5, 0.9)  # shares of the items that a filter keeps
PAGES = (12, 50)  # hits per page
NUM_FOLDED = 200  # hits
DEEP = 50_000  # hits before the page
EVERY = {"subject": 10, "place": 1_000, "year": 120, "url": NUM_ROWS}  # number of different values per column


def search_rows(folder: Path) -> dict[str, Any]:
    """Measure the 20 nearest among NUM_ROWS: seconds from a float16 bundle and in float32 memory, and their overlap."""
    rows, queries = _rows(), _queries()
    exact = Index.from_rows(rows, _items(0, NUM_ROWS), Provenance(encoder="none", vectors="float32"))
    ours = _saved(rows, folder)
    nearest: dict[str, list[Any]] = {"exact": [], "ours": []}

    def search(name: str, index: Index, order: Iterator[int]) -> None:
        position = next(order) % NUM_QUERIES
        nearest[name].append({hit.item.id for hit in index.search(queries[position : position + 1], 20)})

    variants = {"exact": partial(search, "exact", exact, count()), "ours": partial(search, "ours", ours, count())}
    seconds = compare(NUM_QUERIES, **variants)
    shares = [len(of_exact & of_ours) / 20 for of_exact, of_ours in zip(nearest["exact"], nearest["ours"], strict=True)]
    return seconds | {"overlap": float(np.mean(shares))}


def filter_rows(folder: Path) -> dict[str, Any]:
    """Measure searches with a filter over one without, for each of SHARES; return the larger ratio among PAGES.

    "random": the filter keeps random items; "worst": it keeps the items that match the query least.
    """
    rows, queries = _rows(), _queries()
    index, rng = _saved(rows, folder), np.random.default_rng(SEED)
    ranks = np.argsort(np.argsort(queries @ rows.T, axis=1), axis=1)  # (NUM_QUERIES, NUM_ROWS), 0 is the worst
    ratios: dict[str, list[float]] = {"random": [], "worst": []}
    for share in SHARES:
        random = rng.random(NUM_ROWS) < share
        calls: dict[str, list[tuple[Any, ...]]] = {
            "all": [(query[None], None) for query in queries],
            "random": [(query[None], random) for query in queries],
            "worst": [(query[None], rank < share * NUM_ROWS) for query, rank in zip(queries, ranks, strict=True)],
        }
        pages = [_seconds(partial(_search, index, k), **calls) for k in PAGES]
        for name, values in ratios.items():
            values.append(max(seconds[name] / seconds["all"] for seconds in pages))
    return {"shares": SHARES, **ratios}


def other_rows(folder: Path) -> dict[str, Any]:
    """Measure the seconds to fold the NUM_FOLDED nearest of a query, for a page of 50 hits, and for one after DEEP."""
    index, queries = _saved(_rows(), folder), _queries()
    found = [[hit.row for hit in index.search(query[None], NUM_FOLDED)] for query in queries]
    folds = _seconds(lambda rows: fold_near_duplicates(index.rows_of(rows), 0.9), fold=[(rows,) for rows in found])
    return folds | _seconds(
        lambda query, start: [index.item(row) for row in index.nearest(query, start + 50)[1][start:].tolist()],
        page=[(query[None], 0) for query in queries],
        deep=[(query[None], DEEP) for query in queries],
    )


def read_table(folder: Path) -> dict[str, Any]:
    """Measure the seconds to read the columns of NUM_ROWS items from a bundle."""
    columns = [{name: f"{name} {row % num_values}" for name, num_values in EVERY.items()} for row in range(NUM_ROWS)]
    items = [replace(item, columns=fields) for item, fields in zip(_items(0, NUM_ROWS), columns, strict=True)]
    rows = normalize(np.random.default_rng(SEED).standard_normal((NUM_ROWS, 8), np.float32))
    Index.from_rows(rows, items, Provenance(encoder="none")).save(folder / "columns")
    table, start = Index.load(folder / "columns").columns, time.perf_counter()
    texts = [table.values(name, 1) for name in table.metadata]
    return {"seconds": time.perf_counter() - start, "columns": len(texts)}


def judge_rows(folder: Path) -> dict[str, Any]:
    """Measure the seconds of a query whose hits get a strength from the thresholds, and of the search alone."""
    index, queries = _saved(_rows(), folder), _queries()
    bounds = ScoreThresholds(fair=0.5, strong=0.7, bias=0.1)
    encoder = _FixedQueries(queries)
    derived = DerivedData(folder / "rows", index, encoder, lambda: index)
    derived.calibration = Calibration(text=bounds, image=bounds, near_duplicate=1.0)
    searcher = Searcher(index, encoder, derived)
    texts = [(str(position),) for position in range(NUM_QUERIES)]
    bare = _seconds(lambda text: index.search(queries[int(text)][None], PAGES[0] + 1), bare=texts, again=texts)
    judged = _seconds(
        lambda text: searcher.search([Part(text)], PAGES[0], fold=False, words=False), judged=texts, again=texts
    )
    return {"bare": bare["bare"], "judged": judged["judged"]}


def draw_map(folder: Path) -> dict[str, Any]:
    """Measure the seconds to compute the map of NUM_POINTS items, with the loading and compiling of its libraries."""
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    index = Index.from_rows(_clustered(NUM_POINTS, SEED), _items(0, NUM_POINTS), Provenance(encoder="none"))
    start = time.perf_counter()
    compute_projection(index)
    return {"seconds": time.perf_counter() - start}


def search_text(folder: Path) -> dict[str, Any]:
    """Measure the seconds of a text search in NUM_ROWS with the checkpoint, and of encoding and FAISS alone."""
    encoder = load_encoder(f"{LOCAL_DIR_PREFIX}{folder}")
    rows = normalize(np.random.default_rng(SEED).standard_normal((NUM_ROWS, encoder.dim), np.float32))
    Index.from_rows(rows, _items(0, NUM_ROWS), provenance_of(encoder)).save(folder / "bundle")
    engine = Engine.open(folder / "bundle", captioner="starter")
    index, encoder = engine.index, engine.searcher.encoder
    numbers = {"bare": count(), "whole": count()}

    def text(name: str) -> str:
        return f"a photo of {next(numbers[name])} dogs on a beach"

    def bare() -> None:
        index.search(encoder.encode_texts([text("bare")]), 1)  # FAISS, and one item

    return dict(compare(NUM_TEXTS, bare=bare, whole=lambda: engine.search(text("whole"))))


def make_many(folder: Path) -> dict[str, Any]:
    """Write a bundle of NUM_MANY rows block by block."""
    rng, provenance = np.random.default_rng(SEED), Provenance(encoder="none", thumbnails=False)

    def blocks() -> Iterator[Block]:
        for start in range(0, NUM_MANY, BLOCK):
            rows = normalize(rng.random((BLOCK, DIM), np.float32) - 0.5)
            yield from Index.from_rows(rows, _items(start, BLOCK), provenance).blocks()

    with bundle_writer(folder / "many") as work:
        write_bundle(folder / "many", work, blocks(), provenance)
    return {}


def open_many(folder: Path) -> dict[str, Any]:
    """Measure the seconds to open that bundle and to read NUM_ITEMS; the bytes of RssAnon for opening and a search."""
    rng = np.random.default_rng(SEED)
    query, rows = normalize(rng.random((1, DIM)) - 0.5), rng.integers(NUM_MANY, size=NUM_ITEMS).tolist()
    before, start = memory("RssAnon"), time.perf_counter()
    index = Index.load(folder / "many")
    load_s = time.perf_counter() - start
    index.search(query, 20)
    growth, start = memory("RssAnon") - before, time.perf_counter()
    for row in rows:
        index.item(row)
    return {"load": load_s, "growth": growth, "items": time.perf_counter() - start}


class _FixedQueries(Projection):
    """An encoder that returns given vectors: the text "7" gives queries[7]."""

    def __init__(self, queries: Embeddings) -> None:
        super().__init__()
        self._queries = queries

    def encode_texts(self, texts: Any) -> Embeddings:
        return self._queries[[int(text) for text in texts]]


def _clustered(num_rows: int, seed: int) -> Embeddings:
    """Return clusters of vectors, float32 (num_rows, DIM)."""
    centres = normalize(np.random.default_rng(SEED).standard_normal((NUM_CENTRES, DIM), np.float32))
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((num_rows, DIM), np.float32) * np.float32(SPREAD / DIM**0.5)
    return normalize(centres[rng.integers(NUM_CENTRES, size=num_rows)] + noise)


def _rows() -> Embeddings:
    return _clustered(NUM_ROWS, SEED + 1)


def _queries() -> Embeddings:
    return _clustered(NUM_QUERIES, SEED + 2)


def _saved(rows: Embeddings, folder: Path) -> Index:
    """Return an index of these vectors from the bundle that the first trial writes."""
    if not (folder / "rows").exists():
        Index.from_rows(rows, _items(0, len(rows)), Provenance(encoder="none")).save(folder / "rows")
    return Index.load(folder / "rows")


def _search(index: Index, k: int, query: Embeddings, mask: Mask | None) -> None:
    index.search(query, k, mask=mask)


def _seconds(measured: Callable[..., Any], **calls: Sequence[tuple[Any, ...]]) -> dict[str, float]:
    """Return the median seconds of `measured` for each list of arguments; each list is used in turn."""

    def variant(arguments: Iterator[tuple[Any, ...]]) -> Callable[[], Any]:
        return lambda: measured(*next(arguments))

    return compare(NUM_QUERIES, **{name: variant(cycle(arguments)) for name, arguments in calls.items()})


def _items(start: int, num_items: int) -> list[Item]:
    """Return items with ids and captions of usual length."""
    caption = "A photo of something, in a sentence of the usual length, number"
    digests = (hashlib.sha256(str(row).encode()).hexdigest() for row in range(start, start + num_items))
    return [
        Item(f"photos/2024/IMG_{row:08}.jpg", f"{caption} {row}", {}, digest, b"", f"{row}:1700000000000000000")
        for row, digest in enumerate(digests, start)
    ]


TRIALS = (search_rows, filter_rows, other_rows, judge_rows, read_table, draw_map, search_text, make_many, open_many)

if __name__ == "__main__":
    main(TRIALS)
