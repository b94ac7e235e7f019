"""`ReusableItems`: items of earlier work, found again, so that their pictures need not be encoded anew."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.index.hashing import Hashes, hash_texts
from imgsearch.index.index import Index
from imgsearch.records import Item, Picture

NUM_OPEN = 8  # bundles: their rows are asked for nearly in order


class ReusableItems:
    """The items of some bundles, by content, and those from `source` also by id and stamp; 32 bytes an item."""

    def __init__(self, bundles: Sequence[Path], source: str) -> None:
        self._open = lru_cache(NUM_OPEN)(Index.load)
        self._bundles = bundles
        sizes, stamps, contents = [0], [hash_texts([])], [hash_texts([])]
        for index in map(self._open, bundles):
            sizes.append(len(index))
            contents.append(hash_texts(index.column("sha256")))
            # Elsewhere a file of the same path, size and time may be another one: no stamp of an item is "".
            known = index.column("stamp") if index.provenance.source == source else repeat("")
            stamps.append(hash_texts(map(_key, index.column("id"), known)))
        self._starts = np.cumsum(sizes)
        self._stamps, self._contents = HashIndex(np.concatenate(stamps)), HashIndex(np.concatenate(contents))

    def by_stamp(self, picture: Picture) -> tuple[Item, Embeddings] | None:
        """The item of that id and stamp with its embedding, float32 (dim,): the file was not changed."""
        if not picture.stamp:
            return None
        for item, row in self._at(self._stamps.rows(_key(picture.id, picture.stamp))):
            if (item.id, item.stamp) == (picture.id, picture.stamp):
                return item, row
        return None

    def by_content(self, sha256: str) -> tuple[Item, Embeddings] | None:
        """An item whose picture has these bytes, with its embedding, float32 (dim,)."""
        return next((found for found in self._at(self._contents.rows(sha256)) if found[0].sha256 == sha256), None)

    def _at(self, rows: Iterable[int]) -> Iterable[tuple[Item, Embeddings]]:
        for row in rows:
            number = int(np.searchsorted(self._starts, row, side="right")) - 1
            index = self._open(self._bundles[number])
            row -= int(self._starts[number])
            yield index.item(row), index.row(row)


class HashIndex:
    """Rows by the hash of a text."""

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def rows(self, text: str) -> list[int]:
        wanted = hash_texts([text])[0]
        first, last = (int(np.searchsorted(self._sorted, wanted, side=side)) for side in ("left", "right"))
        return [int(row) for row in self._order[first:last]]


def count_changes(old: Index, ids: Hashes, contents: Hashes) -> dict[str, int]:
    """How many items of `old` were added, changed, renamed and removed to make those of `ids` and `contents`, (n,)."""
    old_ids, old_contents = hash_texts(old.column("id")), hash_texts(old.column("sha256"))
    _, rows, old_rows = np.intersect1d(ids, old_ids, return_indices=True)
    come, gone = np.delete(contents, rows), np.delete(old_contents, old_rows)
    counts = [dict(zip(*np.unique(hashes, return_counts=True), strict=True)) for hashes in (come, gone)]
    renamed = sum(min(count, counts[1].get(content, 0)) for content, count in counts[0].items())
    return {
        "added": len(come) - int(renamed),
        "changed": int(np.sum(contents[rows] != old_contents[old_rows])),
        "renamed": int(renamed),
        "removed": len(gone) - int(renamed),
    }


def _key(id: str, stamp: str) -> str:
    return f"{stamp} {id}"
