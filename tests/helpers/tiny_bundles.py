"""Small generated pictures, and when two bundles are the same."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from imgsearch.embeddings import normalize
from imgsearch.index.index import Index
from imgsearch.records import Item
from imgsearch.search.collection import DerivedData


def save_picture(path: Path, seed: int) -> Path:
    """A small picture of its own colours: equal seeds make equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST).save(path)
    return path


def save_pictures(folder: Path, count: int) -> Path:
    """A folder with a subfolder, and captions for every other picture."""
    ids = [f"{'sub/' if number % 3 == 0 else ''}{number:04}.jpg" for number in range(count)]
    for number, id in enumerate(ids):
        save_picture(folder / id, number)
    lines = ["file_name,caption,number", *(f"{id},the picture {id},{n}" for n, id in enumerate(ids) if n % 2)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def items_of(bundle: Path) -> list[Item]:
    index = Index.load(bundle)
    return [index.item(row) for row in range(len(index))]


def check_same(bundle: Path, other: Path, tolerance: float = 0.0) -> None:
    """Two bundles are the same id by id and rank by rank; with a tolerance, ranks may change among equal scores."""
    assert items_of(bundle) == items_of(other)
    one, two = Index.load(bundle), Index.load(other)
    for query in normalize(two.rows[:: max(1, len(two) // 20)][:20]):
        hits = one.search(query[None], 50)
        expected = two.search(query[None], len(two))
        scores = {hit.item.id: hit.score for hit in expected}
        for hit, wanted in zip(hits, expected, strict=False):
            assert abs(hit.score - wanted.score) <= tolerance
            assert hit.item.id == wanted.item.id or 0 < abs(scores[hit.item.id] - wanted.score) <= tolerance
        assert len(hits) == min(50, len(two)) and hits[0].score > 0.99


def contents_of(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def derived_of(bundle: Path, index: Index) -> DerivedData:
    """What is kept of a bundle, or made of its items alone: no encoder is there to measure its scores."""
    return DerivedData(bundle, index, None, None)
