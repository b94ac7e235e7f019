"""`Items`: the pictures of an index, in Arrow batches that may stay on disk."""

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

MAGIC = b"ARROW1\0\0"  # begins an Arrow file; a stream of messages follows
MAX_ID, MAX_VALUE = 4096, 4 * 2**20  # bytes of an id; of another text or a thumbnail
MAX_TEXT, MAX_COLUMNS = 2**14, 1000  # characters of a text, and columns, that an item has of what is stored
NUM_EMPTY = 1000  # batches without an item, such as parts of a divided build have
MAX_SHOWN = 100  # characters of an id in a message
MAX_SIDE = 1024  # pixels of a thumbnail that is shown
HEADER, COMPRESSION = 2, 3  # the numbers of the fields in Arrow's Message and RecordBatch
Mask: TypeAlias = npt.NDArray[np.bool_]
"""bool, (n,): of each item, by row, whether it counts."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("columns", pa.string()),  # a JSON object of texts
        ("sha256", pa.string()),
        ("thumbnail", pa.binary()),
        ("stamp", pa.string()),  # since format 3
    ]
)


class Items:
    """Immutable: `items[row]` is the item at a row (0 <= row < len)."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self.batches = batches
        self.starts = [0, *accumulate(batch.num_rows for batch in batches)]

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Items":
        """The items in one batch."""
        columns = [
            [item.id for item in items],
            [item.caption for item in items],
            [json.dumps(dict(item.columns), ensure_ascii=False) for item in items],
            [item.sha256 for item in items],
            [item.thumbnail for item in items],
            [item.stamp for item in items],
        ]
        arrays = [pa.array(column, entry.type) for column, entry in zip(columns, SCHEMA, strict=True)]
        return cls([pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)])

    @classmethod
    def open(cls, path: Path) -> "Items":
        """The items of an Arrow file, which is mapped. Raises OSError, ValueError where it is no such file.

        Its messages are read one after the other, so that none counts twice, whatever the table at its end says.
        """
        file = pa.memory_map(str(path))
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path.name} is no Arrow file")
        reader = pa.ipc.MessageReader.open_stream(file)
        first = next(iter(reader), None)
        # Arrow takes the head of any other message for one of a schema, and ends the process.
        schema = pa.ipc.read_schema(first) if first is not None and first.type == "schema" else None
        if schema not in (SCHEMA, SCHEMA.remove(len(SCHEMA) - 1)):
            raise ValueError(f"{path.name} has other columns")
        batches: list[pa.RecordBatch] = []
        num_items = 0
        for message in reader:
            batches.append(_current(_batch(message, schema)))
            num_items += batches[-1].num_rows
            if len(batches) > num_items + NUM_EMPTY:
                raise ValueError(f"{path.name} is nearly empty")
        return cls(batches)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> Item:
        number = bisect_right(self.starts, row) - 1
        fields = self.batches[number].slice(row - self.starts[number], 1).to_pylist()[0]
        columns, thumbnail = columns_of(fields["columns"]), _thumbnail(fields["thumbnail"])
        return Item(**fields | {"caption": fields["caption"][:MAX_TEXT], "columns": columns, "thumbnail": thumbnail})

    def row_of(self, id: str) -> int:
        """The row of the item of that id. Raises InputError where there is none."""
        id = id.encode(errors="replace").decode()  # what is no UTF-8 names none
        for start, batch in zip(self.starts, self.batches, strict=False):
            row = int(pc.index(batch["id"], id).as_py())
            if row >= 0:
                return int(start) + row
        raise InputError("The collection has no picture {id!r}. Choose another one.", id=truncate(id, MAX_SHOWN))

    def texts(self, name: str) -> Iterator[pa.Array]:
        """A column of texts, as SCHEMA has it, batch by batch."""
        return (batch[name] for batch in self.batches)


def columns_of(text: str) -> dict[str, str]:
    """The columns of an item, by their names; what is no JSON object counts as none, nor does what is no text in it."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(fields, dict):
        return {}
    texts = ((name[:MAX_TEXT], value[:MAX_TEXT]) for name, value in fields.items() if isinstance(value, str))
    if "\\u" in text:  # half a character may be written so
        texts = ((_whole(name), _whole(value)) for name, value in texts)
    return dict(islice(texts, MAX_COLUMNS))


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _thumbnail(data: bytes) -> bytes:
    """A thumbnail as `images.to_webp` writes it, a WebP of one lossy frame; none where it is anything else.

    Its size stands in the frame's header (RFC 6386, 9.1).
    """
    if len(data) < 30 or (data[:4], data[8:16], data[23:26]) != (b"RIFF", b"WEBPVP8 ", b"\x9d\x01\x2a"):
        return b""
    return data if max(side & 0x3FFF for side in struct.unpack_from("<HH", data, 26)) <= MAX_SIDE else b""


def _batch(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """The record batch of a message, looked through. Raises ValueError where it is not as `Items.of` makes them."""
    if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
        raise ValueError(f"its {message.type} is of another kind")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)
    for name, column in zip(schema.names, batch.columns, strict=True):
        most = MAX_ID if name == "id" else MAX_VALUE
        if column.null_count or (pc.max(pc.binary_length(column)).as_py() or 0) > most:
            raise ValueError(f"its column {name} has gaps, or more than {most:,} bytes in one place")
    return batch


def _is_compressed(metadata: bytes) -> bool:
    """Whether the buffers of a record batch are: a few bytes may stand for gigabytes, which Arrow takes at once.

    `metadata` is a FlatBuffers table (Arrow's Message.fbs), whose header is another one, the RecordBatch.
    """
    try:
        header = _field(metadata, struct.unpack_from("<I", metadata)[0], HEADER)
        return bool(_field(metadata, header + struct.unpack_from("<I", metadata, header)[0], COMPRESSION))
    except struct.error as error:
        raise ValueError("the items are damaged") from error


def _field(data: bytes, table: int, number: int) -> int:
    """Where the field of that number of a FlatBuffers table lies; 0 where the table does not have it."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, fields)[0]
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", data, fields + place)[0] if place < size else 0
    return table + offset if offset else 0


def _current(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in today's columns: format 2 and older had no stamps."""
    if batch.schema.names == SCHEMA.names:
        return batch
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array([""] * batch.num_rows)], schema=SCHEMA)
