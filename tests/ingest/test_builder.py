"""Building: pictures and items never drift apart, what is left out is said, and an update equals a full build."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgsearch.config import ROOT
from imgsearch.errors import InputError
from imgsearch.images import open_rgb
from imgsearch.index.bundle import read_report
from imgsearch.index.index import Index
from imgsearch.index.manifest import FORMAT_VERSION
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import load_encoder
from tests.helpers.commands import Run
from tests.helpers.tiny_bundles import check_same, contents_of, items_of, save_picture, save_pictures

NUM_PICTURES = 60
NOTHING = {"added": 0, "changed": 0, "renamed": 0, "removed": 0}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "sixty", NUM_PICTURES)


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


def test_no_picture_no_bundle(tmp_path: Path, encoder: Encoder, six_photos: Path) -> None:
    """The first reasons are told, all are in the report, and the place is free for the next build."""
    folder, bundle = tmp_path / "empty", tmp_path / "bundle"
    folder.mkdir()
    for name in ("a.zip", "b.heic", "c.md", "d.txt"):
        (folder / name).write_text("hello")
    with pytest.raises(InputError, match=r"no picture that can be read \(4 skipped; a.zip: an archive") as told:
        build_index(Folder(folder), bundle, encoder)
    assert "c.md: " in str(told.value) and "d.txt" not in str(told.value) and "\n" not in str(told.value)
    assert [path.name for path in bundle.iterdir()] == ["report.json"] and len(read_report(bundle).skipped) == 4
    assert build_index(Folder(six_photos), bundle, encoder).num_items == 6
    with pytest.raises(InputError, match="4 skipped"):
        build_index(Folder(folder), bundle, encoder)
    assert len(Index.load(bundle)) == 6 and not read_report(bundle).skipped


def test_the_starter_bundle_can_be_built_again(
    examples: Path, starter_bundle: Path, tmp_path: Path, encoder: Encoder
) -> None:
    report = build_index(Folder(examples), tmp_path / "bundle", encoder, BuildOptions(exif=False))
    committed, rebuilt = Index.load(starter_bundle), Index.load(tmp_path / "bundle")
    assert [skip.picture for skip in report.skipped] == [
        *("CC0-1.0.txt", "CREDITS.md", "GPL-2.txt", "GPL-3.txt", "LGPL-3.txt")
    ]
    for row in range(len(rebuilt)):
        now, then = rebuilt.item(row), committed.item(row)
        pixels = [np.asarray(open_rgb(item.thumbnail), np.float32) for item in (now, then)]
        assert np.abs(pixels[0] - pixels[1]).mean() < 6
        assert replace(now, thumbnail=b"", stamp="") == replace(then, thumbnail=b"", stamp="")
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


def test_an_update_encodes_what_is_new_or_changed(
    pictures: Path, tmp_path: Path, tiny_encoder: Encoder, run: Run
) -> None:
    options = BuildOptions(shard_size=16)
    assert build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, options).num_encoded == NUM_PICTURES
    shutil.copytree(tmp_path / "bundle", tmp_path / "old")
    for number in range(10):
        save_picture(pictures / f"added{number}.jpg", 1000 + number)
    ids = sorted(path.relative_to(pictures) for path in pictures.rglob("*.jpg") if "added" not in path.name)
    for number, id in enumerate(ids[10:15]):
        save_picture(pictures / id, 2000 + number)
    for id in ids[20:25]:
        (pictures / id).unlink()
    for id in ids[30:33]:
        (pictures / id).rename(pictures / f"renamed-{id.name}")
    flags = ["--encoder", tiny_encoder.model_id, "--precision", "float32", "--shard-size", "16"]
    report = run("build", pictures, "--out", tmp_path / "bundle", "--update", "--json", *flags).answer()
    assert report["changes"] == {"added": 10, "changed": 5, "renamed": 3, "removed": 5}
    assert report["num_encoded"] == 15 and report["num_items"] == NUM_PICTURES + 5
    build_index(Folder(pictures), tmp_path / "full", tiny_encoder)
    check_same(tmp_path / "bundle", tmp_path / "full", 1e-3)
    assert read_report(tmp_path / "bundle").changes == report["changes"]
    # The vectors of what stayed are the old ones to the bit; a renamed file keeps its own.
    rows = [{item.sha256: row for item, row in zip(items_of(bundle), Index.load(bundle).rows, strict=True)}
            for bundle in (tmp_path / "old", tmp_path / "bundle")]  # fmt: skip
    stayed = rows[0].keys() & rows[1].keys()
    assert len(stayed) == NUM_PICTURES - 10
    assert all(np.array_equal(rows[0][sha256], rows[1][sha256]) for sha256 in stayed)


def test_an_update_takes_touched_files_and_new_captions_over(
    pictures: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    bundle, options = tmp_path / "bundle", BuildOptions(update=True)
    first = build_index(Folder(pictures), bundle, tiny_encoder, options)  # of nothing: a full build
    assert first.num_encoded == NUM_PICTURES and not first.changes
    assert build_index(Folder(pictures), bundle, tiny_encoder, options).num_encoded == 0
    for path in pictures.rglob("*.jpg"):
        os.utime(path, (1, 1))
    report = build_index(Folder(pictures), bundle, tiny_encoder, options)
    assert (report.num_items, report.num_encoded, report.changes) == (NUM_PICTURES, 0, NOTHING)
    assert {item.stamp.split(":")[1] for item in items_of(bundle)} == {"1000000000"}
    text = (pictures / "metadata.csv").read_text("utf-8")
    text = text.replace("the picture 0001.jpg,1", "another caption,one") + "0002.jpg,a first caption,2\n"
    (pictures / "metadata.csv").write_text(text, "utf-8")
    report = build_index(Folder(pictures), bundle, tiny_encoder, options)
    assert (report.num_items, report.num_encoded, report.changes) == (NUM_PICTURES, 0, NOTHING)
    index = Index.load(bundle)
    assert index.item_by_id("0001.jpg").caption == "another caption"
    assert index.item_by_id("0001.jpg").columns == {"number": "one", "width": "64", "height": "48"}
    assert index.item_by_id("0002.jpg").caption == "a first caption"
    build_index(Folder(pictures), tmp_path / "full", tiny_encoder)
    check_same(bundle, tmp_path / "full", 1e-3)


def test_an_update_sees_a_change_that_keeps_the_size(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    path = pictures / "0001.bmp"
    save_picture(path, 3000)
    build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder)
    size = path.stat().st_size
    assert save_picture(path, 3001).stat().st_size == size
    report = build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, BuildOptions(update=True))
    assert report.num_encoded == 1 and report.changes == NOTHING | {"changed": 1}


def test_an_update_with_other_options_is_refused(
    pictures: Path, tmp_path: Path, tiny: Path, tiny_encoder: Encoder, encoder: Encoder
) -> None:
    build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder)
    before = contents_of(tmp_path / "bundle")
    others = [
        (encoder, BuildOptions(update=True), "encoder"),
        (load_encoder(f"local-dir:{tiny}/clip", "bfloat16"), BuildOptions(update=True), "precision float32, now"),
        (tiny_encoder, BuildOptions(update=True, vectors="float32"), "vectors float16, now it is float32"),
        (tiny_encoder, BuildOptions(update=True, thumbnails=False), "thumbnails"),
    ]
    for other, options, message in others:
        with pytest.raises(InputError, match=message) as refused:
            build_index(Folder(pictures), tmp_path / "bundle", other, options)
        assert "cannot be updated" in str(refused.value) and "\n" not in str(refused.value)
    assert contents_of(tmp_path / "bundle") == before


@pytest.mark.parametrize("name", ["format1", "format2"])
def test_bundles_of_older_formats_open_and_answer(name: str, plain_encoder: Encoder) -> None:
    bundle = ROOT / "tests" / "bundles" / name
    captions = {"animals-birds-owl": "an owl", "animals-mammals-badger": "a badger"}
    captions |= {"food-fruit-kiwi": "a kiwi", "food-fruit-lemon": "a lemon"}
    index = Index.load(bundle)
    assert {item.id: item.caption for item in items_of(bundle)} == {f"{id}.jpg": captions[id] for id in captions}
    for id in captions:
        picture = open_rgb(ROOT / "tests" / "bundles" / "pictures" / f"{id}.jpg")
        hit = index.search(plain_encoder.encode_images([picture]), 1)[0]
        assert hit.item.id == f"{id}.jpg" and hit.score > 0.999
        item = index.item_by_id(f"{id}.jpg")
        assert item.columns == {"subject": id.split("-")[0]} and item.stamp == ""
        assert (
            item.sha256
            == hashlib.sha256((ROOT / "tests" / "bundles" / "pictures" / f"{id}.jpg").read_bytes()).hexdigest()
        )
        assert max(open_rgb(item.thumbnail).size) <= 320
    for text, id in (("an owl", "animals-birds-owl"), ("a yellow lemon", "food-fruit-lemon")):
        assert index.search(plain_encoder.encode_texts([text]), 1)[0].item.id == f"{id}.jpg"


def test_a_bundle_of_format_1_is_updated_without_encoding(tmp_path: Path, plain_encoder: Encoder) -> None:
    bundle = shutil.copytree(ROOT / "tests" / "bundles" / "format1", tmp_path / "bundle")
    old = Index.load(bundle).rows
    (tmp_path / "four").mkdir()
    lines = ["file_name,caption,subject"]
    for item in items_of(bundle):
        shutil.copy(ROOT / "tests" / "bundles" / "pictures" / item.id, tmp_path / "four" / item.id)
        lines.append(f"{item.id},{item.caption} again,{item.columns['subject']}")
    (tmp_path / "four" / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    report = build_index(Folder(tmp_path / "four"), Path(bundle), plain_encoder, BuildOptions(update=True))
    assert (report.num_items, report.num_encoded, report.changes) == (4, 0, NOTHING)
    assert np.array_equal(Index.load(bundle).rows, old)
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    assert manifest["format_version"] == FORMAT_VERSION and manifest["preprocess"]
    assert all(item.stamp and item.caption.endswith(" again") for item in items_of(bundle))
    assert sorted(path.name.partition("-")[0] for path in bundle.iterdir()) == [
        *("items", "manifest.json", "report.json", "vectors")
    ]  # the files of format 1 are gone


def test_strict_fails_on_the_first_skip(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    options = BuildOptions(strict=True, shard_size=16)
    (pictures / "0031.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0031\.jpg.*not a picture.*[^.]\. Take it away"):
        build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, options)
    assert not (tmp_path / "bundle").exists()
    save_picture(pictures / "0031.jpg", 31)
    report = build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, options)
    assert report.num_items == NUM_PICTURES and not report.skipped
    (pictures / ".hidden.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"hidden\.jpg"):
        build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, options)
    assert len(Index.load(tmp_path / "bundle")) == NUM_PICTURES


def test_without_thumbnails_and_in_float32(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    options = BuildOptions(thumbnails=False, vectors="float32")
    build_index(Folder(pictures), tmp_path / "exact", tiny_encoder, options)
    build_index(Folder(pictures), tmp_path / "usual", tiny_encoder)
    exact, usual = Index.load(tmp_path / "exact"), Index.load(tmp_path / "usual")
    assert (exact.provenance.vectors, exact.provenance.thumbnails) == ("float32", False)
    assert all(item.thumbnail == b"" for item in items_of(tmp_path / "exact"))
    assert all(open_rgb(item.thumbnail).size == (64, 48) for item in items_of(tmp_path / "usual"))
    rows = tiny_encoder.encode_images([open_rgb(pictures / item.id) for item in items_of(tmp_path / "exact")])
    assert np.abs(exact.rows - rows).max() < 1e-6 < 1e-5 < np.abs(usual.rows - rows).max() < 1e-3
    for hits in (exact.search(rows[:1], 50), usual.search(rows[:1], 50)):
        assert len(hits) == 50
    expected = np.sort(rows @ rows[0])[::-1][:50]
    assert [hit.score for hit in exact.search(rows[:1], 50)] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_shard_of_nothing_but_skips(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    """Shards that end up empty, in front, in the middle and at the end, neither stop nor shift anything."""
    order = [picture.id for picture in Folder(pictures).read()]
    for id in [*order[:8], *order[24:32], *order[56:]]:
        (pictures / id).write_bytes(b"")
    report = build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, BuildOptions(shard_size=8))
    assert [skip.picture for skip in report.skipped] == [*order[:8], *order[24:32], *order[56:]]
    assert [item.id for item in items_of(tmp_path / "bundle")] == [*order[8:24], *order[32:56]]
    build_index(Folder(pictures), tmp_path / "whole", tiny_encoder)
    check_same(tmp_path / "bundle", tmp_path / "whole", 1e-3)
    again = build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, BuildOptions(update=True, shard_size=8))
    assert again.num_encoded == 0 and again.changes == NOTHING
