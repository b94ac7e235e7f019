"""`Items`: the pictures of an index, in Arrow batches that may stay on disk."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.errors import InputError
from imgsearch.records import Item

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
        """The items of an Arrow file, which is mapped. Raises OSError, ValueError where it is no such file."""
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if reader.schema.names not in (SCHEMA.names, SCHEMA.names[:-1]):
            raise ValueError(f"{path.name} has other columns")
        return cls([_current(reader.get_batch(number)) for number in range(reader.num_record_batches)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> Item:
        number = bisect_right(self.starts, row) - 1
        fields = self.batches[number].slice(row - self.starts[number], 1).to_pylist()[0]
        return Item(**fields | {"columns": json.loads(fields["columns"])})

    def row_of(self, id: str) -> int:
        """The row of the item of that id. Raises InputError where there is none."""
        id = id.encode(errors="replace").decode()  # what is no UTF-8 names none
        for start, batch in zip(self.starts, self.batches, strict=False):
            row = int(pc.index(batch["id"], id).as_py())
            if row >= 0:
                return int(start) + row
        raise InputError(f"The collection has no picture {id!r}.")

    def texts(self, name: str) -> Iterator[pa.Array]:
        """A column of texts, as SCHEMA has it, batch by batch."""
        return (batch[name] for batch in self.batches)


def _current(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in today's columns: format 2 and older had no stamps."""
    if batch.schema.names == SCHEMA.names:
        return batch
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array([""] * batch.num_rows)], schema=SCHEMA)
