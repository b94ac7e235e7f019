"""`ReusableItems`: find items that an earlier build made, so that their pictures need not be encoded again."""

from collections import Counter
from collections.abc import Sequence
from itertools import repeat

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.index.index import Index
from imgsearch.index.items import Hashes, hash_texts
from imgsearch.ingest.shards import Shard
from imgsearch.records import Item


class ReusableItems:
    """The items of bundles and shards by content; those from `source` also by id and stamp. Takes 32 bytes per item."""

    def __init__(self, old: Sequence[Index | Shard], source: str) -> None:
        self._old = old
        self._starts = np.cumsum([0, *map(len, old)])
        keys: list[Hashes] = []
        for part in old:
            # In another source, a file of the same path, size and time may differ. A stamp of "" never matches.
            is_trusted = isinstance(part, Shard) or part.provenance.source == source
            stamps = part.column("stamp") if is_trusted else repeat("")
            keys.append(hash_texts(map("{} {}".format, stamps, part.column("id"))))
        contents = [hash_texts(part.column("sha256")) for part in old]
        hashes = np.concatenate([*keys, *contents, hash_texts([])])
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, **fields: str) -> tuple[Item, Embeddings] | None:
        """Return an item with these fields, and its vector, float32 (dim,). They are `stamp` and `id`, or `sha256`."""
        wanted = hash_texts([" ".join(fields.values())])[0]
        first, last = (np.searchsorted(self._hashes, wanted, side=side) for side in ("left", "right"))
        for row in map(int, self._order[first:last] % self._starts[-1]):
            position = int(np.searchsorted(self._starts, row, side="right")) - 1
            part, start = self._old[position], int(self._starts[position])
            item = part.item(row - start)
            if vars(item).items() >= fields.items():  # a few hashes are of other fields, too
                return item, part.row(row - start)
        return None


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
