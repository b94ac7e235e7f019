"""Building: pictures and items never drift apart, and what is left out is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgsearch.build import build_index
from imgsearch.config import ROOT
from imgsearch.encoder import Encoder
from imgsearch.errors import InputError
from imgsearch.folder import Folder
from imgsearch.images import open_rgb
from imgsearch.index import Index
from imgsearch.stream import BuildOptions


def test_rows_stay_with_their_items_when_pictures_are_skipped(folder: Path, tmp_path: Path, encoder: Encoder) -> None:
    (folder / "a_text.jpg").write_text("not a picture")
    (folder / "d_empty.jpg").write_bytes(b"")
    (folder / "food-fruit-cut.jpg").write_bytes((folder / "food-fruit-kiwi.jpg").read_bytes()[:900])
    report = build_index(Folder(folder), tmp_path / "bundle", encoder)
    assert report.num_items == 6
    assert {skip.picture for skip in report.skipped} == {"a_text.jpg", "d_empty.jpg", "food-fruit-cut.jpg"}
    index = Index.load(tmp_path / "bundle")
    for row in range(len(index)):
        item = index.item(row)
        expected = encoder.encode_images([open_rgb(folder / item.id)])[0]
        assert float(index.rows[row] @ expected) > 0.999
        assert (
            open_rgb(item.thumbnail).size == open_rgb(folder / item.id).size
            or max(open_rgb(item.thumbnail).size) == 320
        )


def test_progress_and_limit(folder: Path, tmp_path: Path, encoder: Encoder) -> None:
    steps: list[tuple[int, int | None]] = []
    report = build_index(
        Folder(folder),
        tmp_path / "bundle",
        encoder,
        BuildOptions(limit=4),
        lambda done, total: steps.append((done, total)),
    )
    assert report.num_items == len(Index.load(tmp_path / "bundle")) == 4
    assert steps[-1] == (4, 4)


def test_no_picture_no_bundle(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="no picture"):
        build_index(Folder(tmp_path / "empty"), tmp_path / "bundle", encoder)
    assert not (tmp_path / "bundle").exists()


def test_the_starter_bundle_can_be_built_again(
    examples: Path, starter_bundle: Path, tmp_path: Path, encoder: Encoder
) -> None:
    report = build_index(Folder(examples), tmp_path / "bundle", encoder)
    committed, rebuilt = Index.load(starter_bundle), Index.load(tmp_path / "bundle")
    assert [skip.picture for skip in report.skipped] == ["CREDITS.md", "GPL-2.txt"]
    for row in range(len(rebuilt)):
        now, then = rebuilt.item(row), committed.item(row)
        pixels = [np.asarray(open_rgb(item.thumbnail), np.float32) for item in (now, then)]
        assert np.abs(pixels[0] - pixels[1]).mean() < 6
        assert replace(now, thumbnail=b"", stamp="") == replace(then, thumbnail=b"")
    assert np.abs(committed.rows - rebuilt.rows).max() < 2e-3
    for query in encoder.encode_texts(["a dog", "red fruit", "something to write with", "a planet", "vehicle"]):
        ranking = [[hit.item.id for hit in index.search(query[None], 10)] for index in (committed, rebuilt)]
        assert ranking[0] == ranking[1]


def test_the_example_photos_are_as_promised(examples: Path, starter_bundle: Path) -> None:
    photos = sorted(examples.rglob("*.jpg"))
    assert len(photos) >= 150
    assert sum(photo.stat().st_size for photo in photos) <= 6_000_000
    assert all(max(open_rgb(photo).size) <= 512 for photo in photos)
    index = Index.load(starter_bundle)
    for row in range(len(index)):
        columns = index.item(row).columns
        assert index.item(row).caption and all(columns[name] for name in ("caption_fr", "subject", "credit", "license"))
    manifest = json.loads((starter_bundle / "manifest.json").read_text("utf-8"))
    assert manifest["num_items"] == len(photos) and str(ROOT) not in json.dumps(manifest)
