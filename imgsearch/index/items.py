"""`Items`: the items of an index in Arrow batches on disk. Anyone may have made the file, so it is checked first."""

import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.errors import InputError
from imgsearch.records import Item
from imgsearch.text import truncate

MAGIC = b"ARROW1\0\0"  # first bytes of an Arrow file; a stream of messages follows
MAX_ID, MAX_VALUE = 4096, 4 * 2**20  # bytes of an id; bytes of any other text or thumbnail
MAX_TEXT, MAX_COLUMNS = 2**14, 1000  # characters of a text and columns of an item; what is stored beyond is ignored
NUM_EMPTY = 1000  # batches without items that a file may have; a part of a divided build may be empty
MAX_SHOWN = 100  # characters of an id in an error message
MAX_SIDE = 1024  # pixels of the longer side of a thumbnail that is shown
HEADER, COMPRESSION = 2, 3  # field numbers in Arrow's FlatBuffers tables Message and RecordBatch
Mask: TypeAlias = npt.NDArray[np.bool_]
"""bool (n,): which rows to keep."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("columns", pa.string()),  # a JSON object; its values are strings
        ("sha256", pa.string()),
        ("thumbnail", pa.binary()),
        ("stamp", pa.string()),  # since format 3
    ]
)


class Items:
    """The items of an index. Immutable: `items[row]` is the item of a row (0 <= row < len)."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.batches = batches
        self.starts = [0, *accumulate(batch.num_rows for batch in batches)]

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Items":
        """Store items as one batch."""
        columns = [
            [item.id for item in items],
            [item.caption for item in items],
            [json.dumps(dict(item.columns), ensure_ascii=False) for item in items],
            [item.sha256 for item in items],
            [item.thumbnail for item in items],
            [item.stamp for item in items],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        return cls([pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)])

    @classmethod
    def open(cls, path: Path) -> "Items":
        """Open the items of an Arrow file, memory-mapped. Raise OSError or ValueError if it is not a file of items.

        The messages are read one after the other and the table at the end is ignored: it could list one twice.
        """
        file = pa.memory_map(str(path))
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path.name} is no Arrow file")
        reader = pa.ipc.MessageReader.open_stream(file)
        first = next(iter(reader), None)
        # Arrow would read the header of any other message as a schema and crash the process.
        schema = pa.ipc.read_schema(first) if first is not None and first.type == "schema" else None
        if schema not in (SCHEMA, SCHEMA.remove(len(SCHEMA) - 1)):
            raise ValueError(f"{path.name} has other columns")
        batches: list[pa.RecordBatch] = []
        num_items = 0
        for message in reader:
            batches.append(_with_stamps(_read_batch(message, schema)))
            num_items += batches[-1].num_rows
            if len(batches) > num_items + NUM_EMPTY:
                raise ValueError(f"{path.name} is nearly empty")
        return cls(batches)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> Item:
        position = bisect_right(self.starts, row) - 1
        fields = self.batches[position].slice(row - self.starts[position], 1).to_pylist()[0]
        columns, thumbnail = columns_of(fields["columns"]), _thumbnail(fields["thumbnail"])
        return Item(**fields | {"caption": fields["caption"][:MAX_TEXT], "columns": columns, "thumbnail": thumbnail})

    def row_of(self, id: str) -> int:
        """Return the row of the item with that id. Raise InputError if there is none."""
        id = id.encode(errors="replace").decode()  # Arrow takes only valid UTF-8
        for start, batch in zip(self.starts, self.batches, strict=False):
            row = int(pc.index(batch["id"], id).as_py())
            if row >= 0:
                return int(start) + row
        raise InputError("The collection has no picture {id!r}. Choose another one.", id=truncate(id, MAX_SHOWN))

    def texts(self, name: str) -> Iterator[pa.Array]:
        """Yield a string field of SCHEMA batch by batch."""
        return (batch[name] for batch in self.batches)


def columns_of(text: str) -> dict[str, str]:
    """Parse the columns of an item from JSON: texts by name. Anything but an object of strings is ignored."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(fields, dict):
        return {}
    texts = ((name[:MAX_TEXT], value[:MAX_TEXT]) for name, value in fields.items() if isinstance(value, str))
    if "\\u" in text:  # JSON can spell a lone surrogate this way
        texts = ((_replace_surrogates(name), _replace_surrogates(value)) for name, value in texts)
    return dict(islice(texts, MAX_COLUMNS))


def _replace_surrogates(text: str) -> str:
    return text.encode(errors="replace").decode()


def _thumbnail(data: bytes) -> bytes:
    """Return a WebP of one lossy frame of at most MAX_SIDE, as `images.to_webp` writes it; b"" for anything else.

    The size is in the header of the frame (RFC 6386, section 9.1).
    """
    if len(data) < 30 or (data[:4], data[8:16], data[23:26]) != (b"RIFF", b"WEBPVP8 ", b"\x9d\x01\x2a"):
        return b""
    return data if max(side & 0x3FFF for side in struct.unpack_from("<HH", data, 26)) <= MAX_SIDE else b""


def _read_batch(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """Read and check the record batch of a message. Raise ValueError if it is not like those of `Items.of`."""
    if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
        raise ValueError(f"its {message.type} is of another kind")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    for name, column in zip(schema.names, batch.columns, strict=True):
        max_bytes = MAX_ID if name == "id" else MAX_VALUE
        if column.null_count or (pc.max(pc.binary_length(column)).as_py() or 0) > max_bytes:
            raise ValueError(f"its column {name} has gaps, or more than {max_bytes:,} bytes in one place")
    return batch


def _is_compressed(metadata: bytes) -> bool:
    """Return True if a record batch is compressed: a few bytes could become gigabytes, which Arrow allocates at once.

    `metadata` is a FlatBuffers table (Message in Arrow's Message.fbs); its header is another table, the RecordBatch.
    """
    try:
        header = _field(metadata, struct.unpack_from("<I", metadata)[0], HEADER)
        return bool(_field(metadata, header + struct.unpack_from("<I", metadata, header)[0], COMPRESSION))
    except struct.error as error:
        raise ValueError("the items are damaged") from error


def _field(data: bytes, table: int, index: int) -> int:
    """Return the offset of a field of a FlatBuffers table; 0 if the table does not have the field."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, fields)[0]
    entry = 4 + 2 * index
    offset = struct.unpack_from("<H", data, fields + entry)[0] if entry < size else 0
    return table + offset if offset else 0


def _with_stamps(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with the column of stamps added if it is missing, as in format 2 and older."""
    if batch.schema.names == SCHEMA.names:
        return batch
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array([""] * batch.num_rows)], schema=SCHEMA)
