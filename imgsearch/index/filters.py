"""Filters: which items meet conditions on their id, their caption and the columns of their metadata."""

import math
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
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
# The first sign counts, but for a colon without a range behind it: it belongs to the name of the column.
CONDITION = re.compile(r"(.*?)(?:([=~])|(:)(?=.*\.\.))(.*)", re.DOTALL)
MAX_LENGTH = 500  # characters of a condition
OWN = ("id", "caption")  # columns that every item has
MAX_COLUMNS, MAX_CELLS = 1000, 50_000_000  # of the metadata, that are read: 200 MB
NUM_NAMED, MAX_NAME = 20, 60  # columns that a message names, and characters of each
NUM_MASKS = 16  # remembered
BLOCK = 10_000  # items that are read at a time
Test: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True)
class Condition:
    """What a column must hold: this value, a text with it in it, or something from one end of a range to the other.

    The value of a range is "1990..2000", both ends included; one end may be left out. An item without the column has
    an empty text there. Raises InputError where the value is none for the relation.
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
        """`subject=animals`, `caption~red dog` (any case, any accents) or `year:1990..2000`. Raises InputError."""
        if len(text) > MAX_LENGTH:
            raise InputError(
                "A filter has {num_characters:,} characters, at most {max_characters} are read. Shorten it.",
                num_characters=len(text),
                max_characters=MAX_LENGTH,
            )
        found = CONDITION.fullmatch(text)
        if not found:
            raise _not_understood(text)
        column, sign, colon, value = found.groups()
        relation = next(name for name, mark in SIGNS.items() if mark == (sign or colon))
        return cls(column.strip(), relation, value.strip())

    def __str__(self) -> str:
        """What `parse` reads."""
        return f"{self.column}{SIGNS.get(self.relation, '?')}{self.value}"

    @property
    def ends(self) -> tuple[str, str]:
        """The ends of a range; "" for an open one."""
        low, _, high = self.value.partition("..")
        return low.strip(), high.strip()


class Column(NamedTuple):
    """The texts of a column: of the item at row i, values[codes[i]]."""

    values: pa.Array  # each once
    codes: npt.NDArray[np.int32]


class ColumnStore:
    """The columns of an index: "id", "caption", and the names in its items' metadata, each read when it is asked for.

    Of a name of the metadata that is "id" or "caption" the item's own counts; of very many the first are read. Safe to
    call from several threads.
    """

    def __init__(self, index: Index) -> None:
        self._items = index.items
        self._lock = threading.Lock()
        self._own: dict[str, Column] = {}
        self._remembered = lru_cache(NUM_MASKS)(self._mask)

    @property
    def names(self) -> list[str]:
        """All columns: the items' own, then those of their metadata."""
        return [*OWN, *self.metadata]

    @property
    def metadata(self) -> list[str]:
        """The columns of the items' metadata, in the order of their appearance."""
        with self._lock:
            return [name for name in self._metadata if name not in OWN]

    def values(self, name: str, limit: int) -> list[tuple[str, int]]:
        """The most frequent texts of a column, less the empty one, with how many items have them. Raises InputError."""
        column = self._column(name)
        counts = np.bincount(column.codes, minlength=len(column.values))
        best = np.argsort(-counts, kind="stable")[: limit + 1].tolist()
        found = [(column.values[code].as_py(), int(counts[code])) for code in best]
        return [(text, count) for text, count in found if text][:limit]

    def of(self, name: str, rows: Sequence[int]) -> list[str]:
        """The texts of a column at some rows; "" where an item has none. Raises InputError."""
        column = self._column(name)
        texts: list[str] = column.values.take(pa.array(column.codes[np.asarray(rows, np.int64)])).to_pylist()
        return texts

    def mask(self, conditions: Sequence[Condition]) -> Mask:
        """The items that meet all conditions: bool (len,), read-only. Raises InputError for an unknown column."""
        return self._remembered(tuple(conditions))

    def _mask(self, conditions: tuple[Condition, ...]) -> Mask:
        mask = np.ones(len(self._items), np.bool_)
        for condition in conditions:
            column = self._column(condition.column)
            values = column.values.to_pylist()
            meets = _test(condition, values)
            mask &= np.fromiter(map(meets, values), np.bool_, len(values))[column.codes]
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
            if name not in OWN:
                return self._metadata[name]
            if name not in self._own:
                self._own[name] = _column(texts.dictionary_encode() for texts in self._items.texts(name))
            return self._own[name]

    @cached_property
    def _metadata(self) -> dict[str, Column]:
        limit = min(MAX_COLUMNS, MAX_CELLS // max(len(self._items), 1))
        parts: dict[str, list[pa.DictionaryArray]] = {}
        before: list[pa.DictionaryArray] = []  # where there is no such column
        for texts in _blocks(self._items.texts("columns")):
            rows = [columns_of(text) for text in texts.to_pylist()]
            for name in dict.fromkeys(name for row in rows for name in row):
                if len(parts) < limit:
                    parts.setdefault(name, list(before))
            for name, column in parts.items():
                column.append(pa.array([row.get(name, "") for row in rows], pa.string()).dictionary_encode())
            before.append(pa.array([""] * len(rows), pa.string()).dictionary_encode())
        return {name: _column(column) for name, column in parts.items()}


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(truncate(name, MAX_NAME) for name in names[:NUM_NAMED])
    return listed if len(names) <= NUM_NAMED else f"{listed}, …"


def _not_understood(text: str) -> InputError:
    return InputError(
        "The filter {text!r} is not understood. Write column=value, column~part of a text or column:from..to.",
        text=text,
    )


def fold_case(text: str) -> str:
    """The text without case and accents."""
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _blocks(arrays: Iterator[pa.Array]) -> Iterator[pa.Array]:
    for array in arrays:
        for start in range(0, len(array), BLOCK):
            yield array.slice(start, BLOCK)


def _column(parts: Iterator[pa.DictionaryArray] | Sequence[pa.DictionaryArray]) -> Column:
    chunks = pa.chunked_array(list(parts), pa.dictionary(pa.int32(), pa.string()))
    array = chunks.unify_dictionaries().combine_chunks()
    return Column(array.dictionary, array.indices.to_numpy(zero_copy_only=False))


def _test(condition: Condition, values: Sequence[str]) -> Test:
    """Whether a text of a column that holds `values` meets the condition."""
    if condition.relation == "equals":
        return condition.value.__eq__
    if condition.relation == "contains":
        part = fold_case(condition.value)
        return lambda text: part in fold_case(text)
    low, high = condition.ends
    numbers = [_number(low) if low else -math.inf, _number(high) if high else math.inf]
    if not any(map(math.isnan, numbers)) and not all(math.isnan(_number(value)) for value in values):
        return lambda text: numbers[0] <= _number(text) <= numbers[1]
    # "2020-12-31T18:00" lies in "2020-01..2020-12": what begins with the upper end is included.
    return lambda text: text != "" and low <= text and (not high or text[: len(high)] <= high)


def _number(text: str) -> float:
    """The finite number that a text is; NaN for none."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
