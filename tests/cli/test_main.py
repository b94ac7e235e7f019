"""The command line: build and ask, what it refuses, and where its settings come from."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from imgsearch.cli.main import main
from imgsearch.config import ROOT
from imgsearch.engine import Engine
from imgsearch.models.encoder import Encoder
from tests.helpers.commands import Ended, Run, run_process
from tests.helpers.hostile_bundles import with_texts


@pytest.fixture(scope="module")
def built(six_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A bundle of six photos, a caption among them hostile, that a process of its own has built; what it said."""
    folder = Path(shutil.copytree(six_photos, tmp_path_factory.mktemp("built") / "pictures"))
    text = (folder / "metadata.csv").read_text("utf-8").replace("a lemon", '"a lemon\nof \x1b[31mgold"')
    (folder / "metadata.csv").write_text(text, "utf-8")
    (folder / "notes.txt").write_text("hello")
    bundle = folder.parent / "bundle"
    return bundle, run_process("build", folder, "--out", bundle)


@pytest.fixture(scope="module", autouse=True)
def loaded(engine: Engine) -> Encoder:
    """The encoder that all commands share: as long as one engine has it, others take it over."""
    return engine.searcher.encoder


def test_a_build_says_what_it_does_and_its_bundle_is_searched(built: tuple[Path, Ended], run: Run) -> None:
    bundle, build = built
    assert build.code == 0, build.err
    assert "6 pictures indexed" in build.out and "Note: notes.txt: " in build.out
    assert "7/7" in build.err and "pictures/s" in build.err  # the progress bar

    answer = run_process("search", "a cup of coffee", "--index", bundle, "-k", "2", "--json").answer()
    assert answer["query"] == "a cup of coffee" and answer["seconds"] > 0
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2]
    assert answer["hits"][0]["id"] == "coffee.jpg" and answer["hits"][0]["caption"] == "a cup of coffee"
    assert 0.3 < answer["hits"][0]["score"] <= 1

    kiwi = bundle.with_name("pictures") / "food-fruit-kiwi.jpg"
    answer = run("similar", kiwi, "--index", bundle, "-k", "100", "--json").answer()
    assert len(answer["hits"]) == 6 and answer["hits"][0]["id"] == "food-fruit-kiwi.jpg"

    info = run("info", "--index", bundle, "--json").answer()
    assert info["num_items"] == 6 and info["encoder"].startswith("starter/")

    figures = run("eval", "--index", bundle, "--json").answer()
    assert figures["num_queries"] == 6 and 0 < figures["recall_at_1"] <= figures["recall_at_5"] <= 1
    assert figures["similar_precision_at_5"] is None  # no subject has six pictures


def test_captions_cannot_write_on_the_terminal(built: tuple[Path, Ended], run: Run) -> None:
    done = run("search", "fruit", "--index", built[0], "-k", "6")
    assert len(done.out.splitlines()) == 6 and "\x1b" not in done.out and "gold" in done.out


def test_describe(examples: Path, run: Run) -> None:
    description = run("describe", examples / "skimage" / "coffee.jpg", "--json").answer()
    assert "\n" not in description["caption"] and description["caption"].endswith(".")
    assert description["tags"] and all(tag["tag"] and 0 <= tag["score"] <= 1 for tag in description["tags"])
    plain = run("describe", examples / "skimage" / "coffee.jpg")
    assert plain.out.splitlines()[0] == description["caption"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", ""], "empty"),
        (["search", "x" * 10_000], "10,000 characters"),
        (["search", "dog", "-k", "0"], "at least 1"),
        (["search", "dog", "-k", "many"], "-k"),
        (["search", "dog", "--index", "nowhere"], "no bundle at nowhere"),
        (["search", "dog", "--encoder", "clipp"], "auto, starter"),
        (["describe", "nowhere.jpg"], "does not exist"),
        (["describe", "README.md"], "not a picture"),
        (["similar", "README.md"], "not a picture"),
        (["build", "nowhere", "--out", "out"], "not a folder"),
        (["build", "tests", "--out", "tests"], "not a bundle"),
        (["build", "examples", "--out", "app.py/bundle"], "cannot be written"),
        (["search", "dog \udcff"], "Unicode"),
        (["similar", "tests"], "cannot be read"),
        (["build", "examples", "--out", "out", "--limit", "0"], "at least 1"),
        (["info", "--index", "tests"], "no bundle"),
        (["dance"], "dance"),
        (["search", "a", "red", "fruit"], "between quotes"),
        (["search", "a", "-k", "3", "red", "fruit"], "between quotes"),
        (["describe", "a.jpg", "b.jpg"], "one picture"),
        (["similar", "a.jpg", "b.jpg"], "one picture"),
        (["build", "A", "B", "--out", "out"], "one source"),
        (["search", "-dog"], "put --"),
        (["search", "dog", "--colour", "red"], "unrecognized arguments: --colour"),
        (["build", "", "--out", "out"], "SOURCE: it is empty"),
        (["build", " ", "--out", "out"], "SOURCE: it is empty"),
        (["describe", "https://example.org/a.jpg"], "download the picture first"),
        (["similar", "http://example.org/a.jpg"], "download the picture first"),
        (["search", "dog", "--plus", "https://example.org/a.jpg"], "download the picture first"),
        ([], "COMMAND"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments: Sequence[str], message: str, run: Run) -> None:
    assert message in run(*arguments).refusal()


@pytest.mark.parametrize(("arguments", "message"), [(["search", "dog \udcff"], "Unicode"), ([], "COMMAND")])
def test_a_process_ends_so_too(arguments: Sequence[str], message: str) -> None:
    assert message in run_process(*arguments).refusal()


@pytest.mark.parametrize("arguments", [["ada:hunter2"], ["--atuh", "ada:hunter2"], ["--auth=ada:hunter2"]])
def test_what_may_be_a_password_is_not_repeated(arguments: Sequence[str], run: Run) -> None:
    assert "hunter2" not in run("search", "dog", *arguments).refusal()


def test_the_long_name_of_a_dataset(tmp_path: Path) -> None:
    refusal = run_process("build", "hf://datasets/ORG/NAME", "--out", tmp_path / "out", HF_HUB_OFFLINE="1").refusal()
    assert "ORG/NAME cannot be read: HF_HUB_OFFLINE is set" in refusal


def test_output_is_in_utf_8_whatever_the_encoding() -> None:
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "imgsearch", "search", "Petra façade", "--csv", "--encoder", "starter"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env=environ, check=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert len(rows) == 12 and "façade" in rows[0]["caption"]


LETTERS = "façade, 犬 \N{DOG FACE}"


@pytest.fixture(scope="module")
def of_all_letters(built: tuple[Path, Ended]) -> Path:
    bundle = Path(shutil.copytree(built[0], built[0].with_name("letters")))
    with_texts(bundle, lambda row, item: replace(item, caption=LETTERS))
    return bundle


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "koi8-r", "utf-8"])
def test_any_command_prints_any_letter(
    encoding: str, of_all_letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = {}
    for kind in ("", "--csv", "--json"):
        with (tmp_path / "out").open("w", encoding=encoding) as file, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            assert main(["search", "fruit", "--index", str(of_all_letters), *filter(None, [kind])]) == 0
        printed[kind] = (tmp_path / "out").read_text("utf-8")
    assert len(printed[""].splitlines()) == 6 and all(LETTERS in line for line in printed[""].splitlines())
    assert {row["caption"] for row in csv.DictReader(io.StringIO(printed["--csv"]))} == {LETTERS}
    assert {hit["caption"] for hit in json.loads(printed["--json"])["hits"]} == {LETTERS}


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_terminal_shows_the_letters_that_it_has(of_all_letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.openpty()
    with os.fdopen(writer, "w", encoding="cp1252") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert main(["search", "fruit", "--index", str(of_all_letters), "-k", "1"]) == 0
        terminal.flush()
        assert "façade, \\u72ac \\U0001f436" in os.read(reader, 10_000).decode("cp1252")
    os.close(reader)


def test_a_damaged_bundle_is_one_line(copy_bundle: Callable[[], Path], run: Run) -> None:
    bundle = copy_bundle()
    data = bytearray((next(bundle.glob("items*"))).read_bytes())
    data[len(data) // 2] ^= 1
    (next(bundle.glob("items*"))).write_bytes(data)
    for command in (["search", "dog"], ["eval"], ["info"]):
        assert "damaged" in run(*command, "--index", bundle).refusal()


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    assert "elsewhere" in run_process("info", IMGSEARCH_INDEX=elsewhere).refusal()
    assert run_process("info", "--index", "indexes/starter", IMGSEARCH_INDEX=elsewhere).code == 0
    assert run_process("info", IMGSEARCH_INDEX="", IMGSEARCH_PORT="").code == 0
    assert f"no bundle at {tmp_path}/x. " in run_process("info", IMGSEARCH_INDEX="~/x", HOME=str(tmp_path)).refusal()
    for name, value in (("IMGSEARCH_PROT", "1"), ("IMGSEARCH_PORT", "many"), ("IMGSEARCH_SHARE", "perhaps")):
        assert name in run_process("info", **{name: value}).refusal()
