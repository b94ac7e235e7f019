"""A bundle and its Lance table, measured in one run: python -m tests.bench.tables ROWS FOLDER, which keeps them."""

import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from imgsearch.embeddings import Embeddings, normalize
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.filters import Condition
from imgsearch.index.index import Block, Index, write_bundle
from imgsearch.index.lance import LanceIndex
from imgsearch.index.lance_export import export_table
from imgsearch.index.manifest import Provenance
from imgsearch.records import Item
from imgsearch.search.words import stems
from tests.bench.baselines import SEED, compare
from tests.bench.fakes import DIM
from tests.bench.figures import Figure, run_trial

SIZES, NUM_CENTRES, NUM_QUERIES, BLOCK = (10_000, 200_000, 1_000_000), 2_000, 100, 10_000
CENTRES = np.random.default_rng(SEED).standard_normal((NUM_CENTRES, DIM), np.float32)


def _near_centres(number: int, rng: np.random.Generator) -> Embeddings:
    return normalize(CENTRES[rng.integers(0, NUM_CENTRES, number)] + rng.standard_normal((number, DIM), np.float32))


def _nearest(index: Index, mask: Any, queries: Iterator[Embeddings]) -> set[int]:
    return {*index.nearest(next(queries)[None], 12, mask)[1][:10].tolist()}


def _make(num_rows: int, folder: Path) -> None:
    provenance, rng = Provenance(encoder="none"), np.random.default_rng(SEED + 1)

    def blocks() -> Iterator[Block]:
        for start in range(0, num_rows, BLOCK):
            texts = [(str(row), f"word{row % 5000}", f"kind{row % 20}") for row in range(start, start + BLOCK)]
            items = [Item(id, word, {"n": id, "kind": kind}, "0" * 64, bytes(2_000)) for id, word, kind in texts]
            yield from Index.from_rows(_near_centres(BLOCK, rng), items, provenance).blocks()

    with bundle_writer(folder / "bundle") as work:
        write_bundle(folder / "bundle", work, blocks(), provenance)
    export_table(folder / "bundle", folder / "table.lance", stems, lambda done, total: None)


def _measure(folder: Path) -> dict[str, Any]:
    """Measure the seconds of the 12 nearest in both, without and with two filters, and the table's recall@10."""
    indexes = Index.load(folder / "bundle"), LanceIndex(folder / "table.lance")
    queries, size = _near_centres(NUM_QUERIES, np.random.default_rng(SEED + 2)), len(indexes[0])
    filters = [Condition("kind", "equals", "kind3"), Condition("n", "range", f"{size // 10}..{size // 2}")]
    measured = dict[str, Any]()
    for name, conditions in {"no filter": [], "two filters": filters}.items():
        ways = [(index, index.columns.mask(conditions) if conditions else None) for index in indexes]
        bundle, table = (partial(_nearest, *way, cycle(queries)) for way in ways)
        seconds = compare(NUM_QUERIES, bundle=bundle, table=table)
        found = [[_nearest(*way, iter([query])) for query in queries] for way in ways]
        shares = [len(one & other) / 10 for one, other in zip(*found, strict=True)]
        measured[name] = seconds | {"recall": float(np.mean(shares))}
    return measured


def bench_tables() -> Iterator[Figure]:
    """Compare the 12 nearest in Lance tables of SIZES with those in their bundles."""
    for num_rows in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measured = run_trial(str(num_rows), folder, "tests.bench.tables")
        for what, found in measured.items():
            for kind in ("bundle", "table"):
                yield Figure(f"the 12 nearest of {num_rows:,} in a {kind}, {what}", 1000 * found[kind], "ms")
            yield Figure(f"recall@10 of that table, {what}", found["recall"], "share", 0.95, is_floor=True)


if __name__ == "__main__":
    _make(int(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps(_measure(Path(sys.argv[2]))))
