"""`WordIndex`: which items hold the words of a query in their caption or columns, by SQLite's full-text search (FTS5).

Vectors know what a picture shows, words know names: a person, a place, a text in another language. FTS5 folds case,
accents and English endings (Porter); what it does not know is folded here: French plurals, a few irregular English
ones, and languages that are written without spaces.
"""

import math
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.index.index import Index
from imgsearch.index.items import Rows
from imgsearch.index.lance_table import LanceTable, literal
from imgsearch.models.language import function_words, is_french, to_english
from imgsearch.records import CAPTIONED_BY, GENERATED_CAPTION, TEXT_IN_PICTURE, WORDS_IN, Item

MAX_TEXT = 4000  # characters of an item that are indexed, of each caption or column at most 1,000
MAX_WORDS = 12  # of a query that are looked up
MAX_COMBINED = 4  # of them whose combinations a Lance table is asked for
MIN_SHARE = 0.5  # of a query's words from which an item rises; with fewer, what it shows tells more
PAGE_BYTES = 2**20  # of an empty index and some more; each item adds less than four bytes a character
TABLE = (
    "CREATE VIRTUAL TABLE items USING fts5(words, content='', columnsize=0, detail=none, "
    "tokenize='porter unicode61 remove_diacritics 2')"
)
SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3])")  # kana, Han and Hangul: each letter is a word
IRREGULAR = {
    **{"men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse", "geese": "goose"},
    **{"feet": "foot", "teeth": "tooth", "leaves": "leaf", "wolves": "wolf", "yeux": "oeil"},
}
IRREGULAR_WORD = re.compile(rf"\b({'|'.join(IRREGULAR)})\b")
Shares = npt.NDArray[np.float32]


class WordIndex:
    """The words of the items of an index. Safe to call from several threads."""

    def __init__(self, connection: sqlite3.Connection, num_items: int) -> None:
        self._connection, self._num_items = connection, num_items
        self._lock = threading.Lock()

    @classmethod
    def of(cls, index: Index) -> "WordIndex":
        """Index the captions and columns of all items, in memory: 5 s and 20 MB for a million short captions."""
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.execute(TABLE)
        connection.executemany(
            "INSERT INTO items (rowid, words) VALUES (?, ?)",
            enumerate(_folded(text[:MAX_TEXT]) for text in index.texts()),
        )
        connection.execute("INSERT INTO items (items) VALUES ('optimize')")
        connection.commit()
        return cls(connection, len(index))

    @classmethod
    def open(cls, path: Path, num_items: int) -> "WordIndex":
        """Open a file of `to_bytes` for reading. Anyone may have made it: raise OSError or ValueError for another one.

        A table of another definition, a view or a trigger could run code of the file's maker.
        """
        if path.stat().st_size > PAGE_BYTES + 4 * MAX_TEXT * num_items:
            raise ValueError(f"{path.name} is larger than words can be")
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        try:
            connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise OSError(f"{path.name} cannot be opened: {error}") from error
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            if connection.execute(SCHEMA).fetchall() != _own_schema():
                raise ValueError(f"{path.name} has other tables")
            connection.execute("SELECT rowid FROM items WHERE items MATCH 'a' LIMIT 1").fetchall()
        except (sqlite3.Error, ValueError) as error:
            connection.close()
            raise ValueError(f"{path.name} holds no words: {error}") from error
        return cls(connection, num_items)

    def to_bytes(self) -> bytes:
        """Return the index as a SQLite file."""
        return self._connection.serialize()

    def shares(self, text: str) -> Shares:
        """Return how much of a query each item holds, float32 (num_items,), 0..1.

        A word counts by its inverse document frequency, log(1 + items / (1 + items that hold it)); words without a
        meaning of their own ("the", "sur") count only if there are no others.
        """
        shares, total = np.zeros(self._num_items), 0.0
        for word in _query_words(text)[:MAX_WORDS]:
            rows = self._rows(word)
            weight = _weight(self._num_items, len(rows))
            shares[rows] += weight
            total += weight
        return (shares / (total or 1.0)).astype(np.float32)

    def _rows(self, word: str) -> npt.NDArray[np.int64]:
        """Return the rows of the items that hold a word; none if the file is damaged."""
        # As one text: a tuple for each row would take six times as long.
        statement = "SELECT group_concat(rowid) FROM (SELECT rowid FROM items WHERE items MATCH ? LIMIT ?)"
        try:
            with self._lock:
                [found] = self._connection.execute(statement, (f'"{word}"', self._num_items)).fetchone()
        except sqlite3.Error:
            found = None
        rows = np.fromstring(found or "", np.int64, sep=",")
        return rows[(rows >= 0) & (rows < self._num_items)]


class TableShares:
    """Tell how much of a query rows of a table hold: `shares[rows]` is float32 (len(rows),), see `word_shares`."""

    def __init__(self, table: LanceTable, text: str) -> None:
        self._table, self._wordings = table, list[dict[str, float]]()
        for wording in _wordings(text):
            words = Counter(" ".join(stems(_query_words(wording)[:MAX_WORDS])).split())
            weights = {word: times * _weight(len(table), table.count(_holds(word))) for word, times in words.items()}
            self._wordings.append({word: weight / sum(weights.values()) for word, weight in weights.items()})

    def masks(self, mask: str | None) -> list[Any]:
        """Return two conditions, both within `mask`: a row holds all words of a wording, or MIN_SHARE of them."""
        wholes, parts = [tuple(words) for words in self._wordings if words], list[tuple[str, ...]]()
        for words in self._wordings:
            heaviest = sorted(words, key=lambda word: -words[word])[:MAX_COMBINED]
            sets = chain.from_iterable(combinations(heaviest, size) for size in range(1, len(heaviest) + 1))
            parts += (some for some in sets if round(sum(map(words.__getitem__, some)), 1) >= MIN_SHARE)
        texts = [" OR ".join(f"({' AND '.join(map(_holds, some))})" for some in sets) for sets in (wholes, parts)]
        return [f"({mask}) AND ({text})" if mask else text for text in dict.fromkeys(filter(None, texts))]

    def __getitem__(self, rows: Rows) -> Shares:
        found = self._table.take(rows.tolist(), "words")["words"].to_pylist()
        held = [set(text.split()) for text in found]
        shares = [[sum(words[word] for word in words.keys() & own) for own in held] for words in self._wordings]
        return _in_tenths(np.max(np.array(shares, np.float32), axis=0))


def _weight(num_items: int, num_holding: int) -> float:
    """Return the inverse document frequency of a word."""
    return math.log1p(num_items / (1 + num_holding))


def _holds(word: str) -> str:
    return f"contains_tokens(words, {literal(word)})"


def places_of(text: str, items: Sequence[Item]) -> Iterator[list[str]]:
    """Yield which of WORDS_IN of each item hold words of a query, the one with the most of them first."""
    if not items:
        return
    query = " ".join(word for wording in _wordings(text) for word in _query_words(wording)[:MAX_WORDS])
    wanted, *texts = stems([query, *(text for item in items for text in _texts(item))])
    held = [len({*wanted.split()} & {*words.split()}) for words in texts]
    for counts in np.array(held, np.int64).reshape(-1, len(WORDS_IN)):
        yield [WORDS_IN[place] for place in np.argsort(-counts, kind="stable") if counts[place]]


def _texts(item: Item) -> list[str]:
    """Return the texts of an item in each of WORDS_IN."""
    others = {name: text for name, text in item.columns.items() if name != CAPTIONED_BY}
    read = others.pop(TEXT_IN_PICTURE, "")
    captions = [others.pop(name) for name in [*others] if name == GENERATED_CAPTION or name.startswith("caption_")]
    return [" ".join([item.caption, *captions]), read, " ".join(others.values())]


def stems(texts: Sequence[str]) -> list[str]:
    """Return the distinct words of each text in the basic form by which `WordIndex` finds them, between blanks."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(items, instance)")
        folded = enumerate(_folded(text[:MAX_TEXT]) for text in texts)
        connection.executemany("INSERT INTO items (rowid, words) VALUES (?, ?)", folded)
        words = dict(connection.execute("SELECT doc, group_concat(DISTINCT term) FROM terms GROUP BY doc"))
    return [words.get(row, "").replace(",", " ") for row in range(len(texts))]


def _wordings(text: str) -> list[str]:
    """Return a query and, if it is French, its English: the captions may be in either."""
    return [text, to_english(text)[0]] if is_french(text) else [text]


def _in_tenths(shares: Shares) -> Shares:
    shares = shares.round(1)
    shares[shares < MIN_SHARE] = 0
    return shares


def word_shares(words: WordIndex, text: str) -> Shares | None:
    """Return how much of a query each item holds, in tenths; None if all hold less than MIN_SHARE."""
    shares = _in_tenths(np.max([words.shares(wording) for wording in _wordings(text)], axis=0))
    return shares if shares.any() else None


def nearest_with_words(
    index: Index, query: Embeddings, count: int, mask: Any, shares: Shares | TableShares | None, bonus: float
) -> tuple[Embeddings, Rows]:
    """Return scores and rows of the `count` best items by score + bonus * share ** 3; see `Index.nearest`.

    The power keeps an item with some of the words below one that shows the whole. The best of each share are searched
    for apart, so the ranking is exact; in a Lance table those of some of the words are searched for together.
    """
    scores, rows = index.nearest(query, count, mask)
    if shares is None:
        return scores, rows
    found = [(scores, rows), *(index.nearest(query, count, of_share) for of_share in _masks(shares, mask))]
    scores, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    rows, first = np.unique(rows, return_index=True)
    scores = scores[first]
    order = np.lexsort((rows, -(scores + bonus * shares[rows] ** 3)))[:count]
    return scores[order], rows[order]


def _masks(shares: Shares | TableShares, mask: Any) -> list[Any]:
    if isinstance(shares, TableShares):
        return shares.masks(mask)
    return [shares == share if mask is None else mask & (shares == share) for share in np.unique(shares[shares > 0])]


def _folded(text: str) -> str:
    """Return a text in lower case, with the singulars of plurals that FTS5 does not know, and with all words apart."""
    text = re.sub(r"\Beaux\b", "eau", text.lower().replace("œ", "oe"))  # oiseaux
    text = IRREGULAR_WORD.sub(lambda match: IRREGULAR[match[0]], re.sub(r"\Baux\b", "al", text))  # chevaux
    return text if text.isascii() else UNSPACED.sub(r" \1 ", text)


def _query_words(text: str) -> list[str]:
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", _folded(text))))
    contents = [word for word in words if (len(word) > 1 or not word.isascii()) and word not in function_words()]
    return contents or words


def _own_schema() -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(TABLE)
        return connection.execute(SCHEMA).fetchall()
