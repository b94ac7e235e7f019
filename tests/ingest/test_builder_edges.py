"""Builds at their edges: another source, another division, places that are odd, reports that are damaged."""

import os
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image

from imgsearch.config import STARTER_BUNDLE, Settings
from imgsearch.errors import BundleError, InputError
from imgsearch.index.bundle import REPORT, check_target, read_report
from imgsearch.index.edit import export_parquet, merge, remove
from imgsearch.index.index import Index
from imgsearch.index.manifest import read_manifest
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from imgsearch.records import BuildReport
from tests.helpers.tiny_bundles import check_same, items_of, save_picture, save_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "pictures", 40)


@pytest.mark.parametrize("change", ["shard size", "limit", "gone", "other folder"])
def test_parts_that_were_not_divided_alike_are_not_merged(
    change: str, pictures: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    build_index(Folder(pictures), tmp_path / "one", tiny_encoder, BuildOptions(shard_size=8, part=(1, 2)))
    options, source = BuildOptions(shard_size=8, part=(2, 2)), pictures
    if change == "shard size":
        options = BuildOptions(shard_size=16, part=(2, 2))
    elif change == "limit":
        options = BuildOptions(shard_size=8, part=(2, 2), limit=30)
    elif change == "gone":
        (pictures / "0001.jpg").unlink()
    else:
        source = save_pictures(tmp_path / "others", 50)
    build_index(Folder(source), tmp_path / "two", tiny_encoder, options)
    with pytest.raises(InputError, match="differ in their source"):
        merge([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_parts_of_a_copy_elsewhere_are_merged(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    copy = Path(shutil.copytree(pictures, tmp_path / "copy"))
    for number, source in ((1, pictures), (2, copy)):
        build_index(Folder(source), tmp_path / str(number), tiny_encoder, BuildOptions(shard_size=8, part=(number, 2)))
    merge([tmp_path / "2", tmp_path / "1"], tmp_path / "both")
    build_index(Folder(pictures), tmp_path / "whole", tiny_encoder)
    assert [item.id for item in items_of(tmp_path / "both")] == [item.id for item in items_of(tmp_path / "whole")]
    provenance = Index.load(tmp_path / "both").provenance
    assert (provenance.part, provenance.division, provenance.source) == ("", "", "")


def test_a_stamp_counts_in_its_own_folder_only(tmp_path: Path, tiny_encoder: Encoder) -> None:
    for name, seed in (("one", 0), ("other", 100)):
        (tmp_path / name).mkdir()
        for number in range(3):  # of equal name, size and time
            picture = Image.open(save_picture(tmp_path / "any.png", seed + number)).convert("RGB")
            picture.save(tmp_path / name / f"{number}.bmp")
            os.utime(tmp_path / name / f"{number}.bmp", (0, 0))
    build_index(Folder(tmp_path / "one"), tmp_path / "bundle", tiny_encoder)
    report = build_index(Folder(tmp_path / "other"), tmp_path / "bundle", tiny_encoder, BuildOptions(update=True))
    assert report.num_encoded == 3 and report.changes["changed"] == 3
    build_index(Folder(tmp_path / "other"), tmp_path / "clean", tiny_encoder)
    check_same(tmp_path / "bundle", tmp_path / "clean")


def test_strict_sees_the_skips_of_earlier_runs(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    (pictures / "0001.jpg").write_text("not a picture")

    def stop(done: int, total: int | None) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, BuildOptions(shard_size=8), stop)
    with pytest.raises(InputError, match=r"0001\.jpg cannot be indexed"):
        build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, BuildOptions(shard_size=8, strict=True))


def test_a_damaged_shard_is_built_again(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    options, steps = BuildOptions(shard_size=8), []

    def stop(done: int, total: int | None) -> None:
        if done == 36:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, options, stop)
    shards = sorted((tmp_path / ".bundle.build").glob("*/*.arrow"))
    assert len(shards) == 4
    shards[1].write_bytes(shards[1].read_bytes()[:-300])
    (shards[0].parent / "000004").mkdir()  # earlier versions wrote a shard as a folder
    report = build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder, options, lambda *step: steps.append(step))
    assert steps[0] == (9, 40) and report.num_items == 40
    assert report.num_encoded == 24  # what was encoded after the damaged shard is taken over
    build_index(Folder(pictures), tmp_path / "whole", tiny_encoder, options)
    check_same(tmp_path / "bundle", tmp_path / "whole")
    assert not (tmp_path / ".bundle.build").exists()


def test_a_bundle_inside_its_source_is_no_skip_of_it(pictures: Path, tiny_encoder: Encoder) -> None:
    bundle = pictures / "index"

    def stop(done: int, total: int | None) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(shard_size=8, strict=True), stop)
    report = build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(shard_size=8, strict=True))
    assert report.num_items == 40 and not report.skipped
    report = build_index(Folder(pictures), bundle, tiny_encoder, BuildOptions(strict=True, update=True))
    assert report.num_encoded == 0 and not report.skipped


@pytest.mark.parametrize(
    "text", ["", "[]", '{"skipped": [], "seconds": null}', '{"skipped": [1]}', '{"skipped": [], "num_items": "x"}']
)
def test_a_damaged_report_is_no_report(text: str, pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder)
    (tmp_path / "bundle" / REPORT).write_text(text)
    assert read_report(tmp_path / "bundle") == BuildReport()
    assert remove(tmp_path / "bundle", ["0001.jpg"]).num_items == 39
    with pytest.raises(InputError, match="no picture"):
        remove(tmp_path / "bundle", ["\udcff"])


def test_an_export_needs_the_name_of_a_file(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder)
    for file in (Path("/"), pictures / "0001.jpg" / "x.parquet", tmp_path / "none" / "x.parquet"):
        with pytest.raises(InputError, match=r"is a folder|cannot be written"):
            export_parquet(tmp_path / "bundle", file)


def test_a_file_system_of_its_own_is_refused_before_the_work() -> None:
    mounted = next((path for path in map(Path, ("/dev/shm", "/run", "/tmp")) if path.is_mount()), None)
    if not mounted or any(mounted.iterdir()):
        pytest.skip("no empty file system is mounted here")
    with pytest.raises(InputError, match="file system of its own"):
        check_target(mounted)


def test_a_manifest_that_is_replaced_all_the_time_is_read(
    pictures: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder)
    index, is_over = Index.load(tmp_path / "bundle"), threading.Event()
    others = [
        Index.from_rows(index.rows, [*items_of(tmp_path / "bundle")][::step], index.provenance) for step in (1, -1)
    ]

    def replace() -> None:
        while not is_over.is_set():
            for other in others:
                other.save(tmp_path / "bundle")

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(500):
            assert read_manifest(tmp_path / "bundle").num_items == 40
    except BundleError as error:
        pytest.fail(str(error))
    finally:
        is_over.set()
        thread.join()


def test_no_collection_and_the_same_one_twice() -> None:
    assert Settings.read({}, {"IMGSEARCH_INDEX": ":"}).index == (STARTER_BUNDLE,)
    assert Settings.read({"index": [Path("a"), Path("a")]}).index == (Path("a"),)


def test_a_jpeg_without_its_end_is_indexed_and_told(pictures: Path, tmp_path: Path, tiny_encoder: Encoder) -> None:
    data = (STARTER_BUNDLE.parents[1] / "examples" / "skimage" / "coffee.jpg").read_bytes()
    (pictures / "cut.jpg").write_bytes(data[:-300])
    report = build_index(Folder(pictures), tmp_path / "bundle", tiny_encoder)
    assert report.num_items == 41 and "cut.jpg" in {item.id for item in items_of(tmp_path / "bundle")}
    [skip] = report.skipped
    assert (skip.picture, skip.is_note) == ("cut.jpg", True) and "its end is missing" in skip.reason
