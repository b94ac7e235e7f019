"""Near-duplicates: pairs of items whose vectors have an inner product of at least a threshold."""

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby

import numpy as np

from imgsearch.embeddings import Embeddings, OnProgress
from imgsearch.index.index import Index
from imgsearch.records import Hit

MAX_LOOKED_AT = 1000  # hits to fetch at most to fill a page of k after near-duplicates are folded
SIDE = 1024  # items per block; two blocks are compared at a time, in 100 MB if all items are equal


def fold_near_duplicates(rows: Embeddings, threshold: float) -> list[int]:
    """Return, for each vector of float32 (m, dim), the position of its leader; its own if it leads itself.

    From first to last, a vector joins the first leader with an inner product of at least `threshold`; without one it
    becomes a leader.
    """
    is_near = rows @ rows.T >= threshold
    is_leader = np.zeros(len(rows), np.bool_)
    leaders: list[int] = []
    for position in range(len(rows)):
        near_leaders = np.flatnonzero(is_near[position] & is_leader)
        leaders.append(int(near_leaders[0]) if len(near_leaders) else position)
        is_leader[position] = not len(near_leaders)
    return leaders


def folded_page(
    search: Callable[[int], list[Hit]], rows_of: Callable[[list[int]], Embeddings], threshold: float | None, k: int
) -> tuple[list[Hit], int]:
    """Return k hits with near-duplicates folded, and the number of hits they stand for; 0 if there are no more.

    `search` returns the first so many hits, `rows_of` their vectors. Near-duplicates on later pages are not folded into
    this one, so that no page depends on the pages before it. Without a threshold, or beyond MAX_LOOKED_AT, none are.
    """
    if threshold is None or k > MAX_LOOKED_AT:
        hits = search(k + 1)
        return hits[:k], k if len(hits) > k else 0
    count = k + max(4, k // 4)
    while True:
        hits = search(count)
        leader_of = fold_near_duplicates(rows_of([hit.row for hit in hits]), threshold)
        leaders = [i for i, leader in enumerate(leader_of) if i == leader]
        if len(leaders) > k or len(hits) < count or count >= MAX_LOOKED_AT:
            break
        count = min(2 * count, MAX_LOOKED_AT)
    end = leaders[k] if len(leaders) > k else len(hits)
    groups: dict[int, list[str]] = {}
    for hit, leader in zip(hits[:end], leader_of[:end], strict=True):
        groups.setdefault(leader, []).append(hit.item.id)
    folded = [replace(hits[leader], near_duplicates=tuple(others)) for leader, (_, *others) in groups.items()]
    return folded, 0 if end == len(hits) < count else end


def near_duplicate_groups(index: Index, threshold: float, on_progress: OnProgress) -> list[list[str]]:
    """Return the ids of near-duplicates group by group, the largest first; ids within a group are sorted by row.

    A group is a connected component: pairs with an inner product of at least `threshold` connect its items.
    Not by `faiss.range_search`, which returns all pairs at once: the square of their number if all items are equal.
    `on_progress` gets the numbers of items compared and in all.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    labels = np.arange(len(index))  # of the group of each item: equal for items that are known to be connected
    for start in range(0, len(index), SIDE):
        block = _block(index, start)
        for begin in range(0, start + 1, SIDE):
            is_near = block @ _block(index, begin).T >= threshold
            is_near &= labels[start : start + SIDE, None] != labels[begin : begin + SIDE]
            first, second = np.nonzero(is_near)
            if len(first):
                pairs = labels[start + first], labels[begin + second]
                graph = coo_array((np.ones(len(first), np.bool_), pairs), shape=(len(index), len(index)))
                labels = connected_components(graph, directed=False)[1][labels]  # in the order of their first rows
        on_progress(start + len(block), len(index))
    sizes = np.bincount(labels)[labels]
    order = np.lexsort((labels, -sizes))  # stable, so equal entries stay sorted by row
    members = order[sizes[order] > 1].tolist()
    return [[index.item(row).id for row in group] for _, group in groupby(members, lambda row: int(labels[row]))]


def _block(index: Index, start: int) -> Embeddings:
    return index.rows_of(range(start, min(start + SIDE, len(index))))
