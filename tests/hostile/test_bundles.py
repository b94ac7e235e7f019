"""Someone else's bundles: bounded, verified, no pickle, no code, and their paths stay inside them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgsearch.cli.main import main
from imgsearch.config import ROOT
from imgsearch.embeddings import normalize
from imgsearch.engine import Engine
from imgsearch.errors import BundleError, ImgsearchError
from imgsearch.index.bundle import read_report
from imgsearch.index.edit import export_parquet
from imgsearch.index.index import Index
from imgsearch.index.items import MAX_ITEM
from imgsearch.index.manifest import read_manifest
from imgsearch.models.encoder import Encoder
from imgsearch.records import BuildReport
from imgsearch.search.calibration import calibrate
from imgsearch.search.collection import ATLAS
from imgsearch.search.words import WordIndex
from tests.helpers.hostile_bundles import (
    CALIBRATIONS,
    HOSTILE,
    MAPS,
    NUM_ITEMS,
    TRAP,
    WORDS,
    Hostile,
    frame,
    save_sound,
    sealed,
    values_of,
)
from tests.helpers.tiny_bundles import derived_of

LIMIT_S = 60  # nothing here takes a tenth of it; what reads a pipe never ends
MAX_GROWTH_KB = 200_000
TEXT = "an owl"


@pytest.fixture(scope="module")
def sound(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sound(starter_bundle, tmp_path_factory.mktemp("sound") / "bundle")


@pytest.fixture
def make(sound: Path, tmp_path: Path) -> Callable[[Hostile], Path]:
    """Makes a hostile bundle."""

    def make(hostile: Hostile) -> Path:
        bundle = Path(shutil.copytree(sound, tmp_path / "bundle"))
        hostile.make(bundle)
        return bundle

    return make


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def end(number: int, frame: Any) -> None:
        raise TimeoutError(f"after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def no_trap() -> Iterator[None]:
    """Nothing is unpickled."""
    yield
    assert not TRAP.exists()


def status(name: str) -> int:
    """What /proc/self/status says, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def growth(call: Callable[[], object]) -> int:
    """By how many kB the memory of this process is larger than before, at its peak in a call."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what it is now
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, list[str]]:
    """The command line: its exit code, what it prints, and the lines on stderr."""
    code = main([*arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err.splitlines()


def check_refused(code: int, said: list[str]) -> None:
    """One plain sentence, with the next step, and exit code 2."""
    assert code == 2 and len(said) == 1, said
    assert said[0].startswith("imgsearch: ") and len(said[0]) < 1000 and said[0].isprintable()
    steps = ("Build it again.", "Build its bundle again.", "Build one: ", "Make it again.")
    assert any(step in said[0] for step in steps)


def check_said(code: int, printed: str, said: list[str]) -> None:
    if code:
        check_refused(code, said)
    assert bool(code) != bool(printed) and all(line.isprintable() for line in printed.splitlines())


def test_there_are_many_and_no_two_of_a_name() -> None:
    names = [hostile.name for hostile in [*HOSTILE, *MAPS, *CALIBRATIONS]]
    assert len(names) == len(set(names)) >= 60


def test_the_sound_bundle_that_they_are_made_of_is_searched(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, said = run("search", TEXT, "--index", str(sound), "--json", capsys=capsys)
    assert code == 0 and len(json.loads(printed)["hits"]) == 12 and not said
    assert Index.load(sound).item(0).thumbnail and derived_of(sound, Index.load(sound)).calibration


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_bundle_is_refused_in_a_sentence_or_searched(
    hostile: Hostile, make: Callable[[Hostile], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make(hostile)

    def load() -> None:
        if hostile.fate == "refused":
            with pytest.raises(BundleError):
                Index.load(bundle)
        else:
            assert len(Index.load(bundle)) == NUM_ITEMS

    assert growth(load) < MAX_GROWTH_KB
    code, printed, said = run("search", TEXT, "--index", str(bundle), capsys=capsys)
    assert (code == 0) == (hostile.fate == "searched")
    check_said(code, printed, said)
    for command in (["info"], ["info", "--verify"]):  # these do not look into files whose digests fit
        code, printed, said = run(*command, "--index", str(bundle), capsys=capsys)
        assert code == 0 or hostile.fate == "refused"
        check_said(code, printed, said)


@pytest.mark.parametrize(
    "hostile", [each for each in HOSTILE if each.fate == "searched"], ids=lambda hostile: hostile.name
)
def test_what_is_opened_answers_with_all_that_is_in_it(
    hostile: Hostile, make: Callable[[Hostile], Path], tmp_path: Path
) -> None:
    bundle = make(hostile)
    engine = Engine.open(bundle, captioner="starter")
    answer = engine.search(TEXT, NUM_ITEMS)
    assert {hit.row for hit in answer.hits} <= set(range(NUM_ITEMS)) and answer.hits[0].strength
    assert json.loads(json.dumps(answer.to_json(), allow_nan=False)) and answer.to_csv().encode()
    for hit in answer.hits[:3]:
        assert engine.thumbnail(hit.item)[:4] == engine.large_picture(hit.item.id)[:4] == b"RIFF"
    table = engine.index.columns
    assert all(name.encode() and table.values(name, 5) is not None for name in table.metadata[:20])
    assert export_parquet(bundle, tmp_path / "all.parquet") == NUM_ITEMS
    assert isinstance(read_report(bundle), BuildReport)


@pytest.mark.parametrize("hostile", [each for each in HOSTILE if "picture" in each.name], ids=lambda each: each.name)
def test_no_file_of_the_server_is_taken_for_a_picture(hostile: Hostile, make: Callable[[Hostile], Path]) -> None:
    index = Index.load(make(hostile))
    assert growth(lambda: index.original(index.item(0))) < MAX_GROWTH_KB
    assert index.original(index.item(0)) is None


@pytest.mark.parametrize("hostile", [each for each in HOSTILE if "thumbnail-" in each.name and each.fate == "searched"])
def test_a_thumbnail_that_is_none_is_not_shown(hostile: Hostile, make: Callable[[Hostile], Path]) -> None:
    index = Index.load(make(hostile))
    assert {index.item(row).thumbnail for row in range(len(index))} == {b""}


def test_an_answer_holds_no_more_than_is_shown_of_an_item(make: Callable[[Hostile], Path]) -> None:
    index = Index.load(make(next(hostile for hostile in HOSTILE if hostile.name == "columns-heavy")))
    shown = index.item(0).columns
    assert [*shown] == [f"{number}" for number in range(15)] and len("".join([*shown, *shown.values()])) <= MAX_ITEM


def test_a_calibration_holds_no_thumbnails(sound: Path, encoder: Encoder) -> None:
    index = Index.load(sound)
    calibrate(index, encoder, index)  # loads what is loaded once
    items = [replace(index.item(row), thumbnail=frame(320, 320) + bytes(2**18 - 40)) for row in range(len(index))]
    heavy = Index.from_rows(normalize(index.rows), items, index.provenance)
    assert heavy.item(0).thumbnail and growth(lambda: calibrate(heavy, encoder, index)) < MAX_GROWTH_KB


@pytest.mark.parametrize("hostile", MAPS, ids=lambda hostile: hostile.name)
def test_a_hostile_map_is_drawn_anew(
    hostile: Hostile, make: Callable[[Hostile], Path], empty_cache: Path, no_trap: None
) -> None:
    bundle = make(hostile)
    index = Index.load(bundle)
    atlas = derived_of(bundle, index).projection()
    assert atlas.rows.tolist() == list(range(NUM_ITEMS))
    assert [path.suffix for path in empty_cache.iterdir()] == [".npz"] and ATLAS in read_manifest(bundle).files


@pytest.mark.parametrize("hostile", MAPS, ids=lambda hostile: hostile.name)
def test_a_hostile_map_takes_no_memory(hostile: Hostile, make: Callable[[Hostile], Path]) -> None:
    from imgsearch.search.projection import Projection

    data = (make(hostile) / ATLAS).read_bytes()

    def read() -> None:
        with pytest.raises(ValueError):
            Projection.from_bytes(data, NUM_ITEMS)

    assert growth(read) < MAX_GROWTH_KB


@pytest.mark.parametrize("hostile", CALIBRATIONS, ids=lambda hostile: hostile.name)
def test_a_hostile_calibration_is_none(hostile: Hostile, make: Callable[[Hostile], Path], empty_cache: Path) -> None:
    bundle = make(hostile)
    assert derived_of(bundle, Index.load(bundle)).calibration is None


@pytest.mark.parametrize("hostile", WORDS, ids=lambda hostile: hostile.name)
def test_hostile_words_are_read_anew(hostile: Hostile, make: Callable[[Hostile], Path], empty_cache: Path) -> None:
    bundle = make(hostile)
    index = Index.load(bundle)
    with pytest.raises((OSError, ValueError)):
        WordIndex.open(bundle / "words.db", NUM_ITEMS)
    shares = derived_of(bundle, index).words().shares(index.item(3).caption)
    assert shares.shape == (NUM_ITEMS,) and shares[3] == 1
    assert [path.suffix for path in empty_cache.iterdir()] == [".db"]


def test_a_snapshot_of_the_hub_is_opened_by_its_links(sound: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in sound.iterdir():
        shutil.copy(path, blobs / f"{path.name}-blob")
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}-blob")
    assert len(Index.load(snapshot)) == NUM_ITEMS


def test_the_command_line_is_a_process_that_ends(make: Callable[[Hostile], Path]) -> None:
    bundle = make(Hostile("escape", sealed(part="\x1b[31m")))
    bundle = Path(shutil.move(bundle, bundle.with_name("\x1b[2J\u202e bundle")))
    command = [sys.executable, "-m", "imgsearch", "info", "--index", str(bundle)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    check_refused(ended.returncode, ended.stderr.splitlines())
    assert not ended.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_bundle_in_a_folder_whose_name_is_no_unicode_is_told_so(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    shutil.copytree(sound, bundle)
    code, _, said = run("search", TEXT, "--index", str(bundle), capsys=capsys)
    assert code == 2 and len(said) == 1 and "not Unicode" in said[0] and said[0].isprintable()


def test_an_unknown_item_of_very_many_columns_is_told_in_a_line(
    make: Callable[[Hostile], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = next(each for each in HOSTILE if each.name == "columns-9")
    bundle = make(hostile)
    code, _, said = run("search", TEXT, "--where", "\u202enone=1", "--index", str(bundle), capsys=capsys)
    assert code == 2 and len(said) == 1 and len(said[0]) < 1000 and said[0].isprintable()
    with pytest.raises(ImgsearchError, match="no picture"):
        Index.load(bundle).item_by_id("none")
    assert len(values_of(bundle)["files"]) == 3
