"""Builds and searches that `bench` measures, over made-up pictures and rows.

Each runs in a process of its own, `python -m imgsearch.trials TRIAL FOLDER`, and prints one JSON object. Where it says
so, FOLDER holds the checkpoint that `peers.make_clip` writes.
"""

import copy
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from imgsearch.build import build_index
from imgsearch.bundle import writing
from imgsearch.clip import LOCAL
from imgsearch.collection import card_of
from imgsearch.config import ROOT
from imgsearch.encoder import BATCH_SIZE, Encoder
from imgsearch.engine import Engine
from imgsearch.folder import Folder
from imgsearch.images import open_rgb
from imgsearch.index import Index, Piece, write
from imgsearch.made_up import DIM, MadeUp, Projection
from imgsearch.manifest import Card
from imgsearch.models import load_encoder
from imgsearch.peers import NUM_PHOTOS, SEED, compare, load_plainly, main, make_pictures, memory
from imgsearch.records import Item
from imgsearch.stream import BuildOptions, Source
from imgsearch.vectors import Embeddings, normalize

NUM_PLAIN, NUM_READY = 100, 320  # of the photos go through the plain loop, and through the model alone
NUM_LARGE = 24  # of 4000 x 3000
NUM_ROWS, NUM_MANY, BLOCK = 100_000, 1_000_000, 10_000
NUM_CENTRES = 2_000
SPREAD = 0.7  # of a cluster: the length of the noise that is added to its centre's 1
NUM_QUERIES = 50
NUM_TEXTS = 30
NUM_ITEMS = 50  # that are fetched
SAMPLE_S = 0.02


def make_photos(folder: Path) -> dict[str, Any]:
    """Write NUM_PHOTOS pictures of 640 x 480."""
    make_pictures(folder / "photos", NUM_PHOTOS, (640, 480))
    return {}


def plain_rate(folder: Path) -> dict[str, Any]:
    """Pictures per second of the plain loop."""
    photos = sorted((folder / "photos").iterdir())[:NUM_PLAIN]
    return {"rate": NUM_PLAIN / compare(1, plain=partial(load_plainly(folder), photos))["plain"]}


def model_rate(folder: Path) -> dict[str, Any]:
    """Pictures per second of the checkpoint alone, over arrays that are ready for it."""
    photos, encoder = sorted((folder / "photos").iterdir())[:NUM_READY], _encoder(folder)
    ready = [encoder.prepare(open_rgb(path, side=encoder.image_side)) for path in photos]
    batches = [ready[start : start + BATCH_SIZE] for start in range(0, len(ready), BATCH_SIZE)]
    seconds = compare(model=lambda: [encoder.encode_prepared(batch) for batch in batches])
    return {"rate": NUM_READY / seconds["model"], "precision": encoder.precision}


def bare_rate(folder: Path) -> dict[str, Any]:
    """Pictures per second of a build without thumbnails, as a user runs it."""
    return _build_rate(folder, "--no-thumbnails")


def whole_rate(folder: Path) -> dict[str, Any]:
    """Pictures per second of a build with thumbnails."""
    return _build_rate(folder)


def large_pictures(folder: Path) -> dict[str, Any]:
    """Seconds to decode NUM_LARGE pictures for the model, plainly and as a build does; and to build them so."""
    photos = make_pictures(folder / "large", NUM_LARGE, (4000, 3000))
    encoder = _encoder(folder)
    plain: Any = copy.copy(encoder)
    plain.image_side = 0  # no draft
    seconds: dict[str, Any] = {}
    for name, other in (("plain", plain), ("ours", encoder)):
        seconds |= {
            name: lambda other=other: [other.prepare(open_rgb(path, side=other.image_side)) for path in photos],
            f"{name}_build": lambda other=other: _build(Folder(folder / "large"), other),
        }
    return dict(compare(**seconds))


def build_small(folder: Path) -> dict[str, Any]:
    """The peak of RssAnon in bytes while NUM_ROWS / 10 pictures are built by a model that takes no memory."""
    return _build_memory(NUM_ROWS // 10)


def build_large(folder: Path) -> dict[str, Any]:
    """The same of NUM_ROWS pictures."""
    return _build_memory(NUM_ROWS)


def search_rows(folder: Path) -> dict[str, Any]:
    """Seconds for the 20 nearest among NUM_ROWS, in half precision out of a bundle and in float32; their overlap."""
    rng = np.random.default_rng(SEED)
    centres = normalize(rng.standard_normal((NUM_CENTRES, DIM), np.float32))

    def near(number: int) -> Embeddings:
        noise = rng.standard_normal((number, DIM), np.float32) * (SPREAD / DIM**0.5)
        return normalize(centres[rng.integers(NUM_CENTRES, size=number)] + noise)

    rows, queries, items = near(NUM_ROWS), near(NUM_QUERIES), _items(0, NUM_ROWS)
    exact = Index.from_rows(rows, items, Card(encoder="none", vectors="float32"))
    Index.from_rows(rows, items, Card(encoder="none")).save(folder / "rows")
    ours = Index.load(folder / "rows")
    found: dict[str, list[Any]] = {"exact": [], "ours": []}

    def search(name: str, index: Index, order: Iterator[int]) -> None:
        number = next(order) % NUM_QUERIES
        found[name].append({hit.item.id for hit in index.search(queries[number : number + 1], 20)})

    sides = {"exact": partial(search, "exact", exact, count()), "ours": partial(search, "ours", ours, count())}
    seconds = compare(NUM_QUERIES, **sides)
    shares = [len(one & other) / 20 for one, other in zip(found["exact"], found["ours"], strict=True)]
    return seconds | {"overlap": float(np.mean(shares))}


def search_text(folder: Path) -> dict[str, Any]:
    """Seconds of a text search in NUM_ROWS by the checkpoint, and of what it cannot do without."""
    encoder = _encoder(folder)
    rows = normalize(np.random.default_rng(SEED).standard_normal((NUM_ROWS, encoder.dim), np.float32))
    Index.from_rows(rows, _items(0, NUM_ROWS), card_of(encoder)).save(folder / "bundle")
    engine = Engine(folder / "bundle", captioner="starter")
    index, encoder = engine.index, engine.encoder
    numbers = {"bare": count(), "whole": count()}

    def text(name: str) -> str:
        return f"a photo of {next(numbers[name])} dogs on a beach"

    def bare() -> None:
        index.search(encoder.encode_texts([text("bare")]), 1)  # FAISS, and one item

    return dict(compare(NUM_TEXTS, bare=bare, whole=lambda: engine.search(text("whole"))))


def make_many(folder: Path) -> dict[str, Any]:
    """Write a bundle of NUM_MANY rows, block by block."""
    rng, card = np.random.default_rng(SEED), Card(encoder="none", thumbnails=False)

    def pieces() -> Iterator[Piece]:
        for start in range(0, NUM_MANY, BLOCK):
            rows = normalize(rng.random((BLOCK, DIM), np.float32) - 0.5)
            yield from Index.from_rows(rows, _items(start, BLOCK), card).pieces()

    with writing(folder / "many") as work:
        write(folder / "many", work, pieces(), card)
    return {}


def open_many(folder: Path) -> dict[str, Any]:
    """Seconds to open that bundle and to fetch NUM_ITEMS of it; bytes of RssAnon for opening it and one search."""
    rng = np.random.default_rng(SEED)
    query, numbers = normalize(rng.random((1, DIM)) - 0.5), rng.integers(NUM_MANY, size=NUM_ITEMS).tolist()
    before, start = memory("RssAnon"), time.perf_counter()
    index = Index.load(folder / "many")
    load_s = time.perf_counter() - start
    index.search(query, 20)
    growth, start = memory("RssAnon") - before, time.perf_counter()
    for number in numbers:
        index.item(number)
    return {"load": load_s, "growth": growth, "items": time.perf_counter() - start}


def _encoder(folder: Path) -> Encoder:
    return load_encoder(f"{LOCAL}{folder}")


def _build_rate(folder: Path, *flags: str) -> dict[str, Any]:
    command = ["-m", "imgsearch", "build", str(folder / "photos"), "--out", str(folder / "bundle"), "--json", *flags]
    command = [sys.executable, *command, "--encoder", f"{LOCAL}{folder}"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {"rate": json.loads(done.stdout)["pictures_per_s"]}


def _build(source: Source, encoder: Encoder, options: BuildOptions = BuildOptions()) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build_index(source, Path(folder) / "bundle", encoder, options)


def _build_memory(num_rows: int) -> dict[str, Any]:
    _build(MadeUp(BATCH_SIZE), Projection())  # imports what is imported late
    peaks, is_over = [memory("RssAnon")], threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_S):
            peaks.append(max(memory("RssAnon"), peaks.pop()))

    thread = threading.Thread(target=sample)
    thread.start()
    _build(MadeUp(num_rows), Projection())
    is_over.set()
    thread.join()
    return {"peak": peaks[0], "rows": num_rows, "dim": DIM}


def _items(start: int, number: int) -> list[Item]:
    """Items with ids and captions of usual length."""
    caption = "A photo of something, in a sentence of the usual length, number"
    digests = (hashlib.sha256(str(row).encode()).hexdigest() for row in range(start, start + number))
    return [
        Item(f"photos/2024/IMG_{row:08}.jpg", f"{caption} {row}", {}, digest, b"", f"{row}:1700000000000000000")
        for row, digest in enumerate(digests, start)
    ]


TRIALS = (
    *(make_photos, plain_rate, model_rate, bare_rate, whole_rate, large_pictures),
    *(build_small, build_large, search_rows, search_text, make_many, open_many),
)

if __name__ == "__main__":
    main(TRIALS)
