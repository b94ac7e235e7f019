"""`LanceIndex`: a Lance table, opened for search as a bundle is. It takes more rows than memory holds, on disk or S3.

The engine is LanceDB, which is installed and imported only for such a table. `lance_export` writes the tables.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imgsearch.embeddings import Embeddings, check_unit
from imgsearch.errors import BundleError, InputError
from imgsearch.index.filters import GOLDEN_RATIO, ColumnStore, Condition, numbers, ranks_of
from imgsearch.index.index import Index
from imgsearch.index.items import SCHEMA, Items, Rows
from imgsearch.index.lance_table import VECTOR, LanceTable, Measured, address, literal, without_case
from imgsearch.records import Item
from imgsearch.text import without_surrogates

BLOCK = 4096  # rows to read at a time
MAX_SORTED = 10_000  # rows that can be sorted where nothing is asked for: their texts are read for each page


class LanceItems(Items):
    """The items of a table."""

    def __init__(self, table: LanceTable) -> None:
        super().__init__([])
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Item:
        return self.many([row])[0]

    def many(self, rows: Sequence[int]) -> list[Item]:
        found = Items(self.table.take(rows, *SCHEMA.names).cast(SCHEMA).to_batches())
        return [found[position] for position in range(len(found))]

    def row_of(self, id: str) -> int:
        found = self.table.matching(f"t0 = {literal(id)}", 0, 1)
        return found[0] if found else super().row_of(id)  # which says that there is none

    def field(self, name: str) -> Iterator[pa.Array]:
        starts = range(0, len(self), BLOCK)
        parts = (self.table.take(range(start, min(start + BLOCK, len(self))), name) for start in starts)
        return chain.from_iterable(part[name].chunks for part in parts)

    def sample(self, count: int) -> Rows:
        return np.sort(np.array(self.table.facts.sample[:count], np.int64))


class LanceColumns(ColumnStore):
    """The columns of a table. A mask is a condition in SQL, made of literals and of names of our own."""

    def __init__(self, items: LanceItems) -> None:
        super().__init__(items)
        self._table = items.table

    @cached_property
    def metadata(self) -> list[str]:
        return [column.name for column in self._table.facts.columns[2:]]  # without id and caption

    def of(self, name: str, rows: Sequence[int]) -> list[str]:
        text = f"t{self._position(name)}"
        texts: list[str] = self._table.take(rows, text)[text].to_pylist()
        return texts

    def spread(self, conditions: Sequence[Condition], start: int, count: int, sort: str = "") -> tuple[list[int], bool]:
        if sort:
            found = np.sort(self._table.matching(self._compute_mask(conditions), 0, MAX_SORTED + 1))
            if len(found) > MAX_SORTED:
                raise InputError(
                    "More than {max_rows:,} pictures of a Lance table cannot be sorted. Search, or add a filter.",
                    max_rows=MAX_SORTED,
                )
            ordered: list[int] = found[self.order(sort, found)].tolist()
            return ordered[start : start + count], start + count < len(ordered)
        if conditions:
            rows = self._table.matching(self._compute_mask(conditions), start, count + 1)
            return rows[:count], len(rows) > count
        num_items = len(self._table)
        step = max(1, round(num_items / GOLDEN_RATIO))
        while gcd(step, num_items) > 1:
            step += 1
        shown = range(start, min(start + count, num_items))
        return [position * step % num_items for position in shown], start + count < num_items

    def _ranks_at(self, name: str, rows: Sequence[int] | Rows) -> Rows:
        return ranks_of(pa.array(self.of(name, list(rows)), pa.string()))

    def _count_values(self, name: str, limit: int) -> list[tuple[str, int]]:
        return self._table.facts.columns[self._position(name)].values[:limit]

    def _compute_mask(self, conditions: Sequence[Condition]) -> Any:
        return " AND ".join(f"({self._to_sql(condition)})" for condition in conditions)

    def _position(self, name: str) -> int:
        self._check(name)
        return self.names.index(name)

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
            raise BundleError(
                "The table {table} is being written. Wait, or run the same export again: it goes on.",
                table=address(path),
            )
        if table.measured.probes and VECTOR not in table.indexed:
            raise BundleError(
                "The table {table} has lost its index. Run the same export again: it makes a new one.",
                table=address(path),
            )
        self._way = Measured() if exact else table.measured
        self.recall = self._way.recall_at_10 if self._way.probes else None
        self.items: LanceItems = LanceItems(table)
        self.provenance = table.manifest.at(path)
        self.calibration = table.facts.calibration

    @cached_property
    def columns(self) -> LanceColumns:
        return LanceColumns(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def dim(self) -> int:
        return self.table.manifest.dim

    def rows_of(self, rows: Sequence[int]) -> Embeddings:
        return self.table.vectors(rows)

    def nearest(self, query: Embeddings, count: int, mask: Any = None) -> tuple[Embeddings, Rows]:
        return self.table.nearest(check_unit(query, self.dim)[0], count, mask, self._way)
