"""Filters: find the items that meet conditions on their id, caption and metadata columns, before they are ranked."""

import re
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.errors import InputError, check_time
from imgsearch.index.items import Items, Mask, Rows
from imgsearch.text import truncate, without_surrogates

Relation: TypeAlias = Literal["equals", "contains", "range"]
SIGNS: dict[Relation, str] = {"equals": "=", "contains": "~", "range": ":"}
# The first sign counts. A colon that no range follows is part of the column's name.
CONDITION = re.compile(r"(.*?)([=~]|:(?=.*\.\.))(.*)", re.DOTALL)
ENDLESS = "1e999"  # read as infinity
NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
MAX_CONDITIONS, MAX_LENGTH = 16, 500  # of a query; characters of a condition
MAX_S = 10.0  # seconds after which no further condition is looked at
ITEM_FIELDS = ("id", "caption")  # columns that every item has
MAX_COLUMNS, MAX_CELLS = 1000, 50_000_000  # of the metadata that are read at most: 4 bytes a cell, 200 MB
MAX_NAME, MAX_LISTED = 60, 500  # characters of a column's name, and of all names, in an error message
NUM_COUNTED = 64  # columns whose most frequent values are kept
NUM_MASKS = 16  # kept in memory: one byte per item each
NUM_FOLDED = 2  # columns whose texts are kept without accents, and in their order
GOLDEN_RATIO = (1 + 5**0.5) / 2
LAST_COMBINING = 0x1FFFF  # no later character of Unicode has a combining class


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
        is_possible = (
            self.relation == "equals"
            or (self.relation == "contains" and _fold_text(self.value))
            or (self.relation == "range" and ".." in self.value and any(self.ends))
        )
        if not self.column or not is_possible:
            raise _not_understood(str(self))

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parse `subject=animals`, `caption~red dog` (any case, any accents) or `year:1990..2000`. Raise InputError."""
        if len(text) > MAX_LENGTH:
            raise InputError("A filter has more than {max_length} characters. Shorten it.", max_length=MAX_LENGTH)
        match = CONDITION.fullmatch(text)
        if not match:
            raise _not_understood(text)
        column, sign, value = match.groups()
        relation = next(name for name, mark in SIGNS.items() if mark == sign)
        return cls(column.strip(), relation, value.strip())

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.column}{SIGNS.get(self.relation, '?')}{self.value}"

    @property
    def ends(self) -> tuple[str, str]:
        """Return both ends of a range; an open end is ""."""
        low, _, high = self.value.partition("..")
        return low.strip(), high.strip()


class ColumnStore:
    """The columns of an index: "id", "caption" and those of the items' metadata, read on first use.

    If the metadata also has a column named "id" or "caption", the item's own field wins. At most MAX_COLUMNS columns of
    MAX_CELLS cells in all are read. Safe to call from several threads.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._column = cache(self._read_column)
        self.values = lru_cache(NUM_COUNTED)(self._count_values)
        self._cached_mask = lru_cache(NUM_MASKS)(self._compute_mask)
        self._folded = lru_cache(NUM_FOLDED)(lambda name: fold(self._column(name).dictionary))
        self._ranks = lru_cache(NUM_FOLDED)(lambda name: ranks_of(self._column(name).dictionary))

    @property
    def names(self) -> list[str]:
        """Return the names of all columns: "id" and "caption", then those of the metadata."""
        return [*ITEM_FIELDS, *self.metadata]

    @cached_property
    def metadata(self) -> list[str]:
        """Return the names of the metadata columns in order of first appearance, without "id" and "caption"."""
        limit = min(MAX_COLUMNS, MAX_CELLS // max(len(self._items), 1))
        names = (name for maps in self._items.field("columns") for name in maps.keys.unique()[:limit].to_pylist())
        return [name for name in islice(dict.fromkeys(names), limit) if name not in ITEM_FIELDS]

    def _count_values(self, name: str, limit: int) -> list[tuple[str, int]]:
        """Return a column's `limit` most frequent texts, except "", with their counts. Raise InputError if unknown."""
        column = self._column(name)
        counts = np.bincount(column.indices.to_numpy(), minlength=len(column.dictionary))
        best = np.argsort(-counts, kind="stable")[: limit + 1]
        pairs = zip(column.dictionary.take(best).to_pylist(), counts[best].tolist(), strict=True)
        return [(text, count) for text, count in pairs if text][:limit]

    def of(self, name: str, rows: Sequence[int]) -> list[str]:
        """Return the texts of a column at `rows`; "" if an item has none. Raise InputError if the column is unknown."""
        return list(self._column(name).take(pa.array(rows, pa.int64())).to_pylist())

    def mask(self, conditions: Sequence[Condition]) -> Mask:
        """Return bool (len,), read-only: which items meet all conditions.

        Raise InputError if a column is unknown, BusyError after MAX_S.
        """
        return self._cached_mask(tuple(conditions))

    def spread(self, conditions: Sequence[Condition], start: int, count: int, sort: str = "") -> tuple[list[int], bool]:
        """Return rows start + 1 to start + count of those that meet all conditions, and whether there are more.

        Without `sort` (see `order`) all parts of the collection are mixed: it is the order of the fractional parts of
        row * golden ratio, and any run of it is spread evenly (Knuth, "The Art of Computer Programming", vol. 3, 6.4).
        """
        rows = np.flatnonzero(self.mask(conditions)) if conditions else np.arange(len(self._items))
        spread = np.argsort(np.arange(len(rows)) * GOLDEN_RATIO % 1, kind="stable")
        ordered = rows[self.order(sort, rows) if sort else spread]
        return ordered[start : start + count].tolist(), start + count < len(ordered)

    def order(self, sort: str, rows: Sequence[int] | Rows) -> Rows:
        """Return the positions of `rows` in the order of a column: "year", or "-year" for the highest first.

        Items without a value come last, equal values stay as they are. Raise InputError if the column is unknown.
        """
        ranks = self._ranks_at(sort.removeprefix("-"), rows)
        signed = -ranks if sort.startswith("-") else ranks
        return np.argsort(np.where(ranks > 0, signed, np.inf), kind="stable")

    def _ranks_at(self, name: str, rows: Sequence[int] | Rows) -> Rows:
        ranks: Rows = self._ranks(name)[self._column(name).indices.to_numpy()[np.asarray(rows, np.int64)]]
        return ranks

    def _compute_mask(self, conditions: tuple[Condition, ...]) -> Mask:
        mask, begin = np.ones(len(self._items), np.bool_), time.perf_counter()
        for condition in conditions:
            check_time(begin, MAX_S)
            codes = self._column(condition.column).indices.to_numpy()
            mask &= self._is_met(condition).to_numpy(zero_copy_only=False)[codes]
        mask.setflags(write=False)
        return mask

    def _is_met(self, condition: Condition) -> pa.BooleanArray:
        """Return which of the distinct texts of its column meet a condition."""
        texts = self._column(condition.column).dictionary
        if condition.relation == "equals":
            return pc.equal(texts, without_surrogates(condition.value))
        if condition.relation == "contains":
            part = _fold_text(condition.value)
            return pc.match_substring(self._folded(condition.column), part, ignore_case=True)
        return _lies_in(texts, *map(without_surrogates, condition.ends))

    def _check(self, name: str) -> None:
        """Raise InputError if there is no such column."""
        if name not in self.names:
            raise InputError(
                "The collection has no column {column!r}. It has: {columns}.",
                column=truncate(name, MAX_NAME),
                columns=truncate(", ".join(self.names), MAX_LISTED),
            )

    def _read_column(self, name: str) -> pa.DictionaryArray:
        """Return the texts of a column, each distinct one once."""
        self._check(name)
        if name in ITEM_FIELDS:
            chunks = self._items.field(name)
        else:
            chunks = (pc.map_lookup(maps, name, "first").fill_null("") for maps in self._items.field("columns"))
        return pa.chunked_array(chunks, pa.string()).dictionary_encode().combine_chunks()


def _not_understood(text: str) -> InputError:
    return InputError(
        "The filter {text!r} is not understood. Write column=value, column~part of a text or column:from..to.",
        text=text,
    )


@cache
def _combining() -> str:
    """Return a regular expression of the characters that are no letters of their own, such as accents."""
    letters = map(chr, range(LAST_COMBINING))
    marks = (mark for mark in letters if unicodedata.combining(unicodedata.normalize("NFKD", mark)[0]))
    return f"[{''.join(marks)}]"


def fold(texts: pa.Array) -> pa.Array:
    """Return the texts without accents, and with "ss" for "ß"; their case stays."""
    letters = pc.replace_substring_regex(texts, _combining(), "")  # for a run of accents the next step takes its square
    letters = pc.replace_substring_regex(pc.utf8_normalize(letters, "NFKD"), _combining(), "")
    return pc.replace_substring_regex(letters, "[ßẞ]", "ss")


def _fold_text(text: str) -> str:
    return str(fold(pa.array([without_surrogates(text)]))[0])


def _lies_in(texts: pa.Array, low: str, high: str) -> pa.BooleanArray:
    """Return which texts lie in a range. Numbers are compared if the ends and any of the texts are numbers."""
    values, ends = numbers(texts), numbers(pa.array([low or f"-{ENDLESS}", high or ENDLESS]))
    if values.null_count < len(values) and not ends.null_count:
        return pc.and_(pc.greater_equal(values, ends[0]), pc.less_equal(values, ends[1])).fill_null(False)
    # "2020-12-31T18:00" lies in "2020-01..2020-12": a text that begins with the upper end is included.
    is_below = pc.less_equal(pc.utf8_slice_codeunits(texts, 0, len(high)), high) if high else True
    return pc.and_(pc.and_(pc.greater_equal(texts, low), pc.not_equal(texts, "")), is_below)


def ranks_of(texts: pa.Array) -> Rows:
    """Return the rank of each text, int64 (n,): from 1 on, equal for equal values, 0 for an empty text.

    They are compared as numbers if all are numbers, else as texts: case and accents do not matter.
    """
    values, is_empty = numbers(texts), pc.equal(pc.utf8_trim_whitespace(texts), "")
    if values.null_count > is_empty.true_count:
        values = pc.utf8_lower(fold(texts))
    ranks: Rows = pc.rank(values, tiebreaker="dense").to_numpy().astype(np.int64)
    ranks[is_empty.to_numpy(zero_copy_only=False)] = 0
    return ranks


def numbers(texts: pa.Array) -> pa.Array:
    """Return the texts as float64; null for what is not a number."""
    texts = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.match_substring_regex(texts, NUMBER), texts, None).cast(pa.float64())
