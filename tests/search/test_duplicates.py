"""Near-duplicates: folded by hand-worked rules, grouped as brute force groups them, found among real pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch.embeddings import Embeddings, normalize
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance
from imgsearch.models.encoder import Encoder
from imgsearch.records import Item
from imgsearch.search.duplicates import SIDE, fold_near_duplicates, near_duplicate_groups


def make_index(rows: Embeddings) -> Index:
    items = [Item(str(row), "", {}, "0" * 64, b"") for row in range(len(rows))]
    return Index.from_rows(rows, items, Provenance(encoder="test/encoder", vectors="float32"))


def at(*degrees: float) -> Embeddings:
    """Unit vectors in a plane: the inner product of two is the cosine of the angle between them."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def grouped(index: Index, threshold: float) -> list[list[str]]:
    return near_duplicate_groups(index, threshold, lambda done, total: None)


def brute_force(rows: Embeddings, threshold: float) -> set[frozenset[str]]:
    is_near, left, found = rows @ rows.T >= threshold, set(range(len(rows))), set()
    while left:
        group: set[int] = set()
        waiting = [left.pop()]
        while waiting:
            row = waiting.pop()
            group.add(row)
            neighbours = set(np.flatnonzero(is_near[row]).tolist()) & left
            left -= neighbours
            waiting += neighbours
        if len(group) > 1:
            found.add(frozenset(map(str, group)))
    return found


def test_fold_by_hand() -> None:
    # 10 degrees and less count as one. 16 folds into no one, though 8 is near: 8 does not stand for itself. 20 is near
    # 16 alone; 24 is near both 16 and 33, and 16 comes first.
    rows = at(0, 8, 16, 90, 0, 20, 33, 24, 95)
    assert fold_near_duplicates(rows, float(np.cos(np.radians(10)))) == [0, 0, 2, 3, 0, 2, 6, 2, 3]


def test_fold_of_few() -> None:
    assert fold_near_duplicates(np.zeros((0, 2), np.float32), 0.9) == []
    assert fold_near_duplicates(at(45), 0.9) == [0]
    assert fold_near_duplicates(at(0, 0, 0), 0.99) == [0, 0, 0]
    assert fold_near_duplicates(at(0, 1), 1.1) == [0, 1]


def test_a_chain_is_one_group_and_the_largest_comes_first() -> None:
    index = make_index(at(120, 0, 8, 121, 200, 16, 280, 24, 281, 282))
    assert grouped(index, float(np.cos(np.radians(10)))) == [["1", "2", "5", "7"], ["6", "8", "9"], ["0", "3"]]


@pytest.mark.parametrize("number", [1, 2, SIDE, 2 * SIDE + 345])
def test_groups_equal_brute_force(number: int) -> None:
    rng = np.random.default_rng(number)
    centres = rng.standard_normal((max(1, number // 3), 8))
    spread = rng.uniform(0, 0.15, (number, 1))
    rows = normalize(centres[rng.integers(len(centres), size=number)] + spread * rng.standard_normal((number, 8)))
    steps: list[tuple[int, int]] = []
    found = near_duplicate_groups(make_index(rows), 0.98, lambda done, total: steps.append((done, total)))
    assert {frozenset(group) for group in found} == brute_force(rows, 0.98)
    assert [len(group) for group in found] == sorted(map(len, found), reverse=True)
    assert all(group == sorted(group, key=int) for group in found)
    assert steps[-1] == (number, number)


def test_groups_of_a_size_come_in_the_order_of_their_first_rows() -> None:
    index = make_index(np.tile(at(*range(0, 360, 4)), (SIDE // 50, 1)))
    assert [group[0] for group in grouped(index, 0.9999)] == [str(row) for row in range(90)]


def test_ten_thousand_equal_pictures_are_one_group() -> None:
    assert grouped(make_index(np.repeat(at(30), 10_000, axis=0)), 0.99) == [[str(row) for row in range(10_000)]]


def test_an_empty_index_has_no_groups() -> None:
    assert grouped(make_index(np.zeros((0, 2), np.float32)), 0.9) == []


def test_copies_of_real_pictures_are_found(encoder: Encoder, examples: Path) -> None:
    names = ["skimage/coffee", "skimage/chelsea", "stamps/animals-birds-owl", "puzzles/citrus_slices"]
    pictures, ids = [], []
    for name in names:
        with Image.open(examples / f"{name}.jpg") as image:
            picture = image.convert("RGB")
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=60)
        smaller = picture.resize((picture.width // 2, picture.height // 2))
        pictures += [picture, Image.open(buffer), smaller]
        ids += [name, f"{name} again", f"{name} smaller"]
    items = [Item(id, "", {}, "0" * 64, b"") for id in ids]
    index = Index.from_rows(encoder.encode_images(pictures), items, Provenance(encoder=encoder.model_id))
    expected = [[name, f"{name} again", f"{name} smaller"] for name in names]
    assert grouped(index, 0.9) == expected
    hits = index.search(index.row(0)[None], len(index))
    into = fold_near_duplicates(index.rows_of([hit.row for hit in hits]), 0.9)
    assert {hits[leader].item.id.split()[0] for leader in set(into)} == set(names) and len(set(into)) == len(names)
    assert all(hit.item.id.split()[0] == hits[into[n]].item.id.split()[0] for n, hit in enumerate(hits))
