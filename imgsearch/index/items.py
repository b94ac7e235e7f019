"""`Items`: the items of an index in Arrow batches on disk. Anyone may have made the file, so it is checked first."""

import hashlib
import json
import struct
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.errors import InputError
from imgsearch.records import Item
from imgsearch.text import truncate, without_surrogates

MAGIC = b"ARROW1\0\0"  # first bytes of an Arrow file; a stream of messages follows
MAX_TEXT, MAX_COLUMNS = 2**14, 1000  # characters of a text and columns of an item; what is beyond is left out
MAX_BYTES = {"id": 4096, "names": 4 * MAX_TEXT, "texts": 4 * MAX_TEXT}  # "names" and "texts" of columns
MAX_VALUE = 4 * 2**20  # bytes of any other text or thumbnail
MAX_THUMBNAIL, MAX_ITEM = 2**18, 2**18  # bytes of a thumbnail, characters of all columns of an item, that are shown
NUM_EMPTY = 1000  # batches without items that a file may have; a part of a divided build may be empty
MAX_SHOWN = 100  # characters of an id in an error message
MAX_SIDE = 1024  # pixels of the longer side of a thumbnail that is shown
HEADER, COMPRESSION = 2, 3  # field numbers in Arrow's FlatBuffers tables Message and RecordBatch
Mask: TypeAlias = npt.NDArray[np.bool_]
"""bool (n,): which rows to keep."""
Rows: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]
"""uint64 (n,), 8 bytes per text: a million texts take 8 MB."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("columns", pa.map_(pa.string(), pa.string())),  # a JSON object in a string before format 4
        ("sha256", pa.string()),
        ("thumbnail", pa.binary()),
        ("stamp", pa.string()),  # since format 3
    ]
)
COLUMNS = SCHEMA.field("columns")
FORMAT_3 = SCHEMA.set(SCHEMA.get_field_index("columns"), pa.field("columns", pa.string()))
FORMAT_2 = FORMAT_3.remove(SCHEMA.get_field_index("stamp"))


class Items:
    """The items of an index. Immutable: `items[row]` is the item of a row (0 <= row < len)."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        """`batches`: of SCHEMA."""
        self.batches = batches
        self._table = pa.Table.from_batches(batches, SCHEMA)

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Items":
        """Store items as one batch."""
        records = [vars(item) | {"columns": list(bounded(item.columns).items())} for item in items]
        return cls([pa.RecordBatch.from_pylist(records, SCHEMA)])

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
        if schema not in (SCHEMA, FORMAT_3, FORMAT_2):
            raise ValueError(f"{path.name} has other columns")
        batches: list[pa.RecordBatch] = []
        num_items = 0
        for message in reader:
            batches.append(_read_batch(message, schema))
            num_items += batches[-1].num_rows
            if len(batches) > num_items + NUM_EMPTY:
                raise ValueError(f"{path.name} is nearly empty")
        return cls(batches)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Item:
        [fields] = self._table.slice(row, 1).to_pylist()
        fields |= {"caption": fields["caption"][:MAX_TEXT], "columns": _shown(fields["columns"])}
        return Item(**fields | {"thumbnail": _thumbnail(fields["thumbnail"])})

    def many(self, rows: Sequence[int]) -> list[Item]:
        """Return the items of these rows."""
        return [self[row] for row in rows]

    def sample(self, count: int) -> Rows:
        """Return the sorted rows of a fixed sample, (<= count,): the items whose ids have the smallest hashes."""
        return np.sort(stable_sample(chain.from_iterable(ids.to_pylist() for ids in self.field("id")), count))

    def row_of(self, id: str) -> int:
        """Return the row of the item with that id, or else of the same letters. Raise InputError if there is none."""
        text, ids = without_surrogates(id), self._table["id"]
        row = int(pc.index(ids, text).as_py())
        if row < 0 and not text.isascii():  # an accent may be a character of its own
            row = int(pc.index(pc.utf8_normalize(ids, "NFC"), unicodedata.normalize("NFC", text)).as_py())
        if row < 0:
            raise InputError("The collection has no picture {id!r}. Choose another one.", id=truncate(id, MAX_SHOWN))
        return row

    def field(self, name: str) -> Iterator[pa.Array]:
        """Yield a field of SCHEMA batch by batch."""
        return (batch[name] for batch in self.batches)


def hash_texts(texts: Iterable[str]) -> Hashes:
    """Return (n,): 8-byte BLAKE2b of each text. Any two of a million texts collide with a chance of 1 in 37 million."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def stable_sample(texts: Iterable[str], count: int) -> Rows:
    """Return int64 (<= count,): positions of the texts with the smallest hashes, so their order does not matter."""
    return np.argsort(hash_texts(texts), kind="stable")[:count].astype(np.int64)


def bounded(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of an item without what is beyond MAX_TEXT or MAX_COLUMNS."""
    return {name[:MAX_TEXT]: text[:MAX_TEXT] for name, text in islice(columns.items(), MAX_COLUMNS)}


def _shown(columns: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the columns of an item that are within MAX_ITEM."""
    sizes = accumulate(len(name) + len(text) for name, text in columns)
    return dict(islice(columns, sum(size <= MAX_ITEM for size in sizes)))


def _parse(text: str) -> dict[str, str]:
    """Parse the columns of an item from JSON. Anything but an object of strings is ignored."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    pairs = fields.items() if isinstance(fields, dict) else ()
    return bounded({without_surrogates(name): without_surrogates(v) for name, v in pairs if isinstance(v, str)})


def _thumbnail(data: bytes) -> bytes:
    """Return a small WebP of one lossy frame, as `images.to_webp` writes it; b"" for anything else.

    The size is in the header of the frame (RFC 6386, section 9.1).
    """
    if len(data) < 30 or (data[:4], data[8:16], data[23:26]) != (b"RIFF", b"WEBPVP8 ", b"\x9d\x01\x2a"):
        return b""
    longest = max(side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return data if longest <= MAX_SIDE and len(data) <= MAX_THUMBNAIL else b""


def _read_batch(message: pa.ipc.Message, schema: pa.Schema) -> pa.RecordBatch:
    """Read and check the record batch of a message. Raise ValueError if it is not like those of `Items.of`."""
    if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
        raise ValueError(f"its {message.type} is of another kind")
    batch = pa.ipc.read_record_batch(message, schema)
    batch.validate(full=True)  # lengths of buffers and arrays, offsets, UTF-8; of nulls only those in keys
    arrays = dict(zip(schema.names, batch.columns, strict=True))
    if schema == SCHEMA:
        maps = arrays.pop("columns")
        _check_maps(maps)
        arrays |= {"names": maps.keys, "texts": maps.items}
    for name, array in arrays.items():
        if array.null_count or (pc.max(pc.binary_length(array)).as_py() or 0) > MAX_BYTES.get(name, MAX_VALUE):
            raise ValueError(f"its {name} have gaps, or too many bytes in one place")
    if schema == FORMAT_2:
        batch = batch.append_column(SCHEMA.field("stamp"), pa.array([""] * batch.num_rows))
    if schema != SCHEMA:
        maps = pa.array([list(_parse(text).items()) for text in batch["columns"].to_pylist()], COLUMNS.type)
        batch = batch.set_column(schema.get_field_index("columns"), COLUMNS, maps)
    return batch


def _check_maps(maps: pa.MapArray) -> None:
    """Raise ValueError if an item has two columns of one name or too many, or if there are columns of no item."""
    # Not by `to_numpy`, which imports pandas: that takes longer than opening a bundle.
    sizes, names = np.diff(np.from_dlpack(maps.offsets)), maps.keys.dictionary_encode()
    rows = np.repeat(np.arange(len(maps)), sizes)
    if maps.null_count or len(rows) != len(names) or sizes.max(initial=0) > MAX_COLUMNS:
        raise ValueError("its items have gaps or too many columns")
    cells = np.sort(rows * len(names.dictionary) + np.from_dlpack(names.indices))  # faster than np.unique
    if (cells[1:] == cells[:-1]).any():
        raise ValueError("an item has two columns of one name")


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
