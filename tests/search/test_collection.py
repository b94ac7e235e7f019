"""Calibration and map of a bundle: worked out once, kept in it or beside it, and never believed blindly."""

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from imgsearch.cli.main import main
from imgsearch.config import ROOT, STARTER_BUNDLE
from imgsearch.engine import Engine
from imgsearch.files import digest_file
from imgsearch.index.bundle import bundle_writer, install_files
from imgsearch.index.edit import merge, remove
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance, read_manifest
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.models.encoder import Encoder
from imgsearch.search.calibration import Calibration
from imgsearch.search.collection import DerivedData, add_derived_data, open_collection
from imgsearch.search.projection import Projection
from imgsearch.search.thresholds import ScoreThresholds
from imgsearch.search.words import WordIndex
from tests.helpers.tiny_bundles import contents_of, derived_of

KINDS = ("atlas-", "calibration-", "items-", "vectors-", "words-")
MADE_UP = Calibration(text=ScoreThresholds(0.1, 0.2), image=ScoreThresholds(0.3, 0.4), near_duplicate=0.9)
SUFFIXES = {"atlas": "npz", "calibration": "json", "words": "db"}
Reference = Callable[[], Index]


@pytest.fixture(scope="module")
def built(six_photos: Path, tiny_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, as an older version leaves them: without calibration and map."""
    bundle = tmp_path_factory.mktemp("built") / "bundle"
    build_index(Folder(six_photos), bundle, tiny_encoder)
    return bundle


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def reference(tiny_encoder: Encoder) -> Reference:
    index = open_collection(STARTER_BUNDLE, tiny_encoder, lambda done, total: None)
    return lambda: index


def no_reference() -> Index:
    raise AssertionError("this was worked out before")


def measured(bundle: Path, index: Index, encoder: Encoder, reference: Reference = no_reference) -> Calibration | None:
    """The calibration that a search in the bundle has."""
    derived = DerivedData(bundle, index, encoder, reference)
    derived.calibrate()
    return derived.calibration


def kinds_of(bundle: Path) -> list[str]:
    return sorted(name.partition("-")[0] + "-" for name in read_manifest(bundle).files)


def put(bundle: Path, **texts: bytes) -> None:
    """Make these files part of the bundle, with the right digests."""
    with bundle_writer(bundle) as work:
        files = []
        for name, data in texts.items():
            files.append(work / f"{name}.{SUFFIXES[name]}")
            files[-1].write_bytes(data)
        install_files(files, bundle, read_manifest(bundle), None)


def as_json(calibration: Calibration, **changes: object) -> bytes:
    return json.dumps(json.loads(calibration.to_bytes()) | changes).encode()


def stamps(folder: Path) -> Mapping[str, int]:
    """When each file was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_bundle_is_completed_once(bundle: Path, tiny_encoder: Encoder, reference: Reference) -> None:
    before = contents_of(bundle)
    assert kinds_of(bundle) == ["items-", "vectors-"]
    add_derived_data(bundle, tiny_encoder, reference)
    after = contents_of(bundle)
    assert kinds_of(bundle) == [*KINDS] and len(after) == len(before) + 3
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    old, new = json.loads(before["manifest.json"]), json.loads(after["manifest.json"])
    assert {**old, "files": 0, "digest": 0} == {**new, "files": 0, "digest": 0}
    index = Index.load(bundle)
    assert derived_of(bundle, index).calibration == measured(bundle, index, tiny_encoder)
    assert len(derived_of(bundle, index).projection()) == len(index)
    assert not bundle.with_name(".bundle.build").exists()
    written = stamps(bundle)
    add_derived_data(bundle, tiny_encoder, no_reference)
    assert stamps(bundle) == written


def test_what_is_worked_out_on_first_use_is_kept_in_the_cache(
    six_photos: Path, tmp_path: Path, encoder: Encoder, empty_cache: Path
) -> None:
    bundle = tmp_path / "bundle"
    build_index(Folder(six_photos), bundle, encoder)
    before = contents_of(bundle)
    answer = Engine.open(bundle, "starter").search("a cup of coffee", 3)
    assert answer.bounds and answer.hits[0].strength
    kept = [name for name in stamps(empty_cache) if name.startswith("calibration-")]
    assert len(kept) == 1 and contents_of(bundle) == before
    written = stamps(empty_cache)
    again = Engine.open(bundle, "starter")
    assert again.search("a cup of coffee", 3).bounds == answer.bounds
    assert stamps(empty_cache) == written
    drawn = again.searcher.derived.projection()
    points = [name for name in stamps(empty_cache) if name.startswith("atlas-")]
    assert len(points) == 1
    written = stamps(empty_cache)
    # A copy elsewhere holds the same pictures by the same encoder.
    copy = Engine.open(Path(shutil.copytree(bundle, bundle.with_name("copy"))), "starter")
    assert copy.search("a cup of coffee", 3).bounds == answer.bounds
    assert np.array_equal(copy.searcher.derived.projection().points, drawn.points)
    assert stamps(empty_cache) == written


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"\xff" * 100, b"[" * 200_000, b"9" * 10_000])
def test_a_damaged_file_in_the_cache_is_worked_out_anew(
    data: bytes, bundle: Path, empty_cache: Path, tiny_encoder: Encoder
) -> None:
    index = Index.load(bundle)
    drawn = derived_of(bundle, index).projection()
    (points,) = empty_cache.glob("atlas-*")
    whole = points.read_bytes()
    points.write_bytes(data)
    assert np.array_equal(derived_of(bundle, index).projection().points, drawn.points)
    assert points.read_bytes() == whole
    bounds = empty_cache / points.name.replace("atlas", "calibration").replace(".npz", ".json")
    bounds.write_bytes(as_json(MADE_UP))
    assert measured(bundle, index, tiny_encoder) == MADE_UP
    bounds.write_bytes(data)
    assert derived_of(bundle, index).calibration is None


def test_a_damaged_calibration_in_the_cache_is_measured_anew(
    bundle: Path, empty_cache: Path, tiny_encoder: Encoder, reference: Reference
) -> None:
    index = Index.load(bundle)
    derived_of(bundle, index).projection()
    (points,) = empty_cache.glob("atlas-*")
    file = empty_cache / points.name.replace("atlas", "calibration").replace(".npz", ".json")
    file.write_bytes(as_json(MADE_UP)[:-20])
    made = measured(bundle, index, tiny_encoder, reference)
    assert made and file.read_bytes() == made.to_bytes()
    assert measured(bundle, index, tiny_encoder) == made


def test_a_cache_that_cannot_be_written_is_done_without(
    bundle: Path, tiny_encoder: Encoder, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    index = Index.load(bundle)
    assert derived_of(bundle, index).calibration is None
    assert len(derived_of(bundle, index).projection()) == len(index)
    assert measured(bundle, index, tiny_encoder, reference)


def test_a_bundle_that_is_replaced_meanwhile_is_left_alone(
    folder: Path, bundle: Path, tiny_encoder: Encoder, reference: Reference
) -> None:
    def replaced() -> Index:
        remove(bundle, ["coffee.jpg"])
        return reference()

    add_derived_data(bundle, tiny_encoder, replaced)
    assert kinds_of(bundle) == ["items-", "vectors-"] and len(Index.load(bundle)) == 5
    assert not list(bundle.with_name(".bundle.build").glob("*/*"))


def test_the_cache_keeps_what_belongs_to_the_bundle_that_was_opened(
    folder: Path, bundle: Path, empty_cache: Path, tiny_encoder: Encoder
) -> None:
    """Though another one, of as many pictures, takes its place meanwhile."""
    index = Index.load(bundle)
    (folder / "coffee.jpg").write_bytes((folder / "household-key.jpg").read_bytes())
    build_index(Folder(folder), bundle, tiny_encoder)
    old, new = derived_of(bundle, index).projection(), derived_of(bundle, Index.load(bundle)).projection()
    assert not np.array_equal(old.points, new.points)
    assert len(list(empty_cache.glob("atlas-*"))) == 2


def test_a_hostile_calibration_is_measured_anew(
    bundle: Path, empty_cache: Path, tiny_encoder: Encoder, reference: Reference
) -> None:
    put(bundle, calibration=as_json(MADE_UP, text={"fair": float("nan"), "strong": 0.5}))
    index = Index.load(bundle)
    assert derived_of(bundle, index).calibration is None
    made = measured(bundle, index, tiny_encoder, reference)
    assert made and made != MADE_UP
    assert measured(bundle, index, tiny_encoder) == made  # from the cache


def atlas_bytes(rows: object, points: object, clusters: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, rows=np.asarray(rows), points=np.asarray(points), clusters=np.asarray(clusters))
    return buffer.getvalue()


POINTS, CLUSTERS = np.zeros((6, 2), np.uint16), np.zeros(6, np.uint8)
HOSTILE_ATLASES = {
    "beyond the last row": atlas_bytes([0, 1, 2, 3, 4, 6], POINTS, CLUSTERS),
    "before the first row": atlas_bytes([-1, 1, 2, 3, 4, 5], POINTS, CLUSTERS),
    "a row twice": atlas_bytes([0, 1, 2, 3, 5, 5], POINTS, CLUSTERS),
    "a cluster too many": atlas_bytes(np.arange(6), POINTS, CLUSTERS + 200),
    "points that are none": atlas_bytes(np.arange(6), np.full((6, 2), np.nan), CLUSTERS),
    "a point too few": atlas_bytes(np.arange(6), POINTS[:5], CLUSTERS),
    "objects": atlas_bytes(np.array([print] * 6, dtype=object), POINTS, CLUSTERS),
    "no archive": b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", HOSTILE_ATLASES)
def test_a_hostile_atlas_is_refused_and_drawn_anew(name: str, bundle: Path, empty_cache: Path) -> None:
    put(bundle, atlas=HOSTILE_ATLASES[name])
    index = Index.load(bundle)
    drawn = derived_of(bundle, index).projection()
    assert drawn.rows.tolist() == list(range(6)) and len(np.unique(drawn.points, axis=0)) == 6
    (file,) = empty_cache.glob("atlas-*")
    assert np.array_equal(Projection.from_bytes(file.read_bytes(), 6).points, drawn.points)


def test_what_is_kept_in_the_bundle_comes_first(bundle: Path, empty_cache: Path, tiny_encoder: Encoder) -> None:
    put(bundle, calibration=as_json(MADE_UP), atlas=atlas_bytes(np.arange(6), POINTS, CLUSTERS))
    index = Index.load(bundle)
    assert measured(bundle, index, tiny_encoder) == MADE_UP
    assert not derived_of(bundle, index).projection().points.any() and not [*empty_cache.glob("*")]
    # For vectors by another encoder it says nothing.
    others = Index.from_rows(index.rows, [index.item(row) for row in range(6)], Provenance(encoder="other"))
    assert derived_of(bundle, others).calibration is None


def test_what_is_taken_out_or_put_together_leaves_nothing_stale(bundle: Path, tmp_path: Path) -> None:
    words = WordIndex.of(Index.load(bundle)).to_bytes()
    put(bundle, calibration=as_json(MADE_UP), atlas=atlas_bytes(np.arange(6), POINTS, CLUSTERS), words=words)
    assert kinds_of(bundle) == [*KINDS]
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    remove(bundle, ["coffee.jpg", "household-key.jpg"])
    remove(other, [id for id in Index.load(other).column("id") if id not in ("coffee.jpg", "household-key.jpg")])
    merge([bundle, other], tmp_path / "merged")
    for path, number in ((bundle, 4), (other, 2), (tmp_path / "merged", 6)):
        assert kinds_of(path) == ["items-", "vectors-"]
        assert set(contents_of(path)) == {"manifest.json", "report.json", *read_manifest(path).files}
        index = Index.load(path)
        assert len(index) == number and derived_of(path, index).calibration is None
        assert len(derived_of(path, index).projection()) == number
        assert len(derived_of(path, index).words().shares("coffee")) == number


def check_complete(bundle: Path) -> None:
    """All files are there, whole, and for these items."""
    assert kinds_of(bundle) == [*KINDS]
    index = Index.load(bundle)
    assert derived_of(bundle, index).calibration
    for name, digest in read_manifest(bundle).files.items():
        assert digest_file(bundle / name) == digest
    (points,) = bundle.glob("atlas-*")
    assert len(Projection.from_bytes(points.read_bytes(), len(index))) == len(index)
    assert not bundle.with_name(f".{bundle.name}.build").exists()


def build_command(folder: Path, bundle: Path, tiny: Path, *flags: str) -> list[str]:
    encoder = ("--encoder", f"local-dir:{tiny}/clip", "--precision", "float32")
    return ["build", str(folder), "--out", str(bundle), *encoder, *flags]


def test_the_commands_leave_a_complete_bundle(
    folder: Path, tmp_path: Path, tiny: Path, reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    assert main(build_command(folder, bundle, tiny)) == 0
    assert "calibrated" in capsys.readouterr().err
    check_complete(bundle)
    before = contents_of(bundle)
    (folder / "coffee.jpg").unlink()
    assert main(build_command(folder, bundle, tiny, "--update")) == 0
    check_complete(bundle)
    assert not {name for name in before if name.startswith(("atlas-", "items-"))} & set(contents_of(bundle))
    capsys.readouterr()
    for part in ("1/2", "2/2"):
        assert main(build_command(folder, tmp_path / part[0], tiny, "--shard", part, "--shard-size", "2")) == 0
        assert "calibrated" not in capsys.readouterr().err
        assert kinds_of(tmp_path / part[0]) == ["items-", "vectors-"]
    assert main(["info", "--index", str(bundle), "--verify"]) == 0
    assert "calibration-" in capsys.readouterr().out


def is_under_way(bundle: Path) -> bool:
    return bool(list(bundle.glob("manifest.json")))


def has_files(bundle: Path) -> bool:
    return bool(list(bundle.with_name(".bundle.build").glob("new/cal*")) or list(bundle.glob("calibration-*")))


@pytest.mark.parametrize("moment", [is_under_way, has_files])
def test_a_build_that_is_killed_leaves_a_bundle(
    moment: Callable[[Path], bool],
    six_photos: Path,
    built: Path,
    tmp_path: Path,
    tiny: Path,
    tiny_encoder: Encoder,
    reference: Reference,
) -> None:
    bundle = tmp_path / "bundle"
    command = [sys.executable, "-m", "imgsearch", *build_command(six_photos, bundle, tiny)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not moment(bundle):
        assert process.poll() is None, "the build ended before it was killed"
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert len(Index.load(bundle)) == 6
    add_derived_data(bundle, tiny_encoder, reference)
    old, new = (read_manifest(path).files for path in (built, bundle))
    assert old.items() <= new.items() and kinds_of(bundle) == [*KINDS]
    assert derived_of(bundle, Index.load(bundle)).calibration


def test_calibration_is_measured_once_even_if_it_fails(bundle: Path, empty_cache: Path, tiny_encoder: Encoder) -> None:
    tries: list[int] = []

    def fail() -> Index:
        tries.append(1)
        raise OSError("no example photos")

    derived = DerivedData(bundle, Index.load(bundle), tiny_encoder, fail)
    derived.calibrate()
    derived.calibrate()
    assert len(tries) == 1 and derived.calibration is None and not [*empty_cache.glob("*")]


def test_nothing_is_measured_for_an_empty_bundle(tmp_path: Path, tiny_encoder: Encoder) -> None:
    Index.from_rows(np.zeros((0, 4), np.float32), [], Provenance(encoder="none")).save(tmp_path / "empty")
    add_derived_data(tmp_path / "empty", tiny_encoder, no_reference)
    assert measured(tmp_path / "empty", Index.load(tmp_path / "empty"), tiny_encoder) is None
    assert len(derived_of(tmp_path / "empty", Index.load(tmp_path / "empty")).projection()) == 0
