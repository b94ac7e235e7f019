"""`LanceIndex`: a Lance table, opened for search as a bundle is. It takes more rows than memory holds, on disk or S3.

The engine is LanceDB, which is installed and imported only for such a table. `lance_export` writes the tables.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from itertools import chain
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from imgsearch.embeddings import Embeddings, check_unit
from imgsearch.errors import BundleError, InputError, Message
from imgsearch.index.filters import GOLDEN_RATIO, ColumnStore, Condition, fold, numbers
from imgsearch.index.flat import check_finite
from imgsearch.index.index import MAX_REASON, Index, Rows
from imgsearch.index.items import SCHEMA, Items
from imgsearch.index.manifest import Manifest
from imgsearch.records import Item
from imgsearch.text import truncate, without_surrogates

INSTALL = 'pip install "lancedb>=0.40,<0.41"'
MANIFEST, FACTS, MEASURED = "imgsearch.manifest", "imgsearch.facts", "imgsearch.measured"  # keys of metadata
VECTOR = "vector"  # the column that MEASURED is kept at
MIN_FOUND = 128  # rows to look for at least, so that the first pages are parts of one answer
REFINED = 5  # rows for each one to be found whose vectors are read: the index itself knows them roughly
BLOCK = 4096  # rows to read at a time


class Column(BaseModel, frozen=True):
    """What is known of a column that can be filtered by. Column i has its texts in t{i}, `without_case` in f{i}."""

    name: str
    has_numbers: bool  # then they are in n{i}
    values: list[tuple[str, int]]  # texts but "" with their counts, the most frequent first; none if there are many


class Facts(BaseModel, frozen=True):
    """What a table says of itself beside its manifest."""

    columns: list[Column]
    sample: list[int]  # rows of the items whose ids have the smallest hashes
    calibration: str  # the JSON of one; "" if the bundle had none


class Measured(BaseModel, frozen=True):
    """How well the index finds the nearest rows. It is written last: a table without it is not whole."""

    recall_at_10: float = 1.0  # share of the 10 nearest rows of an item that are found; 1 without an index
    num_queries: int = 0  # items asked for; 0 without an index
    probes: int = 0  # partitions that are searched


class LanceTable:
    """A Lance table and what it says of itself. Each query raises BundleError if the table cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (is_remote(path) or path.is_dir()):  # the engine would create the folder around it
            make = Message("Make one: python -m imgsearch export --index BUNDLE --lance {table}", table=path)
            raise BundleError("There is no Lance table at {table}. {make}", table=path, make=make)
        with self._reading():
            self.engine = connect(path).open_table(path.stem)
            schema = self.engine.schema
            texts = {key.decode(): text.decode() for key, text in (schema.metadata or {}).items()}
            if MANIFEST not in texts:
                raise ValueError("it is of another program")
            self.manifest = Manifest.from_text(texts[MANIFEST])
            self.facts = Facts.model_validate_json(texts.get(FACTS, ""))
            measured = (schema.field(VECTOR).metadata or {}).get(MEASURED.encode())
            self.measured = Measured.model_validate_json(measured) if measured else None
            self.indexed = {name for index in self.engine.list_indices() for name in index.columns}

    def __len__(self) -> int:
        return self.manifest.num_items

    def to_json(self) -> dict[str, Any]:
        """Return what the table is, and how well it is searched."""
        return {"table": address(self.path)} | asdict(self.manifest) | (self.measured or Measured()).model_dump()

    def count(self, where: str | None = None) -> int:
        """Return how many rows meet a condition; all rows without one."""
        with self._reading():
            return int(self.engine.count_rows(where))

    def take(self, rows: Sequence[int], *names: str) -> pa.Table:
        """Return columns of these rows, in that order."""
        distinct, positions = np.unique(np.asarray(rows, np.int64), return_inverse=True)
        with self._reading():
            found = self.engine.take_offsets(distinct.tolist()).select(list(names)).to_arrow()
        return found.take(pa.array(positions))

    def vectors(self, rows: Sequence[int]) -> Embeddings:
        """Return the vectors of these rows, float32 (len(rows), dim), in that order."""
        return self._vectors(self.take(rows, VECTOR)) if len(rows) else np.zeros((0, self.manifest.dim), np.float32)

    def matching(self, where: str, start: int, count: int) -> list[int]:
        """Return the rows that meet a condition from the `start`-th on, at most `count`."""
        with self._reading():
            query = self.engine.search().where(where).select(["_rowoffset"]).offset(start).limit(count)
            rows: list[int] = query.to_arrow()["_rowoffset"].to_pylist()
            return rows

    def nearest(self, vector: Embeddings, count: int, where: str | None, probes: int) -> tuple[Embeddings, Rows]:
        """Return scores and rows of the `count` nearest; exact if `probes` is 0. `vector`: float32 (dim,)."""
        limit = max(MIN_FOUND, 1 << count.bit_length())  # more than `count`: scores are worked out anew
        with self._reading():
            query = self.engine.search(vector).distance_type("dot").limit(limit)
            query = query.select(["_rowoffset", VECTOR, "_distance"])
            query = query.where(where) if where else query
            # With a narrow filter more partitions are searched, up to all, until there are enough rows.
            ways = query.minimum_nprobes(probes).maximum_nprobes(0).refine_factor(REFINED) if probes else None
            found = (ways or query.bypass_vector_index()).to_arrow()
        scores = check_finite(np.einsum("nd,d->n", self._vectors(found), vector))  # the engine's are of half precision
        rows = np.asarray(found["_rowoffset"].to_pylist(), np.int64)
        order = np.lexsort((rows, -scores))[:count]
        return scores[order], rows[order]

    def _vectors(self, table: pa.Table) -> Embeddings:
        values = table[VECTOR].combine_chunks().flatten()
        return check_finite(np.from_dlpack(values).reshape(-1, self.manifest.dim).astype(np.float32))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            reason = truncate(str(error).rstrip("."), MAX_REASON)
            template = "The table {table} cannot be read: {reason}. See that it is there, or try again later."
            raise BundleError(template, table=address(self.path), reason=reason) from error


class LanceItems(Items):
    """The items of a table."""

    def __init__(self, table: LanceTable) -> None:
        super().__init__([])
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> Item:
        return self.many([row])[0]

    def many(self, rows: Sequence[int]) -> list[Item]:
        if not len(rows):
            return []
        found = Items(self._table.take(rows, *SCHEMA.names).cast(SCHEMA).to_batches())
        return [found[position] for position in range(len(found))]

    def row_of(self, id: str) -> int:
        found = self._table.matching(f"t0 = {literal(id)}", 0, 1)
        return found[0] if found else super().row_of(id)  # which says that there is none

    def field(self, name: str) -> Iterator[pa.Array]:
        starts = range(0, len(self), BLOCK)
        parts = (self._table.take(range(start, min(start + BLOCK, len(self))), name) for start in starts)
        return chain.from_iterable(part[name].chunks for part in parts)

    def sample(self, count: int) -> Rows:
        return np.sort(np.array(self._table.facts.sample[:count], np.int64))


class LanceColumns(ColumnStore):
    """The columns of a table. A mask is a condition in SQL, made of literals and of names of our own."""

    def __init__(self, index: "LanceIndex") -> None:
        super().__init__(index)
        self._table = index.table
        self._positions = {column.name: i for i, column in enumerate(self._table.facts.columns)}

    @cached_property
    def metadata(self) -> list[str]:
        return [column.name for column in self._table.facts.columns[2:]]  # without id and caption

    def of(self, name: str, rows: Sequence[int]) -> list[str]:
        text = f"t{self._position(name)}"
        texts: list[str] = self._table.take(rows, text)[text].to_pylist()
        return texts

    def spread(self, conditions: Sequence[Condition], start: int, count: int) -> tuple[list[int], bool]:
        if conditions:
            rows = self._table.matching(self._compute_mask(conditions), start, count + 1)
            return rows[:count], len(rows) > count
        num_items = len(self._table)
        step = max(1, round(num_items / GOLDEN_RATIO))
        while gcd(step, num_items) > 1:
            step += 1
        shown = range(start, min(start + count, num_items))
        return [position * step % num_items for position in shown], start + count < num_items

    def _count_values(self, name: str, limit: int) -> list[tuple[str, int]]:
        return self._table.facts.columns[self._position(name)].values[:limit]

    def _compute_mask(self, conditions: Sequence[Condition]) -> Any:
        return " AND ".join(f"({self._to_sql(condition)})" for condition in conditions)

    def _position(self, name: str) -> int:
        self._check(name)
        return self._positions[name]

    def _to_sql(self, condition: Condition) -> str:
        position = self._position(condition.column)
        text = f"t{position}"
        if condition.relation == "equals":
            return f"{text} = {literal(condition.value)}"
        if condition.relation == "contains":
            [part] = without_case(pa.array([without_surrogates(condition.value)])).to_pylist()
            return f"contains(f{position}, {literal(part)})"
        low, high = map(without_surrogates, condition.ends)
        ends = numbers(pa.array([low or "0", high or "0"]))
        if self._table.facts.columns[position].has_numbers and not ends.null_count:
            number = [f"CAST({literal(str(end))} AS DOUBLE)" for end in ends.to_pylist()]
            bounds = [f"n{position} >= {number[0]}"] * bool(low) + [f"n{position} <= {number[1]}"] * bool(high)
            return " AND ".join(bounds)
        below = f" AND ({text} <= {literal(high)} OR starts_with({text}, {literal(high)}))" if high else ""
        return f"{text} >= {literal(low)} AND {text} <> ''{below}"


class LanceIndex(Index):
    """A Lance table opened for search. Immutable: later writes to the table are not seen.

    The nearest rows are found by its index (IVF_RQ), so that some are missed, or by a scan of all rows if `exact`, or
    if the table is too small for an index. Their scores are exact.
    """

    def __init__(self, path: Path, *, exact: bool = False) -> None:
        """Raise BundleError if the table is missing, not whole, of another program or without its index."""
        table = self.table = LanceTable(path)
        if not table.measured or table.count() != len(table):
            template = "The table {table} is being written. Wait, or run the same export again: it goes on."
            raise BundleError(template, table=address(path))
        if table.measured.probes and VECTOR not in table.indexed:
            template = "The table {table} has lost its index. Run the same export again: it makes a new one."
            raise BundleError(template, table=address(path))
        self._probes = 0 if exact else table.measured.probes
        self.recall = table.measured.recall_at_10 if self._probes else None
        self.items = LanceItems(table)
        self.provenance = table.manifest.at(path)
        self.columns = LanceColumns(self)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def dim(self) -> int:
        return self.table.manifest.dim

    def rows_of(self, rows: Sequence[int]) -> Embeddings:
        return self.table.vectors(rows)

    def nearest(self, query: Embeddings, count: int, mask: Any = None) -> tuple[Embeddings, Rows]:
        return self.table.nearest(check_unit(query, self.dim)[0], count, mask, self._probes)

    def _read_vectors(self, start: int, count: int) -> Embeddings:
        return self.table.vectors(range(start, start + count))


def address(path: Path) -> str:
    """Return the address of a table or of the folder it lies in; in a Path, "s3://" has one slash."""
    return re.sub("^s3:/", "s3://", path.as_posix())


def is_remote(path: Path) -> bool:
    """Return True if a table lies in S3."""
    return path.parts[:1] == ("s3:",)


def connect(path: Path) -> Any:
    """Open the database that a table lies in. Raise InputError if LanceDB is not installed; ValueError or OSError."""
    try:
        import lancedb
    except ImportError:
        raise InputError("A Lance table needs LanceDB. Install it: {command}", command=INSTALL) from None
    return lancedb.connect(address(path.parent))


def without_case(texts: pa.Array) -> pa.Array:
    """Return the texts in capitals and without accents."""
    return pc.utf8_upper(fold(texts))


def literal(text: str) -> str:
    """Return a text as a literal of SQL, in which two quotes stand for one."""
    return "'" + without_surrogates(text).replace("'", "''") + "'"
