"""`ReusableItems`: find items that an earlier build made, so that their pictures need not be encoded again."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.index.hashing import Hashes, hash_texts
from imgsearch.index.index import Index
from imgsearch.records import Item, Picture

NUM_OPEN = 8  # bundles open at once; few are enough, as their rows are read nearly in order


class ReusableItems:
    """The items of some bundles by content; those from `source` also by id and stamp. Takes 32 bytes per item."""

    def __init__(self, bundles: Sequence[Path], source: str) -> None:
        self._open = lru_cache(NUM_OPEN)(Index.load)
        self._bundles = bundles
        sizes, stamps, contents = [0], [hash_texts([])], [hash_texts([])]
        for index in map(self._open, bundles):
            sizes.append(len(index))
            contents.append(hash_texts(index.column("sha256")))
            # In another source, a file of the same path, size and time may differ. A stamp of "" never matches.
            trusted = index.column("stamp") if index.provenance.source == source else repeat("")
            stamps.append(hash_texts(map(_key, index.column("id"), trusted)))
        self._starts = np.cumsum(sizes)
        self._stamps, self._contents = HashIndex(np.concatenate(stamps)), HashIndex(np.concatenate(contents))

    def by_stamp(self, picture: Picture) -> tuple[Item, Embeddings] | None:
        """Return the item with the picture's id and stamp (an unchanged file), and its vector, float32 (dim,)."""
        if not picture.stamp:
            return None
        for item, vector in self._load(self._stamps.rows(_key(picture.id, picture.stamp))):
            if (item.id, item.stamp) == (picture.id, picture.stamp):
                return item, vector
        return None

    def by_content(self, sha256: str) -> tuple[Item, Embeddings] | None:
        """Return an item whose picture has this digest, and its vector, float32 (dim,)."""
        return next((pair for pair in self._load(self._contents.rows(sha256)) if pair[0].sha256 == sha256), None)

    def _load(self, rows: Iterable[int]) -> Iterable[tuple[Item, Embeddings]]:
        for row in rows:
            position = int(np.searchsorted(self._starts, row, side="right")) - 1
            index = self._open(self._bundles[position])
            row -= int(self._starts[position])
            yield index.item(row), index.row(row)


class HashIndex:
    """Finds the rows of a text by its hash. Other texts may share it: the caller must compare the texts."""

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def rows(self, text: str) -> list[int]:
        wanted = hash_texts([text])[0]
        first, last = (int(np.searchsorted(self._sorted, wanted, side=side)) for side in ("left", "right"))
        return [int(row) for row in self._order[first:last]]


def count_changes(old: Index, ids: Hashes, contents: Hashes) -> dict[str, int]:
    """Count the items added, changed, renamed and removed from `old` to the items of `ids` and `contents`, (n,)."""
    old_ids, old_contents = hash_texts(old.column("id")), hash_texts(old.column("sha256"))
    _, rows, old_rows = np.intersect1d(ids, old_ids, return_indices=True)
    new, gone = np.delete(contents, rows), np.delete(old_contents, old_rows)
    num_new, num_gone = (dict(zip(*np.unique(hashes, return_counts=True), strict=True)) for hashes in (new, gone))
    renamed = sum(min(count, num_gone.get(content, 0)) for content, count in num_new.items())
    return {
        "added": len(new) - int(renamed),
        "changed": int(np.sum(contents[rows] != old_contents[old_rows])),
        "renamed": int(renamed),
        "removed": len(gone) - int(renamed),
    }


def _key(item_id: str, stamp: str) -> str:
    return f"{stamp} {item_id}"
