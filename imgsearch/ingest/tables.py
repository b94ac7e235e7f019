"""Read Parquet and Arrow files: a few rows at a time, and of these only the columns that are used."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import accumulate, islice, repeat
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Value

from imgsearch.config import HF_DATASETS_PREFIX
from imgsearch.downloads import RemoteFile
from imgsearch.errors import InputError
from imgsearch.files import LFS_POINTER, POINTER_START
from imgsearch.ingest.columns import TEXTS, ColumnMapping, Row
from imgsearch.ingest.source import Position
from imgsearch.records import Skip

NULL = Value("null")  # of a column without any value
BATCH_SIZE = 16  # rows in memory at once
NUM_FOOTERS = 16  # that are read at once: of a dataset on the hub there may be thousands
BUFFER_BYTES = 2**20  # of a Parquet column; without it a row group, which may be the whole file, is in memory
REMOTE_BUFFER_BYTES = 2**23  # the same of a file on the hub: it is one request
DAMAGE = (OSError, ValueError, OverflowError, pa.ArrowException)
Part = tuple[int, Callable[[list[str]], Iterable[pa.RecordBatch]]]  # the number of its rows, and a reader of columns


class Tables:
    """The rows of Parquet or Arrow files, which are local, or Parquet on the hub."""

    state = ""
    files = ()

    def __init__(self, files: Sequence[str], fetch: Callable[[str], str] = str) -> None:
        """Read the columns and the number of rows of each file. Raise InputError if no file can be read.

        `fetch`: return the file that the rows are read from.
        """
        self._fetch = fetch
        self.skips: list[Skip] = []
        self.features: dict[str, Any] = {}
        sizes: list[int] = []  # of row groups and record batches
        self._files: list[tuple[str, dict[str, Any], int]] = []
        with ThreadPoolExecutor(NUM_FOOTERS) as pool:
            opened = list(pool.map(_columns_and_sizes, files))
        for file, result in zip(files, opened, strict=True):
            if isinstance(result, str):
                self.skips.append(Skip(PurePath(file).name, result))
                continue
            features, own_sizes = result
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
            columns.check(PurePath(file).name, features)
        first = start.index
        for file, _, num_rows in self._files:
            if first < num_rows:
                yield from islice(_rows(self._fetch(file), columns, first), first, num_rows)
            first = max(0, first - num_rows)

    def key(self, number: int) -> str:
        """Return the id of a row within its split."""
        return str(number)


def _columns_and_sizes(file: str) -> tuple[dict[str, Any], list[int]] | str:
    """Return the columns of a file and the number of rows of each part, or why it cannot be read."""
    try:
        schema, parts = _open(file)
        return _features(schema), [num_rows for num_rows, _ in parts]
    except DAMAGE as error:
        if _is_lost(error):
            raise
        return _reason(file, error)


def _is_lost(error: Exception) -> bool:
    """Return True if it is the connection to the hub that failed: the file may be whole."""
    return type(error).__module__.startswith("huggingface_hub")


def _open(file: str) -> tuple[pa.Schema, Iterator[Part]]:
    """Return the columns of a file, and its row groups or record batches."""
    if PurePath(file).suffix.lower() != ".arrow":
        is_remote = file.startswith(HF_DATASETS_PREFIX)
        buffer_size = REMOTE_BUFFER_BYTES if is_remote else BUFFER_BYTES
        parquet = pq.ParquetFile(RemoteFile(file) if is_remote else file, buffer_size=buffer_size)
        sizes = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
        readers = (partial(parquet.iter_batches, BATCH_SIZE, [number]) for number in range(len(sizes)))
        return parquet.schema_arrow, zip(sizes, readers, strict=True)
    source = pa.memory_map(file)
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


def _rows(file: str, columns: ColumnMapping, first: int) -> Iterator[Row | str]:
    """Yield all rows of a file; whole parts before the row `first` are not read."""
    schema, parts = _open(file)
    name = PurePath(file).name
    names = [name for name in columns.used() if name in schema.names]
    for num_rows, read in parts:
        rows = _read(names, read, f"a part of {name} is damaged") if first < num_rows and names else repeat({})
        yield from islice(rows, num_rows)
        first -= num_rows


def _read(names: list[str], read: Callable[[list[str]], Iterable[pa.RecordBatch]], reason: str) -> Iterator[Row | str]:
    """Yield the rows of a part, then without an end the reason, for those that are lost."""
    try:
        for batch in read(names):
            for first in range(0, batch.num_rows, BATCH_SIZE):
                yield from to_rows(batch.slice(first, BATCH_SIZE))
    except DAMAGE as error:
        if _is_lost(error) or (isinstance(error, OSError) and error.errno):
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


def _reason(file: str, error: Exception) -> str:
    with suppress(OSError), Path(file).open("rb") as stream:
        if stream.read(len(POINTER_START)) == POINTER_START:
            return LFS_POINTER
    return getattr(error, "strerror", None) or "damaged or of another kind"
