"""The folder of a bundle: what a killed writer left, what is not ours, and what `info --verify` finds."""

import shutil
from pathlib import Path

import pytest

from imgsearch.errors import BundleError, InputError
from imgsearch.index.bundle import bundle_writer, check_target, is_bundle
from imgsearch.index.index import Index
from imgsearch.index.manifest import check_digests, read_manifest
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.models.encoder import Encoder
from tests.helpers.commands import Run
from tests.helpers.tiny_bundles import check_same, contents_of, save_pictures


@pytest.fixture
def bundle(tmp_path: Path, tiny_encoder: Encoder) -> Path:
    build_index(Folder(save_pictures(tmp_path / "pictures", 10)), tmp_path / "bundle", tiny_encoder)
    return tmp_path / "bundle"


def test_what_a_killed_install_left_is_ignored_and_cleaned_up(bundle: Path, tiny_encoder: Encoder) -> None:
    shutil.copytree(bundle, bundle.with_name("before"))
    for name in ("vectors-0123456789abcdef.faiss", "items-0123456789abcdef.arrow"):
        (bundle / name).write_bytes(b"half of it")
    check_same(bundle, bundle.with_name("before"))
    assert is_bundle(bundle)  # also inside a folder of pictures
    build_index(Folder(bundle.with_name("pictures")), bundle, tiny_encoder)
    assert contents_of(bundle).keys() == contents_of(bundle.with_name("before")).keys()
    check_same(bundle, bundle.with_name("before"))


def test_data_files_without_a_manifest_are_no_bundle_but_may_be_replaced(
    bundle: Path, tmp_path: Path, tiny_encoder: Encoder
) -> None:
    """A first build that was killed between its files and the manifest."""
    killed = Path(shutil.copytree(bundle, tmp_path / "killed"))
    (killed / "manifest.json").unlink()
    with pytest.raises(BundleError, match="no bundle"):
        Index.load(killed)
    build_index(Folder(tmp_path / "pictures"), killed, tiny_encoder)
    check_same(killed, bundle)


@pytest.mark.parametrize("name", ["notes.txt", "vectors.faiss", "vectors-0123.faiss", "items-0123456789abcdef.txt"])
def test_a_foreign_file_is_never_overwritten(name: str, bundle: Path, tiny_encoder: Encoder) -> None:
    (bundle / name).write_bytes(b"mine")
    before = contents_of(bundle)
    with pytest.raises(InputError, match="not a bundle"):
        build_index(Folder(bundle.with_name("pictures")), bundle, tiny_encoder)
    with pytest.raises(InputError, match="not a bundle"):
        check_target(bundle)
    assert contents_of(bundle) == before
    assert not bundle.with_name(".bundle.build").exists()


def test_one_writer_at_a_time_and_its_work_stays_for_the_next(tmp_path: Path) -> None:
    with bundle_writer(tmp_path / "bundle") as work:
        with pytest.raises(InputError, match="another process"), bundle_writer(tmp_path / "bundle"):
            pass
        with bundle_writer(tmp_path / "other"):
            (work / "half").write_text("done")
    with bundle_writer(tmp_path / "bundle") as work:
        assert (work / "half").read_text() == "done"
        (work / "half").unlink()
    assert not list(tmp_path.iterdir())


def test_large_files_are_hashed_only_when_asked(bundle: Path, run: Run) -> None:
    manifest = read_manifest(bundle)
    for name, digest in manifest.files.items():
        whole = (bundle / name).read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        (bundle / name).write_bytes(damaged)
        with pytest.raises(BundleError, match=f"damaged: {name}"):
            check_digests(bundle, manifest, digest.num_bytes)
        check_digests(bundle, manifest, min(entry.num_bytes for entry in manifest.files.values()) - 1)
        assert name in run("info", "--verify", "--index", bundle).refusal()
        (bundle / name).write_bytes(whole)
        check_digests(bundle, manifest)
    assert run("info", "--verify", "--index", bundle).code == 0
