"""Write a bundle as a Lance table, for `LanceIndex` and for other programs. An export that was interrupted goes on."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from imgsearch.embeddings import OnProgress
from imgsearch.environment import is_remote
from imgsearch.errors import InputError
from imgsearch.files import read_at_most
from imgsearch.index.filters import ITEM_FIELDS, numbers
from imgsearch.index.index import Index
from imgsearch.index.items import SCHEMA, stable_sample
from imgsearch.index.lance_table import (
    FACTS,
    MANIFEST,
    MEASURED,
    VECTOR,
    Column,
    Facts,
    LanceTable,
    Measured,
    address,
    connect,
    padded,
    reason_of,
    without_case,
)
from imgsearch.index.manifest import HF_PREFIX, Manifest

MAX_COLUMNS, MAX_VALUES = 100, 64  # columns that can be filtered by; distinct texts of one whose counts are kept
NUM_SAMPLE = 10_000  # rows: as many as a map has points
MAX_BYTES = 2**20  # of a calibration
BATCH, CHUNK = 1024, 65_536  # rows held in memory; rows that are written whole or not at all
MIN_INDEXED, PARTITION = 20_000, 4096  # rows below which a scan is as fast; rows of a partition of the index
NUM_QUERIES, NUM_NEAREST, MAX_S = 1000, 10, 120.0  # of the measurement: at most so many, and for so many seconds
FIRST_PROBES, FIRST_REFINED, MAX_REFINED, ENOUGH = 128, 2, 32, 0.99  # what is tried, up to the recall that is enough
Stems = Callable[[Sequence[str]], list[str]]
"""Returns the words of each text in their basic form, between blanks."""


def export_table(bundle: Path, path: Path, stems: Stems, on_progress: OnProgress) -> Measured:
    """Write the items and vectors of a bundle, in half precision, and make and measure the indexes of the table.

    Rows, indexes and figures that are there already are kept; `on_progress` gets the numbers of rows there and in all.
    Raise BundleError if the bundle cannot be opened; InputError if the table cannot be written, is being written by
    another process or holds something else.
    """
    index = Index.load(bundle)
    lock = nullcontext() if is_remote(path) else FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    with writing(path):
        try:
            with lock:
                return _export(bundle, index, path, stems, on_progress)
        except Timeout:
            raise InputError(
                "{bundle} is being written by another process. Wait until it is done.", bundle=address(path)
            ) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise InputError if what is done to a table fails."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        template = "The table {table} cannot be written: {reason}. Give another address, or try again later."
        raise InputError(template, table=address(path), reason=reason_of(error)) from error


def _export(bundle: Path, index: Index, path: Path, stems: Stems, on_progress: OnProgress) -> Measured:
    engine = _open(bundle, index, path)
    facts, schema = LanceTable(path).facts, engine.schema
    done = engine.count_rows()
    batches = _batches(index, facts.columns, schema, stems, done)
    while done < len(index):
        on_progress(done, len(index))
        end = min(done + CHUNK, len(index))
        part = islice(batches, -(-(end - done) // BATCH))
        engine.add(pa.RecordBatchReader.from_batches(schema, part))
        done = engine.count_rows()
        if done != end:
            break
    if done != len(index):  # of S3, where nothing can be locked
        template = "The table {table} was written by two processes at once. Delete it, then export again."
        raise InputError(template, table=address(path))
    on_progress(done, len(index))
    is_new = _add_indexes(engine, facts.columns, len(index))
    measured = LanceTable(path).measured
    if measured is None or is_new:
        measured = _measure(LanceTable(path))
        metadata = {MEASURED: measured.model_dump_json()}
        engine.update_field_metadata({"path": VECTOR, "metadata": metadata})
    return measured


def _open(bundle: Path, index: Index, path: Path) -> Any:
    """Open the table for writing, or create it. Raise InputError if it holds something else than this bundle."""
    database, manifest = connect(path), _manifest(index, path)
    with suppress(ValueError):  # it is not found
        engine = database.open_table(path.stem)
        if LanceTable(path).manifest != manifest:
            raise InputError("The table {table} holds another collection. Give another address.", table=address(path))
        return engine
    facts = _facts(bundle, index, manifest)
    texts = [(f"{kind}{i}", pa.string()) for i in range(len(facts.columns)) for kind in "tf"]
    figures = [(f"n{i}", pa.float64()) for i, column in enumerate(facts.columns) if column.has_numbers]
    fields = [
        *SCHEMA,
        ("words", pa.string()),
        *texts,
        *figures,
        (VECTOR, pa.list_(pa.float16(), len(padded(index.row(0))))),
    ]
    metadata = {MANIFEST: manifest.to_text(), FACTS: facts.model_dump_json()}
    return database.create_table(path.stem, schema=pa.schema(fields, metadata=metadata))


def _manifest(index: Index, path: Path) -> Manifest:
    """Return the manifest of the bundle as the table keeps it: the path of the pictures is relative to the table."""
    own = index.provenance
    assert isinstance(own, Manifest)
    is_local = own.source and not own.source.startswith(HF_PREFIX)
    away = "" if is_remote(path) else Path(os.path.relpath(own.source or ".", path.resolve())).as_posix()
    return replace(own, vectors="float16", source=away if is_local else own.source)


def _facts(bundle: Path, index: Index, manifest: Manifest) -> Facts:
    names = index.columns.names[:MAX_COLUMNS]
    file = next((bundle / name for name in manifest.files if name.startswith("calibration-")), None)
    return Facts(
        columns=[_column(index, name) for name in names],
        sample=stable_sample(index.column("id"), NUM_SAMPLE).tolist(),
        calibration=read_at_most(file, MAX_BYTES).decode() if file else "",
    )


def _column(index: Index, name: str) -> Column:
    counts, has_numbers = Counter[str](), False
    for batch in index.items.batches:
        texts = _texts(batch, name)
        has_numbers = has_numbers or numbers(texts).null_count < len(texts)
        if len(counts) <= MAX_VALUES + 1:  # the empty text is none of them
            counts.update({entry["values"]: entry["counts"] for entry in texts.value_counts().to_pylist()})
    del counts[""]
    return Column(name=name, has_numbers=has_numbers, values=counts.most_common() if len(counts) <= MAX_VALUES else [])


def _batches(
    index: Index, columns: Sequence[Column], schema: pa.Schema, stems: Stems, start: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the table from `start` on."""
    items, texts = pa.Table.from_batches(index.items.batches), islice(index.texts(), start, None)
    for begin in range(start, len(index), BATCH):
        [batch] = items.slice(begin, BATCH).combine_chunks().to_batches()
        cells = [_texts(batch, column.name) for column in columns]
        pairs = [array for texts in cells for array in (texts, without_case(texts))]
        figures = [numbers(texts) for texts, column in zip(cells, columns, strict=True) if column.has_numbers]
        rows = padded(index.rows_of(range(begin, begin + len(batch)))).astype(np.float16)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        words = pa.array(stems(list(islice(texts, len(batch)))), pa.string())
        yield pa.RecordBatch.from_arrays([*batch.columns, words, *pairs, *figures, vectors], schema=schema)


def _texts(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return the texts of a column; "" for an item without it."""
    return batch[name] if name in ITEM_FIELDS else pc.map_lookup(batch["columns"], name, "first").fill_null("")


def _add_indexes(engine: Any, columns: Sequence[Column], num_rows: int) -> bool:
    """Make the indexes that are missing. Return True if that of the vectors is new."""
    from lancedb.index import FTS, BTree, IvfRq

    there = {name for index in engine.list_indices() for name in index.columns}
    wanted: dict[str, Any] = {f"t{i}": BTree() for i in range(len(columns))}
    wanted |= {f"n{i}": BTree() for i, column in enumerate(columns) if column.has_numbers}
    wanted["words"] = FTS(stem=False, remove_stop_words=False, ascii_folding=False, max_token_length=None)
    if num_rows >= MIN_INDEXED:
        wanted[VECTOR] = IvfRq(distance_type="dot", num_partitions=num_partitions(num_rows))
    for name, config in wanted.items():
        if name not in there:
            engine.create_index(name, config=config)
    return VECTOR in wanted.keys() - there


def _measure(table: LanceTable) -> Measured:
    """Search for sampled items by a scan, and by the index with more and more effort until it finds ENOUGH."""
    if len(table) < MIN_INDEXED:
        return Measured()
    rows = table.facts.sample[:NUM_QUERIES]
    vectors, begin, nearest = table.vectors(rows), time.perf_counter(), list[set[int]]()

    def find(position: int, way: Measured) -> set[int]:
        _, found = table.nearest(vectors[position], NUM_NEAREST + 1, None, way)
        return set([row for row in found.tolist() if row != rows[position]][:NUM_NEAREST])

    while len(nearest) < len(rows) and time.perf_counter() - begin < MAX_S:
        nearest.append(find(len(nearest), Measured()))
    most = num_partitions(len(table))
    probes, refined = min(FIRST_PROBES, most), FIRST_REFINED
    while True:
        way = Measured(num_queries=len(nearest), probes=probes, max_probes=probes, refined=refined)
        shares = [len(find(position, way) & wanted) / NUM_NEAREST for position, wanted in enumerate(nearest)]
        way = way.model_copy(update={"recall_at_10": float(np.mean(shares))})
        if way.recall_at_10 >= ENOUGH or (probes >= most and refined >= MAX_REFINED):
            return way
        probes, refined = min(2 * probes, most), min(2 * refined, MAX_REFINED)


def num_partitions(num_rows: int) -> int:
    """Return the number of partitions of the index of a table."""
    return max(1, num_rows // PARTITION)
