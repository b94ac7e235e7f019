"""Bundles out of bundles: merged parts equal one build, what is removed is gone, what is exported is the same."""

import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from imgsearch.errors import BundleError, InputError
from imgsearch.index.bundle import read_report
from imgsearch.index.edit import export_parquet, merge, remove
from imgsearch.index.index import Index
from imgsearch.index.manifest import read_manifest
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from tests.helpers.commands import Run
from tests.helpers.tiny_bundles import check_same, contents_of, items_of, save_picture, save_pictures

NUM_PICTURES = 100
SHARD_SIZE = 8
BROKEN = ["0003.jpg", "0040.jpg", "sub/0096.jpg"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that cannot be indexed and with copies, in one shard and far apart."""
    folder = save_pictures(tmp_path_factory.mktemp("curate") / "pictures", NUM_PICTURES)
    for id in ("sub/0000.jpg", *BROKEN):
        (folder / id).write_bytes(b"")
    for source, id in (("0001.jpg", "0001 again.jpg"), ("0001.jpg", "sub/0095.jpg"), ("0050.jpg", "zz.jpg")):
        shutil.copy(folder / source, folder / id)
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def whole(pictures: Path, tiny_encoder: Encoder) -> Path:
    """All of it in one bundle."""
    bundle = pictures.parent / "whole"
    build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(shard_size=SHARD_SIZE))
    return bundle


@pytest.fixture(scope="module")
def parts(pictures: Path, tiny_encoder: Encoder) -> list[Path]:
    """All of it in the bundles of a divided build."""
    bundles = []
    for number in (1, 2, 3):
        bundles.append(pictures.parent / f"part{number}")
        build_index(Folder(pictures), bundles[-1], tiny_encoder, BuildOptions(shard_size=SHARD_SIZE, part=(number, 3)))
    return bundles


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    return Path(shutil.copytree(whole, tmp_path / "copied"))


def test_merged_parts_equal_one_build(pictures: Path, parts: Sequence[Path], whole: Path, tmp_path: Path) -> None:
    report = merge([parts[2], parts[0], parts[1]], tmp_path / "merged")
    check_same(tmp_path / "merged", whole)
    assert [Index.load(part).provenance.part for part in parts] == ["1/3", "2/3", "3/3"]
    cards = [Index.load(bundle).provenance for bundle in (tmp_path / "merged", whole)]
    assert [Path(card.source).resolve() for card in cards] == [pictures, pictures]
    assert replace(cards[0], source="", created="") == replace(cards[1], source="", created="")
    assert report.num_items == len(Index.load(whole)) == sum(len(Index.load(part)) for part in parts)
    assert min(len(Index.load(part)) for part in parts) > 2 * SHARD_SIZE  # several shards each


@pytest.mark.parametrize("num_parts", [2, 7])
def test_empty_shards_and_parts_leave_no_trace(num_parts: int, tmp_path: Path, tiny_encoder: Encoder) -> None:
    folder = Folder(save_pictures(tmp_path / "pictures", 10))
    for picture in list(folder.read())[4:6]:  # the middle one of five shards
        (tmp_path / "pictures" / picture.id).write_bytes(b"")
    build_index(folder, tmp_path / "whole", tiny_encoder, BuildOptions(shard_size=2))
    parts = {number: tmp_path / f"part{number}" for number in range(1, num_parts + 1)}
    for number, part in parts.items():
        build_index(folder, part, tiny_encoder, BuildOptions(shard_size=2, part=(number, num_parts)))
    merge(list(parts.values()), tmp_path / "merged")
    assert read_manifest(tmp_path / "merged").files == read_manifest(tmp_path / "whole").files


def test_a_merge_reports_what_one_build_does(
    pictures: Path, parts: Sequence[Path], whole: Path, tmp_path: Path
) -> None:
    merge(parts, tmp_path / "merged")
    merged, one = read_report(tmp_path / "merged"), read_report(whole)
    assert one.num_items + len(one.skipped) == sum(path.is_file() for path in pictures.rglob("*")) - 1  # the metadata
    assert sorted(skip.picture for skip in merged.skipped) == sorted(skip.picture for skip in one.skipped)
    assert (merged.num_items, merged.num_encoded) == (one.num_items, one.num_encoded)
    assert merged.num_duplicates == one.num_duplicates == 3


def test_parts_that_do_not_fit_are_refused(parts: Sequence[Path], whole: Path, tmp_path: Path) -> None:
    cases = [
        ([parts[0], parts[2]], "1/3, 3/3"),
        ([parts[0]], "1/3"),
        ([parts[0], parts[1], parts[1], parts[2]], "1/3, 2/3, 2/3, 3/3"),
        ([*parts, whole], "whole is no part"),
        ([whole, whole], "Two of the bundles have a picture '0001 again.jpg'"),
        ([whole, tmp_path / "none"], "no bundle"),
    ]
    for bundles, message in cases:
        with pytest.raises((InputError, BundleError), match=message) as refused:
            merge(bundles, tmp_path / "merged")
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "merged").exists()


def test_other_encoders_are_not_merged(
    pictures: Path, whole: Path, tmp_path: Path, tiny_encoder: Encoder, encoder: Encoder
) -> None:
    few = save_pictures(tmp_path / "few", 3)
    build_index(Folder(few), tmp_path / "starter", encoder)
    build_index(Folder(few), tmp_path / "exact", tiny_encoder, BuildOptions(vectors="float32"))
    for name, message in (("starter", f"encoder {encoder.model_id}"), ("exact", "vectors float32")):
        with pytest.raises(InputError, match=message.replace("+", r"\+")) as refused:
            merge([whole, tmp_path / name], tmp_path / "merged")
        assert name in str(refused.value) and "whole" in str(refused.value)
        assert not (tmp_path / "merged").exists()


def test_unrelated_bundles_are_merged_one_after_the_other(whole: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    for number in range(12):
        save_picture(tmp_path / "more" / f"more{number}.png", 100 + number)
    build_index(Folder(tmp_path / "more"), tmp_path / "second", tiny_encoder, BuildOptions(thumbnails=False))
    merge([tmp_path / "second", whole], tmp_path / "merged")
    merged = Index.load(tmp_path / "merged")
    assert items_of(tmp_path / "merged") == items_of(tmp_path / "second") + items_of(whole)
    assert np.array_equal(merged.rows, np.concatenate([Index.load(tmp_path / "second").rows, Index.load(whole).rows]))
    assert merged.search(Index.load(whole).rows[5:6], 1)[0].item == Index.load(whole).item(5)
    assert not merged.provenance.thumbnails and merged.provenance.encoder == tiny_encoder.model_id
    assert "more" not in merged.provenance.source and "pictures" not in merged.provenance.source


def test_removed_pictures_are_gone_and_the_others_as_they_were(copied: Path, whole: Path) -> None:
    gone = {"0001.jpg", "sub/0099.jpg", "0020.jpg"}
    report = remove(copied, ["0001.jpg", "sub/0099.jpg", "0020.jpg", "0001.jpg"])
    old, new = Index.load(whole), Index.load(copied)
    assert len(new) == len(old) - 3 == report.num_items and report.changes == {"removed": 3}
    left = [row for row, item in enumerate(items_of(whole)) if item.id not in gone]
    assert items_of(copied) == [old.item(row) for row in left]
    assert np.array_equal(new.rows, old.rows[left])
    with pytest.raises(InputError, match=r"0001\.jpg"):
        new.item_by_id("0001.jpg")
    assert all(hit.item.id not in gone for hit in new.search(old.rows[:1], len(new)))


def test_an_id_is_found_by_its_letters(tmp_path: Path, tiny_encoder: Encoder) -> None:
    """A Mac writes é as two characters, a keyboard as one; where both are there, each is itself."""
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    for number, name in enumerate((f"{two}.jpg", f"{one} a.jpg", f"{two} a.jpg", "b.jpg")):
        save_picture(tmp_path / "in" / name, number)
    build_index(Folder(tmp_path / "in"), tmp_path / "bundle", tiny_encoder)
    remove(tmp_path / "bundle", [f"{one}.jpg", f"{two} a.jpg"])
    assert [item.id for item in items_of(tmp_path / "bundle")] == ["b.jpg", f"{one} a.jpg"]


def test_removing_what_is_not_there_or_everything_changes_nothing(copied: Path) -> None:
    before = contents_of(copied)
    for ids, message in ((["0001.jpg", "none.jpg"], r"none\.jpg"), ([i.id for i in items_of(copied)], "empty")):
        with pytest.raises(InputError, match=message):
            remove(copied, ids)
        assert contents_of(copied) == before and len(list(copied.parent.iterdir())) == 1


def test_an_update_after_a_removal_brings_the_picture_back(pictures: Path, copied: Path, tiny_encoder: Encoder) -> None:
    remove(copied, ["0002.jpg"])
    report = build_index(Folder(pictures), copied, tiny_encoder, BuildOptions(update=True))
    assert report.num_encoded == 1 and report.changes["added"] == 1


def test_an_export_holds_all_that_the_bundle_does(whole: Path, tmp_path: Path) -> None:
    index = Index.load(whole)
    assert export_parquet(whole, tmp_path / "all.parquet") == len(index)
    table = pq.read_table(tmp_path / "all.parquet")
    items = items_of(whole)
    assert table.column_names == ["id", "caption", "sha256", "height", "number", "width", "vector"]
    assert table["id"].to_pylist() == [item.id for item in items]
    assert table["caption"].to_pylist() == [item.caption for item in items]
    assert table["sha256"].to_pylist() == [item.sha256 for item in items]
    assert table["number"].to_pylist() == [item.columns.get("number") for item in items]
    assert {type(number) for number in table["number"].to_pylist()} == {str, type(None)}
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    assert str(table.schema.field("vector").type.value_type) == "float" and vectors.shape == (len(index), index.dim)
    assert np.array_equal(vectors, index.rows)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_columns_whose_names_are_taken_do_not_clash(tmp_path: Path, tiny_encoder: Encoder) -> None:
    folder = save_pictures(tmp_path / "pictures", 2)
    lines = "file_name,caption,id,vector,sha256,vector_\n0001.jpg,a caption,mine,north,none,both\n"
    (folder / "metadata.csv").write_text(lines, "utf-8")
    build_index(Folder(folder), tmp_path / "bundle", tiny_encoder, BuildOptions(exif=False))
    export_parquet(tmp_path / "bundle", tmp_path / "all.parquet")
    row = pq.ParquetFile(tmp_path / "all.parquet").read().to_pylist()[0]
    columns = {name: text for name, text in row.items() if text in ("mine", "north", "none", "both")}
    assert len(row) == 8 and row["id"] == "0001.jpg" and len(row["vector"]) == tiny_encoder.dim
    assert sorted(columns.values()) == ["both", "mine", "none", "north"]


def test_an_export_that_cannot_be_written_leaves_nothing(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for file in (tmp_path / "none" / "a.parquet", tmp_path / "folder"):
        with pytest.raises(InputError, match="cannot be written"):
            export_parquet(whole, file)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_on_the_command_line(parts: Sequence[Path], whole: Path, tmp_path: Path, run: Run) -> None:
    merged = tmp_path / "merged"
    done = run("merge", parts[1], parts[0], parts[2], "--out", merged)
    assert done.code == 0 and f"{len(Index.load(whole))} pictures" in done.out, done.err
    check_same(merged, whole)
    assert "1/3, 2/3" in run("merge", *parts[:2], "--out", tmp_path / "no").refusal()
    done = run("remove", "--index", merged, "--id", "0001.jpg", "0002.jpg")
    assert done.code == 0 and len(Index.load(merged)) == len(Index.load(whole)) - 2, done.err
    assert "0001.jpg" in run("remove", "--index", merged, "--id", "0001.jpg").refusal()
    done = run("export", "--index", merged, "--parquet", tmp_path / "all.parquet")
    assert done.code == 0, done.err
    assert pq.read_table(tmp_path / "all.parquet").num_rows == len(Index.load(merged))


def test_parts_without_thumbnails_keep_none(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    for number in (1, 2):
        options = BuildOptions(shard_size=40, part=(number, 2), limit=90, thumbnails=False)
        build_index(Folder(pictures), tmp_path / str(number), tiny_encoder, options)
    merge([tmp_path / "2", tmp_path / "1"], tmp_path / "merged")
    options = BuildOptions(shard_size=40, limit=90, thumbnails=False)
    build_index(Folder(pictures), tmp_path / "one", tiny_encoder, options)
    check_same(tmp_path / "merged", tmp_path / "one")
    assert all(item.thumbnail == b"" for item in items_of(tmp_path / "merged"))
