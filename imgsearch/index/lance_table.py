"""A Lance table: what it says of itself, and queries to its engine (LanceDB), whose failures are one sentence."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from imgsearch.embeddings import Embeddings, check_finite
from imgsearch.environment import is_remote
from imgsearch.errors import BundleError, InputError, Message
from imgsearch.index.filters import fold
from imgsearch.index.index import MAX_REASON
from imgsearch.index.items import Rows
from imgsearch.index.manifest import Manifest
from imgsearch.text import truncate, without_surrogates

INSTALL = 'pip install "lancedb>=0.40,<0.41"'
MANIFEST, FACTS, MEASURED = "imgsearch.manifest", "imgsearch.facts", "imgsearch.measured"  # keys of metadata
VECTOR = "vector"  # the column that MEASURED is kept at
# Of reads from S3, which the engine else tries for minutes while a visitor waits.
READING = {"connect_timeout": "3s", "timeout": "8s", "client_max_retries": "1", "download_retry_count": "1"}
MIN_FOUND = 128  # rows to look for at least, so that the first pages are parts of one answer
FILTERED = 4  # times as many vectors are read with a filter: of few rows the nearest are less far ahead of the others


class Column(BaseModel, frozen=True):
    """Describe a column that can be filtered by. Column i has its texts in t{i}, `without_case` in f{i}."""

    name: str
    has_numbers: bool  # then they are in n{i}
    values: list[tuple[str, int]]  # texts but "" with their counts, the most frequent first; none if there are many


class Facts(BaseModel, frozen=True):
    """Hold what a table says of itself beside its manifest."""

    columns: list[Column]
    sample: list[int]  # rows of the items whose ids have the smallest hashes
    calibration: str  # the JSON of one; "" if the bundle had none


class Measured(BaseModel, frozen=True):
    """Tell how well the index finds the nearest rows. It is written last: a table without it is not whole."""

    recall_at_10: float = 1.0  # share of the 10 nearest rows of an item that are found; 1 without an index
    num_queries: int = 0  # items asked for; 0 without an index
    probes: int = 0  # partitions that are searched at least; 0: all rows, without an index
    max_probes: int = 0  # partitions that are searched at most; 0: all, as in the first tables
    refined: int = 1  # rows whose vectors are read for each one to be found


class LanceTable:
    """A Lance table and what it says of itself. Each query raises BundleError if the table cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (is_remote(path) or path.is_dir()):  # the engine would create the folder around it
            make = Message("Make one: python -m imgsearch export --index BUNDLE --lance {table}", table=path)
            raise BundleError("There is no Lance table at {table}. {make}", table=path, make=make)
        with self._reading():
            self.engine = connect(path, READING).open_table(path.stem)
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
        """Return the rows that meet a condition (all if it is "") from the `start`-th on, at most `count`."""
        with self._reading():
            query = self.engine.search().select(["_rowoffset"]).offset(start).limit(count)
            query = query.where(where) if where else query
            rows: list[int] = query.to_arrow()["_rowoffset"].to_pylist()
            return rows

    def nearest(self, vector: Embeddings, count: int, where: str | None, way: Measured) -> tuple[Embeddings, Rows]:
        """Return scores and rows of the `count` nearest, found as `way` says. `vector`: float32 (dim,)."""
        limit = max(MIN_FOUND, 1 << count.bit_length())  # more than `count`: scores are worked out anew
        if way.probes:  # the index knows the distances only roughly
            limit *= way.refined * (FILTERED if where else 1)
        with self._reading():
            query = self.engine.search(padded(vector)).distance_type("dot").limit(limit)
            query = query.select(["_rowoffset", VECTOR, "_distance"])
            query = query.where(where) if where else query
            if way.probes:  # with a filter, in all partitions: the nearest of few rows may lie in any of them
                query = query.minimum_nprobes(way.probes).maximum_nprobes(0 if where else way.max_probes)
            found = (query if way.probes else query.bypass_vector_index()).to_arrow()
            if way.max_probes and not where and len(found) < min(limit, len(self)):  # these partitions hold no more
                found = query.maximum_nprobes(0).to_arrow()
        scores = check_finite(np.einsum("nd,d->n", self._vectors(found), vector))  # the engine's are of half precision
        rows = np.asarray(found["_rowoffset"].to_pylist(), np.int64)
        order = np.lexsort((rows, -scores))[:count]
        return scores[order], rows[order]

    def _vectors(self, table: pa.Table) -> Embeddings:
        vectors = table[VECTOR].combine_chunks()
        rows = np.from_dlpack(vectors.flatten()).reshape(-1, vectors.type.list_size)[:, : self.manifest.dim]
        return check_finite(rows.astype(np.float32))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            template = "The table {table} cannot be read: {reason}. See that it is there, or try again later."
            raise BundleError(template, table=address(self.path), reason=reason_of(error)) from error


def connect(path: Path, options: dict[str, str] | None = None) -> Any:
    """Open the database that a table lies in. Raise InputError if LanceDB is not installed; ValueError or OSError."""
    try:
        import lancedb
    except ImportError:
        raise InputError("A Lance table needs LanceDB. Install it: {command}", command=INSTALL) from None
    return lancedb.connect(address(path.parent), storage_options=options)


def reason_of(error: Exception) -> Message | str:
    """Return why the engine failed: its texts say so after hundreds of letters, and name places in its source."""
    reasons = {
        "status: 403": Message("access is denied, check the keys"),
        "CredentialsNotLoaded|FailedToLoadToken": Message(
            "there are no keys, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ),
        "kind: (Connect|Timeout)|timed.out": Message("its server does not answer"),
        "NoSuchBucket": Message("there is no such bucket"),
        "Not.found: |NoSuchKey|No.such.file": Message("a file of it is missing"),
    }
    first_clause = re.split(r"\n|: \w+ \{|, /\S+\.rs:", str(error))[0].rstrip(".")
    known = (reason for sign, reason in reasons.items() if re.search(sign, str(error)))
    return next(known, truncate(first_clause, MAX_REASON))


def address(path: Path) -> str:
    """Return the address of a table, or of the folder it lies in: of "s3://" a Path keeps one slash."""
    return re.sub("^s3:/", "s3://", path.as_posix())


def padded(vectors: Embeddings) -> Embeddings:
    """Return vectors, (..., dim), with zeros up to the next multiple of eight numbers, which IVF_RQ asks for."""
    return np.pad(vectors, [*[(0, 0)] * (vectors.ndim - 1), (0, -vectors.shape[-1] % 8)])


def without_case(texts: pa.Array) -> pa.Array:
    """Return the texts in capitals and without accents."""
    return pc.utf8_upper(fold(texts))


def literal(text: str) -> str:
    """Return a text as a literal of SQL, in which two quotes stand for one."""
    return "'" + without_surrogates(text).replace("'", "''") + "'"
