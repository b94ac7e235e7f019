"""Read local Parquet and Arrow files: a few rows at a time, and of these only the columns that are used."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate, islice, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Value

from imgsearch.errors import InputError
from imgsearch.files import LFS_POINTER, POINTER_START
from imgsearch.ingest.columns import TEXTS, ColumnMapping, Row
from imgsearch.ingest.source import Position
from imgsearch.records import Skip

NULL = Value("null")  # of a column without any value
BATCH_SIZE = 16  # rows in memory at once
BUFFER_BYTES = 2**20  # of a Parquet column; without it a row group, which may be the whole file, is in memory
DAMAGE = (OSError, ValueError, OverflowError, pa.ArrowException)
Part = tuple[int, Callable[[list[str]], Iterable[pa.RecordBatch]]]  # the number of its rows, and a reader of columns


class Tables:
    """The rows of local Parquet or Arrow files."""

    state = ""
    can_jump = True

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the columns and the number of rows of each file. Raise InputError if no file can be read."""
        self.skips: list[Skip] = []
        self.features: dict[str, Any] = {}
        sizes: list[int] = []  # of row groups and record batches
        self._files: list[tuple[Path, dict[str, Any], int]] = []
        for file in files:
            try:
                schema, parts = _open(file)
                features, own_sizes = _features(schema), [num_rows for num_rows, _ in parts]
            except DAMAGE as error:
                self.skips.append(Skip(file.name, _reason(file, error)))
                continue
            self._files.append((file, features, sum(own_sizes)))
            sizes += own_sizes
            self.features |= {n: kind for n, kind in features.items() if self.features.get(n, NULL) == NULL}
        if not self._files:
            raise InputError("{picture} cannot be read: it is {reason}.", **vars(self.skips[0]))
        self.group_ends: Sequence[int] = list(accumulate(sizes))
        self.num_rows = sum(sizes)

    def rows(self, columns: ColumnMapping, start: Position) -> Iterator[Row | str]:
        """Yield the rows from `start` on, and in place of a row that is lost the reason."""
        for file, features, _ in self._files:
            columns.check(file.name, features)
        first = start.index
        for file, _, num_rows in self._files:
            if first < num_rows:
                yield from islice(_rows(file, columns, first), first, num_rows)
            first = max(0, first - num_rows)


def _open(file: Path) -> tuple[pa.Schema, Iterator[Part]]:
    """Return the columns of a file, and its row groups or record batches."""
    if file.suffix.lower() == ".parquet":
        parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES)
        sizes = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
        readers = (partial(parquet.iter_batches, BATCH_SIZE, [number]) for number in range(len(sizes)))
        return parquet.schema_arrow, zip(sizes, readers, strict=True)
    source = pa.memory_map(str(file))
    source.seek(8 if source.read(6) == b"ARROW1" else 0)  # in a file lies a stream: so a cut one is read too
    stream = pa.ipc.open_stream(source)
    return stream.schema, _batches(stream)


def _batches(stream: pa.RecordBatchReader) -> Iterator[Part]:
    try:
        for batch in stream:
            yield batch.num_rows, partial(_select, batch)
    except DAMAGE:
        yield 1, lambda names: []  # one reason for all that follows


def _select(batch: pa.RecordBatch, names: list[str]) -> list[pa.RecordBatch]:
    return [batch.select(names)]


def _rows(file: Path, columns: ColumnMapping, first: int) -> Iterator[Row | str]:
    """Yield all rows of a file; whole parts before the row `first` are not read."""
    schema, parts = _open(file)
    names = [name for name in columns.used() if name in schema.names]
    for num_rows, read in parts:
        rows = _read(names, read, f"a part of {file.name} is damaged") if first < num_rows and names else repeat({})
        yield from islice(rows, num_rows)
        first -= num_rows


def _read(names: list[str], read: Callable[[list[str]], Iterable[pa.RecordBatch]], reason: str) -> Iterator[Row | str]:
    """Yield the rows of a part, then without an end the reason, for those that are lost."""
    try:
        for batch in read(names):
            for first in range(0, batch.num_rows, BATCH_SIZE):
                yield from to_rows(batch.slice(first, BATCH_SIZE))
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise
    yield from repeat(reason)


def to_rows(batch: pa.RecordBatch | pa.Table) -> list[Row]:
    """Return the rows with texts as bytes, which may not be UTF-8. Raise ValueError or pa.ArrowException on damage."""
    arrays = [column.cast(_undecoded(column.type)) for column in batch.columns]
    batch = type(batch).from_arrays(arrays, names=batch.column_names)
    batch.validate(full=True)
    rows: list[Row] = batch.to_pylist()
    return rows


def _undecoded(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_undecoded(field.type)) for field in kind.fields])
    if pa.types.is_list(kind):
        return pa.list_(_undecoded(kind.value_type))
    if pa.types.is_dictionary(kind):
        return _undecoded(kind.value_type)
    return pa.large_binary() if str(kind) in TEXTS else kind


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return the type of each column; None for a type that no caption or picture has."""
    try:
        return dict(Features.from_arrow_schema(schema))
    except Exception:  # a column of an odd type, or damaged metadata
        schemas = {field.name: pa.schema([field]) for field in schema}
        return {name: None if one == schema else _features(one)[name] for name, one in schemas.items()}


def _reason(file: Path, error: Exception) -> str:
    with suppress(OSError), file.open("rb") as stream:
        if stream.read(len(POINTER_START)) == POINTER_START:
            return LFS_POINTER
    return getattr(error, "strerror", None) or "damaged or of another kind"
