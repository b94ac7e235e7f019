"""`ReusableItems`: find items that an earlier build made, so that their pictures need not be encoded again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.index.hashing import Hashes, hash_texts
from imgsearch.index.index import Index
from imgsearch.ingest.shards import Shard
from imgsearch.records import Item, Picture


class ReusableItems:
    """The items of bundles and shards by content; those from `source` also by id and stamp. Takes 32 bytes per item."""

    def __init__(self, old: Sequence[Index | Shard], source: str) -> None:
        self._old = old
        stamps, contents = [hash_texts([])], [hash_texts([])]
        for part in old:
            contents.append(hash_texts(part.column("sha256")))
            # In another source, a file of the same path, size and time may differ. A stamp of "" never matches.
            is_trusted = isinstance(part, Shard) or part.provenance.source == source
            stamps.append(hash_texts(map(_key, part.column("id"), part.column("stamp") if is_trusted else repeat(""))))
        self._starts = np.cumsum([0, *map(len, old)])
        self._stamps, self._contents = HashIndex(np.concatenate(stamps)), HashIndex(np.concatenate(contents))

    def by_stamp(self, picture: Picture) -> tuple[Item, Embeddings] | None:
        """Return the item with the picture's id and stamp (an unchanged file), and its vector, float32 (dim,)."""
        if not picture.stamp:
            return None
        pairs = self._load(self._stamps.rows(_key(picture.id, picture.stamp)))
        return next((pair for pair in pairs if (pair[0].id, pair[0].stamp) == (picture.id, picture.stamp)), None)

    def by_content(self, sha256: str) -> tuple[Item, Embeddings] | None:
        """Return an item whose picture has this digest, and its vector, float32 (dim,)."""
        return next((pair for pair in self._load(self._contents.rows(sha256)) if pair[0].sha256 == sha256), None)

    def _load(self, rows: Sequence[int]) -> Iterator[tuple[Item, Embeddings]]:
        for row in rows:
            position = int(np.searchsorted(self._starts, row, side="right")) - 1
            part, row = self._old[position], row - int(self._starts[position])
            yield part.item(row), part.row(row)


class HashIndex:
    """Finds the rows of a text by its hash. Other texts may share it: the caller must compare the texts."""

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def rows(self, text: str) -> list[int]:
        first, last = (np.searchsorted(self._sorted, hash_texts([text])[0], side=side) for side in ("left", "right"))
        return list(map(int, self._order[first:last]))


def count_changes(old: Index, ids: Hashes, contents: Hashes) -> dict[str, int]:
    """Count the items added, changed, renamed and removed from `old` to the items of `ids` and `contents`, (n,)."""
    old_ids, old_contents = hash_texts(old.column("id")), hash_texts(old.column("sha256"))
    _, rows, old_rows = np.intersect1d(ids, old_ids, return_indices=True)
    new, gone = np.delete(contents, rows), np.delete(old_contents, old_rows)
    renamed = (Counter(new.tolist()) & Counter(gone.tolist())).total()
    return {
        "added": len(new) - renamed,
        "changed": int(np.sum(contents[rows] != old_contents[old_rows])),
        "renamed": renamed,
        "removed": len(gone) - renamed,
    }


def _key(item_id: str, stamp: str) -> str:
    return f"{stamp} {item_id}"
