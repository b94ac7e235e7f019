"""The map of a collection: near pictures near each other, the same each time, sound on any input."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from imgsearch.embeddings import normalize
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance
from imgsearch.records import Item
from imgsearch.search import projection
from imgsearch.search.projection import GRID, MAX_CLUSTERS, MIN_UMAP, Projection, compute_projection
from tests.helpers.examples import NUM_EXAMPLES

NUM_NEAR = 10


def index_of(rows: npt.ArrayLike, ids: list[str] | None = None) -> Index:
    array = np.asarray(rows, np.float32)
    items = [Item(id, "", {}, "", b"") for id in ids or map(str, range(len(array)))]
    return Index.from_rows(normalize(array) if len(array) else array, items, Provenance(encoder="none"))


def near(points: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Of each row the `count` nearest others by brute force, (n, count)."""
    away = np.linalg.norm(points[:, None].astype(float) - points[None].astype(float), axis=-1)
    np.fill_diagonal(away, -1)
    return np.argsort(away, axis=1, kind="stable")[:, 1 : count + 1]


def share_kept(rows: npt.NDArray[Any], points: npt.NDArray[Any]) -> float:
    """The share of the NUM_NEAR nearest in the space that are among the 2 * NUM_NEAR nearest on the map."""
    pairs = zip(near(rows, NUM_NEAR), near(points, 2 * NUM_NEAR), strict=True)
    return float(np.mean([len(set(there) & set(here)) / NUM_NEAR for there, here in pairs]))


def test_near_stays_near_more_than_by_principal_components(index: Index, drawn: Projection) -> None:
    centred = index.rows - index.rows.mean(axis=0)
    axes, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    assert share_kept(index.rows, drawn.points) > 0.65
    assert share_kept(index.rows, drawn.points) > share_kept(index.rows, (axes * lengths)[:, :2]) + 0.15


def test_subjects_hang_together(index: Index, drawn: Projection) -> None:
    subjects = np.array([index.item(row).columns["subject"] for row in range(len(index))])
    alike = subjects[near(drawn.points, 5)] == subjects[:, None]
    chance = np.mean(subjects[:, None] == subjects[None])
    assert alike.mean() > 0.45 > 2.5 * chance


def test_the_points_fill_the_grid_and_the_clusters_are_ordered(index: Index, drawn: Projection) -> None:
    assert np.array_equal(drawn.rows, np.arange(len(index)))
    assert drawn.points.min(axis=0)[0] == 0 and drawn.points.max(axis=0)[0] == GRID
    assert drawn.points.min(axis=0)[1] > 0 and drawn.points.max(axis=0)[1] < GRID  # one scale for both
    middles = [drawn.points[drawn.clusters == number, 0].mean() for number in range(MAX_CLUSTERS)]
    assert middles == sorted(middles)
    sizes = np.bincount(drawn.clusters)
    assert sizes.min() > 5 and sizes.max() < 50


def test_the_same_index_gives_the_same_bytes(index: Index, drawn: Projection) -> None:
    assert compute_projection(index).to_bytes() == drawn.to_bytes()


def test_bytes_and_back(drawn: Projection) -> None:
    again = Projection.from_bytes(drawn.to_bytes(), len(drawn))
    for one, other in ((again.rows, drawn.rows), (again.points, drawn.points), (again.clusters, drawn.clusters)):
        assert one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("num_items", [0, 1, 2, 3, MIN_UMAP - 1, MIN_UMAP, MIN_UMAP + 8])
@pytest.mark.parametrize("are_equal", [False, True])
def test_few_or_equal_items(num_items: int, are_equal: bool) -> None:
    rows = np.ones((num_items, 8)) if are_equal else np.random.default_rng(0).standard_normal((num_items, 8))
    drawn = compute_projection(index_of(rows))
    assert len(Projection.from_bytes(drawn.to_bytes(), num_items)) == num_items
    if num_items > 1 and not are_equal:
        assert int(np.ptp(drawn.points, axis=0).max()) == GRID


def test_two_far_groups_are_two_clusters() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(8)[:2], 30, axis=0) + 0.05 * rng.standard_normal((60, 8))
    drawn = compute_projection(index_of(rows))
    assert not set(drawn.clusters[:30]) & set(drawn.clusters[30:])
    assert (near(drawn.points, 5)[:30] < 30).all() and (near(drawn.points, 5)[30:] >= 30).all()


def test_of_many_items_a_sample_is_drawn_whatever_their_order(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "NUM_POINTS", 40)
    ids = list(index.column("id"))
    straight, reverse = (
        compute_projection(index_of(index.rows, ids)),
        compute_projection(index_of(index.rows[::-1], ids[::-1])),
    )
    assert len(straight) == 40
    assert {ids[row] for row in straight.rows} == {ids[::-1][row] for row in reverse.rows}
    shown = straight.rows.tolist()
    assert shown == sorted(set(shown)) and set(shown) <= set(range(len(ids)))
    assert Projection.from_bytes(straight.to_bytes(), len(ids)).rows.tolist() == shown


def saved(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    sound = {"rows": np.arange(3), "points": np.zeros((3, 2), np.uint16), "clusters": np.zeros(3, np.uint8)}
    np.savez(buffer, **{name: array for name, array in (sound | arrays).items() if array is not None})
    return buffer.getvalue()


def test_what_is_no_atlas_is_refused(drawn: Projection) -> None:
    assert len(Projection.from_bytes(saved(), 3)) == 3
    wrong: list[bytes] = [
        *(b"", b"nonsense", saved()[:-30], saved()[:40], saved().replace(b"descr", b"\xff\xff\xff\xff\xff")),
        saved(clusters=None),
        saved(rows=np.array([object()] * 3)),
        saved(rows=np.arange(3, dtype=np.int32)),
        saved(rows=np.arange(3.0)),
        saved(rows=np.arange(3)[:, None]),
        saved(rows=np.array([0, 2, 1])),
        saved(rows=np.array([0, 1, 1])),
        saved(rows=np.array([-1, 0, 1])),
        saved(rows=np.arange(1, 4)),
        saved(rows=np.arange(2)),
        saved(points=np.zeros((3, 3), np.uint16)),
        saved(points=np.zeros((3, 2))),
        saved(clusters=np.zeros(2, np.uint8)),
        saved(clusters=np.full(3, MAX_CLUSTERS, np.uint8)),
    ]
    for data in wrong:
        with pytest.raises(ValueError, match="atlas"):
            Projection.from_bytes(data, 3)
    with pytest.raises(ValueError, match=f"rising rows of {NUM_EXAMPLES - 1}"):
        Projection.from_bytes(drawn.to_bytes(), NUM_EXAMPLES - 1)
