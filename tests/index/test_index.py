"""The index against brute force, and bundles: whole, damaged, foreign."""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from imgsearch.embeddings import Embeddings, normalize
from imgsearch.errors import BundleError, InputError
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.index import Index, filter_blocks, write_bundle
from imgsearch.index.items import Mask
from imgsearch.index.manifest import Provenance, read_manifest
from imgsearch.records import Item
from tests.helpers.tables import as_kind


def make_rows(num_rows: int, dim: int = 32) -> Embeddings:
    return normalize(np.random.default_rng(0).normal(size=(num_rows, dim)))


def make_index(rows: Embeddings, vectors: str = "float16") -> Index:
    items = [Item(f"{i}.jpg", f"caption {i}", {"n": str(i)}, "0" * 64, b"webp") for i in range(len(rows))]
    provenance = Provenance(encoder="test/encoder", vectors=vectors, source=str(Path("pictures").resolve()))
    return Index.from_rows(rows, items, provenance)


def make_masks(scores: Embeddings) -> dict[str, Mask | None]:
    """Filters over items with these scores."""
    rng, number, places = np.random.default_rng(1), len(scores), np.arange(len(scores))
    ranks = np.argsort(np.argsort(-scores))
    return {
        "none given": None,
        "all": np.ones(number, np.bool_),
        "nothing": np.zeros(number, np.bool_),
        "one": places == 77,
        **{f"random {share}": rng.random(number) < share for share in (0.001, 0.1, 0.5, 0.9)},
        "runs": places // 64 % 2 == 0,
        "every other": places % 2 == 0,
        "without the 1,000 best": ranks >= 1000,
        "the worse half": ranks >= number // 2,
        "the 20 worst": ranks >= number - 20,
    }


def searched_files(bundle: Path) -> list[Path]:
    """The files that a bundle cannot do without."""
    return [bundle / name for name in ("manifest.json", *read_manifest(bundle).files)]


def check_page(index: Index, rows: Embeddings, query: Embeddings, k: int, start: int, kept: Mask | None) -> None:
    """A page of hits is what sorting all scores gives."""
    hits = index.search(query[None], start + k, mask=kept)[start:]
    scores, places = rows @ query, np.arange(len(rows))
    allowed = places if kept is None else places[kept]
    expected = np.sort(scores[allowed])[::-1][start : start + k]
    assert [hit.rank for hit in hits] == list(range(start + 1, start + 1 + len(expected)))
    assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), abs=1e-6)
    assert [hit.score for hit in hits] == pytest.approx(scores[[hit.row for hit in hits]].tolist(), abs=1e-6)
    assert [hit.item.id for hit in hits] == [f"{hit.row}.jpg" for hit in hits]
    found = {hit.row for hit in hits}
    assert len(found) == len(hits) and found <= set(allowed.tolist())


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_search_equals_brute_force(kind: str, tmp_path: Path) -> None:
    rows = make_rows(500)
    index = as_kind(kind, make_index(rows), tmp_path)
    for query in make_rows(20):
        expected = np.sort(rows @ query)[::-1][:10]
        hits = index.search(query[None], 10)
        assert [hit.rank for hit in hits] == list(range(1, 11))
        assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), abs=2e-3)
        for hit in hits:
            assert hit.score == pytest.approx(float(rows[int(hit.item.columns["n"])] @ query), abs=2e-3)


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_k_is_held_to_the_collection(kind: str, tmp_path: Path) -> None:
    rows = make_rows(5)
    index = as_kind(kind, make_index(rows), tmp_path)
    assert len(index.search(rows[:1], 100)) == 5
    with pytest.raises(ValueError, match="at least 1"):
        index.search(rows[:1], 0)


@pytest.mark.parametrize("kind", ["float16", "float32", "merged"])
def test_filters_and_pages_equal_brute_force(kind: str, tmp_path: Path) -> None:
    index = make_index(make_rows(5000, 16), "float32" if kind == "float32" else "float16")
    if kind == "merged":
        whole, masks = index, [np.arange(5000) // 1700 == number for number in range(3)]
        pieces = chain.from_iterable(filter_blocks(whole.blocks(), mask) for mask in masks)
        with bundle_writer(tmp_path / "bundle") as work:
            write_bundle(tmp_path / "bundle", work, pieces, whole.provenance)
        index = Index.load(tmp_path / "bundle")
    for query in make_rows(3, 16):
        for kept in make_masks(index.rows @ query).values():
            for k, start in ((1, 0), (12, 0), (50, 13), (700, 0), (12, 2490), (12, 4993), (12, 6000), (9000, 4500)):
                check_page(index, index.rows, query, k, start, kept)


def test_pages_of_a_table_equal_brute_force(tmp_path: Path) -> None:
    index = as_kind("table", make_index(make_rows(4000, 16)), tmp_path)
    for query in make_rows(3, 16):
        for k, start in ((1, 0), (12, 0), (50, 13), (700, 0), (12, 2490), (12, 3993), (12, 6000), (9000, 3500)):
            check_page(index, index.rows, query, k, start, None)


def test_items_of_equal_score_stand_by_row_in_a_table(tmp_path: Path) -> None:
    rows = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, 1000)]
    index, query = as_kind("table", make_index(rows), tmp_path), np.array([[0.5, 0.5, 0.1, 0.7]], np.float32)
    pages = [index.nearest(query, start + 50)[1][start:].tolist() for start in range(0, 1000, 50)]
    assert [row for page in pages for row in page] == np.lexsort((np.arange(1000), -(rows @ query[0]))).tolist()


@pytest.mark.parametrize("vectors", ["float16", "float32"])
def test_items_of_equal_score_stand_by_row_on_every_page(vectors: str) -> None:
    directions = np.random.default_rng(0).integers(0, 4, 3000)
    directions[np.random.default_rng(1).random(3000) < 0.7] = 0
    rows = np.eye(4, dtype=np.float32)[directions]
    index = make_index(rows, vectors)
    query = np.array([[0.5, 0.5, 0.1, 0.7]], np.float32)
    for kept in make_masks(rows @ query[0]).values():
        allowed = np.arange(3000) if kept is None else np.flatnonzero(kept)
        expected = allowed[np.lexsort((allowed, -(rows @ query[0])[allowed]))].tolist()
        pages = [index.nearest(query, start + 50, kept)[1][start:].tolist() for start in range(0, 3000, 50)]
        assert [row for page in pages for row in page] == expected


def test_a_mask_of_another_kind_is_refused() -> None:
    rows = make_rows(5)
    index = make_index(rows)
    for kept in (np.ones(4, np.bool_), np.ones(5, np.uint8)):
        with pytest.raises(ValueError, match="mask"):
            index.search(rows[:1], 1, mask=kept)


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_rows_are_told_in_the_order_asked_for(kind: str, tmp_path: Path) -> None:
    index = as_kind(kind, make_index(make_rows(20)), tmp_path)
    assert np.array_equal(index.rows_of([7, 3, 3]), index.rows[[7, 3, 3]])
    assert index.rows_of([]).shape == (0, 32)
    assert [index.items.row_of(f"{row}.jpg") for row in (0, 19)] == [0, 19]


def test_figures_are_no_words() -> None:
    columns = {"width": "4032", "height": "3024", "subject": "owls", "taken": "2019-05-04T12:30:00", "camera": "EOS"}
    items = [Item("a.jpg", "a bird", columns, "0" * 64, b""), Item("b.jpg", "", {"width": "1"}, "0" * 64, b"")]
    index = Index.from_rows(make_rows(2), items, Provenance(encoder="test/encoder"))
    assert [text.split() for text in index.texts()] == [["a", "bird", "owls", "EOS"], []]


@pytest.mark.parametrize("kind", ["bundle", "table"])
def test_wrong_dimension_names_both(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(1, 8\).*32"):
        as_kind(kind, make_index(make_rows(3)), tmp_path).search(make_rows(1, dim=8), 1)


def test_rows_that_are_not_unit_are_refused() -> None:
    with pytest.raises(ValueError, match="unit"):
        make_index(make_rows(3) * np.float32(2))


def test_a_saved_bundle_answers_the_same(tmp_path: Path) -> None:
    rows = make_rows(50)
    index = make_index(rows)
    index.save(tmp_path / "bundle")
    loaded = Index.load(tmp_path / "bundle")
    assert loaded.search(rows[:1], 9) == index.search(rows[:1], 9)
    assert loaded.item_by_id("7.jpg") == index.item(7) == loaded.item(7)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with pytest.raises(InputError, match="no picture"):
        loaded.item_by_id("none.jpg")


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
    for path in searched_files(bundle):
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
    for name in [path.name for path in searched_files(copy_bundle())]:
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
    with pytest.raises(BundleError, match=r"format 99.*up to 4"):
        Index.load(bundle)


def test_a_missing_bundle_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="imgsearch build"):
        Index.load(tmp_path / "none")


def test_the_starter_bundle_names_its_encoder_and_no_path(starter_bundle: Path) -> None:
    manifest = read_manifest(starter_bundle)
    assert manifest.encoder.startswith("starter/")
    assert manifest.source == "../../examples"
