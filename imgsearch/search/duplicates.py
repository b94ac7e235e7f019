"""Near-duplicates: items whose embeddings have an inner product of at least some threshold."""

from collections.abc import Callable
from itertools import groupby

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.index.index import Index, Rows

SIDE = 1024  # items that are compared with as many others at a time: 100 MB where all are equal


def fold_near_duplicates(rows: Embeddings, threshold: float) -> list[int]:
    """For each row of float32 (m, dim) the number of the row that it folds into, its own where there is none.

    From the first row to the last, each folds into the first earlier one that stands for itself and whose inner
    product with it is at least `threshold`.
    """
    is_near = rows @ rows.T >= threshold
    stands = np.zeros(len(rows), np.bool_)
    into: list[int] = []
    for number in range(len(rows)):
        found = np.flatnonzero(is_near[number] & stands)
        into.append(int(found[0]) if len(found) else number)
        stands[number] = not len(found)
    return into


def near_duplicate_groups(index: Index, threshold: float, on_progress: Callable[[int, int], None]) -> list[list[str]]:
    """The ids of near-duplicates, group by group, the largest first; ids stand by row.

    A group holds all items that pairs with an inner product of at least `threshold` connect. `on_progress` is told
    how many of how many items are compared with all others.
    """
    labels = np.arange(len(index))
    for start in range(0, len(index), SIDE):
        ours = _block(index, start)
        for other in range(0, start + 1, SIDE):
            theirs = _block(index, other)
            is_near = ours @ theirs.T >= threshold
            is_near &= labels[start : start + len(ours), None] != labels[other : other + len(theirs)]
            pairs = np.flatnonzero(is_near)
            labels = _joined(labels, start + pairs // len(theirs), other + pairs % len(theirs))
        on_progress(start + len(ours), len(index))
    sizes = np.bincount(labels)[labels]
    order = np.lexsort((labels, -sizes))  # stable: by row where these are equal
    members = order[sizes[order] > 1].tolist()
    return [[index.item(row).id for row in group] for _, group in groupby(members, lambda row: int(labels[row]))]


def _block(index: Index, start: int) -> Embeddings:
    return index.rows_of(range(start, min(start + SIDE, len(index))))


def _joined(labels: Rows, one: Rows, other: Rows) -> Rows:
    """The labels after both items of each pair have got the same: always the first row of their group."""
    while True:
        low, high = np.minimum(labels[one], labels[other]), np.maximum(labels[one], labels[other])
        is_apart = low < high
        if not is_apart.any():
            return labels
        heads: npt.NDArray[np.int64] = np.arange(len(labels))
        np.minimum.at(heads, high[is_apart], low[is_apart])
        while np.any(
            heads != heads[heads]
        ):  # else a film, of which each picture is near the next, takes a turn for each
            heads = heads[heads]
        labels = heads[labels]
