"""Filters: find the items that meet conditions on their id, caption and metadata columns, before they are ranked."""

import math
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgsearch.errors import InputError
from imgsearch.index.index import Index
from imgsearch.index.items import Mask, columns_of
from imgsearch.text import truncate

Relation: TypeAlias = Literal["equals", "contains", "range"]
SIGNS: dict[Relation, str] = {"equals": "=", "contains": "~", "range": ":"}
# The first sign counts. A colon that no range follows is part of the column's name.
CONDITION = re.compile(r"(.*?)(?:([=~])|(:)(?=.*\.\.))(.*)", re.DOTALL)
MAX_LENGTH = 500  # characters of a condition
ITEM_FIELDS = ("id", "caption")  # columns that every item has
MAX_COLUMNS, MAX_CELLS = 1000, 50_000_000  # of the metadata that are read at most: 4 bytes a cell, 200 MB
NUM_NAMED, MAX_NAME = 20, 60  # columns listed in an error message, and characters of each name
NUM_MASKS = 16  # kept in memory: one byte per item each
BLOCK = 10_000  # items read at a time
Test: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True)
class Condition:
    """A condition on one column: it equals the value, contains it, or lies in a range.

    The value of a range is "1990..2000", both ends included; one end may be left out. An item without the column has
    an empty text there. Raise InputError if the value does not fit the relation.
    """

    column: str
    relation: Relation
    value: str

    def __post_init__(self) -> None:
        is_possible = {
            "equals": True,
            "contains": bool(fold_case(self.value)),
            "range": ".." in self.value and any(self.ends),
        }
        if not self.column or not is_possible.get(self.relation):
            raise _not_understood(str(self))

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parse `subject=animals`, `caption~red dog` (any case, any accents) or `year:1990..2000`. Raise InputError."""
        if len(text) > MAX_LENGTH:
            raise InputError(
                "A filter has {num_characters:,} characters, at most {max_characters} are read. Shorten it.",
                num_characters=len(text),
                max_characters=MAX_LENGTH,
            )
        match = CONDITION.fullmatch(text)
        if not match:
            raise _not_understood(text)
        column, sign, colon, value = match.groups()
        relation = next(name for name, mark in SIGNS.items() if mark == (sign or colon))
        return cls(column.strip(), relation, value.strip())

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.column}{SIGNS.get(self.relation, '?')}{self.value}"

    @property
    def ends(self) -> tuple[str, str]:
        """Return both ends of a range; an open end is ""."""
        low, _, high = self.value.partition("..")
        return low.strip(), high.strip()


class Column(NamedTuple):
    """The texts of a column: values[codes[row]] is the text of the item at that row. int32 codes of shape (len,)."""

    values: pa.Array  # the distinct texts
    codes: npt.NDArray[np.int32]


class ColumnStore:
    """The columns of an index: "id", "caption" and those of the items' metadata, read on first use.

    If the metadata also has a column named "id" or "caption", the item's own field wins. At most MAX_COLUMNS columns of
    MAX_CELLS cells in all are read. Safe to call from several threads.
    """

    def __init__(self, index: Index) -> None:
        self._items = index.items
        self._lock = threading.Lock()
        self._item_columns: dict[str, Column] = {}
        self._cached_mask = lru_cache(NUM_MASKS)(self._compute_mask)

    @property
    def names(self) -> list[str]:
        """Return the names of all columns: "id" and "caption", then those of the metadata."""
        return [*ITEM_FIELDS, *self.metadata]

    @property
    def metadata(self) -> list[str]:
        """Return the names of the metadata columns in order of first appearance, without "id" and "caption"."""
        with self._lock:
            return [name for name in self._metadata if name not in ITEM_FIELDS]

    def values(self, name: str, limit: int) -> list[tuple[str, int]]:
        """Return a column's `limit` most frequent texts, except "", with their counts. Raise InputError if unknown."""
        column = self._column(name)
        counts = np.bincount(column.codes, minlength=len(column.values))
        best = np.argsort(-counts, kind="stable")[: limit + 1].tolist()
        pairs = [(column.values[code].as_py(), int(counts[code])) for code in best]
        return [(text, count) for text, count in pairs if text][:limit]

    def of(self, name: str, rows: Sequence[int]) -> list[str]:
        """Return the texts of a column at `rows`; "" if an item has none. Raise InputError if the column is unknown."""
        column = self._column(name)
        texts: list[str] = column.values.take(pa.array(column.codes[np.asarray(rows, np.int64)])).to_pylist()
        return texts

    def mask(self, conditions: Sequence[Condition]) -> Mask:
        """Return bool (len,), read-only: which items meet all conditions. Raise InputError if a column is unknown."""
        return self._cached_mask(tuple(conditions))

    def _compute_mask(self, conditions: tuple[Condition, ...]) -> Mask:
        mask = np.ones(len(self._items), np.bool_)
        for condition in conditions:
            column = self._column(condition.column)
            values = column.values.to_pylist()
            test = _test(condition, values)
            mask &= np.fromiter(map(test, values), np.bool_, len(values))[column.codes]
        mask.setflags(write=False)
        return mask

    def _column(self, name: str) -> Column:
        names = self.names
        if name not in names:
            raise InputError(
                "The collection has no column {column!r}. It has: {columns}.",
                column=truncate(name, MAX_NAME),
                columns=_listed(names),
            )
        with self._lock:
            if name not in ITEM_FIELDS:
                return self._metadata[name]
            if name not in self._item_columns:
                self._item_columns[name] = _merge_chunks(texts.dictionary_encode() for texts in self._items.texts(name))
            return self._item_columns[name]

    @cached_property
    def _metadata(self) -> dict[str, Column]:
        limit = min(MAX_COLUMNS, MAX_CELLS // max(len(self._items), 1))
        chunks: dict[str, list[pa.DictionaryArray]] = {}
        empty: list[pa.DictionaryArray] = []  # the chunks so far of a column that none of these items has
        for texts in _blocks(self._items.texts("columns")):
            records = [columns_of(text) for text in texts.to_pylist()]
            for name in dict.fromkeys(name for record in records for name in record):
                if len(chunks) < limit:
                    chunks.setdefault(name, list(empty))
            for name, column in chunks.items():
                column.append(pa.array([record.get(name, "") for record in records], pa.string()).dictionary_encode())
            empty.append(pa.array([""] * len(records), pa.string()).dictionary_encode())
        return {name: _merge_chunks(column) for name, column in chunks.items()}


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(truncate(name, MAX_NAME) for name in names[:NUM_NAMED])
    return listed if len(names) <= NUM_NAMED else f"{listed}, …"


def _not_understood(text: str) -> InputError:
    return InputError(
        "The filter {text!r} is not understood. Write column=value, column~part of a text or column:from..to.",
        text=text,
    )


def fold_case(text: str) -> str:
    """Return the text in lower case and without accents, for comparison."""
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _blocks(arrays: Iterator[pa.Array]) -> Iterator[pa.Array]:
    for array in arrays:
        for start in range(0, len(array), BLOCK):
            yield array.slice(start, BLOCK)


def _merge_chunks(chunks: Iterable[pa.DictionaryArray]) -> Column:
    chunked = pa.chunked_array(list(chunks), pa.dictionary(pa.int32(), pa.string()))
    array = chunked.unify_dictionaries().combine_chunks()
    return Column(array.dictionary, array.indices.to_numpy(zero_copy_only=False))


def _test(condition: Condition, values: Sequence[str]) -> Test:
    """Return a test of one text. A range compares numbers if its ends and any of the `values` are numbers."""
    if condition.relation == "equals":
        return condition.value.__eq__
    if condition.relation == "contains":
        part = fold_case(condition.value)
        return lambda text: part in fold_case(text)
    low, high = condition.ends
    numbers = [_number(low) if low else -math.inf, _number(high) if high else math.inf]
    if not any(map(math.isnan, numbers)) and not all(math.isnan(_number(value)) for value in values):
        return lambda text: numbers[0] <= _number(text) <= numbers[1]
    # "2020-12-31T18:00" lies in "2020-01..2020-12": a text that begins with the upper end is included.
    return lambda text: text != "" and low <= text and (not high or text[: len(high)] <= high)


def _number(text: str) -> float:
    """Return the text as a finite number; NaN if it is not one."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
