"""The index against brute force, and bundles: whole, damaged, foreign."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imgsearch.errors import BundleError, InputError
from imgsearch.index import Index
from imgsearch.manifest import Card, read_manifest
from imgsearch.records import Item
from imgsearch.vectors import Embeddings, normalize


def make_rows(num_rows: int, dim: int = 32) -> Embeddings:
    return normalize(np.random.default_rng(0).normal(size=(num_rows, dim)))


def make_index(rows: Embeddings) -> Index:
    items = [Item(f"{i}.jpg", f"caption {i}", {"n": str(i)}, "0" * 64, b"webp") for i in range(len(rows))]
    return Index.from_rows(rows, items, Card(encoder="test/encoder", source=str(Path("pictures").resolve())))


def test_search_equals_brute_force() -> None:
    rows = make_rows(500)
    index = make_index(rows)
    for query in make_rows(20):
        expected = np.sort(rows @ query)[::-1][:10]
        hits = index.search(query[None], 10)
        assert [hit.rank for hit in hits] == list(range(1, 11))
        assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), abs=2e-3)
        for hit in hits:
            assert hit.score == pytest.approx(float(rows[int(hit.item.columns["n"])] @ query), abs=2e-3)


def test_k_is_held_to_the_collection() -> None:
    rows = make_rows(5)
    index = make_index(rows)
    assert len(index.search(rows[:1], 100)) == 5
    with pytest.raises(ValueError, match="at least 1"):
        index.search(rows[:1], 0)


def test_wrong_dimension_names_both() -> None:
    with pytest.raises(ValueError, match=r"\(1, 8\).*32"):
        make_index(make_rows(3)).search(make_rows(1, dim=8), 1)


def test_rows_that_are_not_unit_are_refused() -> None:
    with pytest.raises(ValueError, match="unit"):
        make_index(make_rows(3) * np.float32(2))


def test_a_saved_bundle_answers_the_same(tmp_path: Path) -> None:
    rows = make_rows(50)
    index = make_index(rows)
    index.save(tmp_path / "bundle")
    loaded = Index.load(tmp_path / "bundle")
    assert loaded.search(rows[:1], 9) == index.search(rows[:1], 9)
    assert loaded.find("7.jpg") == index.item(7) == loaded.item(7)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with pytest.raises(InputError, match="no picture"):
        loaded.find("none.jpg")


def test_save_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    make_index(make_rows(3)).save(tmp_path / "bundle")
    make_index(make_rows(4)).save(tmp_path / "bundle")
    assert len(Index.load(tmp_path / "bundle")) == 4
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "a.jpg").write_bytes(b"mine")
    for manifest in (None, b"{}", (tmp_path / "bundle" / "manifest.json").read_bytes()):
        if manifest:
            (precious / "manifest.json").write_bytes(manifest)
        with pytest.raises(InputError, match="not a bundle"):
            make_index(make_rows(3)).save(precious)
        assert (precious / "a.jpg").read_bytes() == b"mine"


def test_save_follows_a_link_and_says_what_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    make_index(make_rows(3)).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and len(Index.load(tmp_path / "real")) == 3
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file" / "bundle", Path("/proc/bundle")):
        with pytest.raises(InputError, match="cannot be written"):
            make_index(make_rows(3)).save(target)


def test_one_flipped_byte_in_any_file_is_found(copy_bundle: Callable[[], Path]) -> None:
    bundle = copy_bundle()
    for path in sorted(bundle.iterdir()):
        whole = path.read_bytes()
        for position in {0, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
            for mask in (0x01, 0x20, 0xFF):
                damaged = bytearray(whole)
                damaged[position] ^= mask
                path.write_bytes(damaged)
                with pytest.raises(BundleError, match="damaged|newer|format"):
                    Index.load(bundle)
        path.write_bytes(whole)
    assert len(Index.load(bundle)) > 0


def test_a_bundle_with_a_file_missing_or_cut_is_refused(copy_bundle: Callable[[], Path]) -> None:
    for name in ("vectors.faiss", "items.arrow", "manifest.json"):
        cut, gone = copy_bundle(), copy_bundle()
        (cut / name).write_bytes((cut / name).read_bytes()[:-1])
        (gone / name).unlink()
        for bundle in (cut, gone):
            with pytest.raises(BundleError):
                Index.load(bundle)


def test_a_newer_format_is_named(copy_bundle: Callable[[], Path]) -> None:
    bundle = copy_bundle()
    fields = json.loads((bundle / "manifest.json").read_text("utf-8"))
    (bundle / "manifest.json").write_text(json.dumps(fields | {"format_version": 99, "more": 1}), "utf-8")
    with pytest.raises(BundleError, match=r"format 99.*up to 3"):
        Index.load(bundle)


def test_a_missing_bundle_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="imgsearch build"):
        Index.load(tmp_path / "none")


def test_the_starter_bundle_names_its_encoder_and_no_path(starter_bundle: Path) -> None:
    manifest = read_manifest(starter_bundle)
    assert manifest.encoder.startswith("starter/")
    assert manifest.source == "../../examples"
