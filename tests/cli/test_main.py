"""The command line as a user runs it: real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgsearch.config import ROOT


def run(*arguments: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "imgsearch", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | environ)


def run_json(*arguments: str | Path) -> dict:  # noqa: ANN401
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_build_then_search_similar_info_eval(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (folder / "notes.txt").write_text("hello")
    report = run_json("build", folder, "--out", bundle)
    assert report["num_items"] == 6 and report["seconds"] > 0
    assert [skip["picture"] for skip in report["skipped"]] == ["notes.txt"] and report["skipped"][0]["reason"]

    answer = run_json("search", "a cup of coffee", "--index", bundle, "-k", "2")
    assert answer["query"] == "a cup of coffee" and answer["seconds"] > 0
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2]
    assert answer["hits"][0]["id"] == "coffee.jpg" and answer["hits"][0]["caption"] == "a cup of coffee"
    assert 0.3 < answer["hits"][0]["score"] <= 1

    answer = run_json("similar", folder / "food-fruit-kiwi.jpg", "--index", bundle, "-k", "100")
    assert len(answer["hits"]) == 6 and answer["hits"][0]["id"] == "food-fruit-kiwi.jpg"

    info = run_json("info", "--index", bundle)
    assert info["num_items"] == 6 and info["encoder"].startswith("starter/")

    figures = run_json("eval", "--index", bundle)
    assert figures["num_queries"] == 6 and 0 < figures["recall_at_1"] <= figures["recall_at_5"] <= 1
    assert figures["similar_precision_at_5"] is None  # no subject has six pictures


def test_describe(examples: Path) -> None:
    description = run_json("describe", examples / "skimage" / "coffee.jpg")
    assert "\n" not in description["caption"] and description["caption"].endswith(".")
    assert description["tags"] and all(tag["tag"] and 0 <= tag["score"] <= 1 for tag in description["tags"])
    plain = run("describe", examples / "skimage" / "coffee.jpg")
    assert plain.stdout.splitlines()[0] == description["caption"]


def test_captions_cannot_write_on_the_terminal(folder: Path, tmp_path: Path) -> None:
    text = (folder / "metadata.csv").read_text("utf-8").replace("a cup of coffee", '"a cup\nof \x1b[31mcoffee"')
    (folder / "metadata.csv").write_text(text, "utf-8")
    assert run("build", folder, "--out", tmp_path / "bundle").returncode == 0
    done = run("search", "coffee", "--index", tmp_path / "bundle", "-k", "6")
    assert len(done.stdout.splitlines()) == 6 and "\x1b" not in done.stdout


def test_the_progress_bar_goes_to_stderr(folder: Path, tmp_path: Path) -> None:
    done = run("build", folder, "--out", tmp_path / "bundle", "--limit", "3")
    assert "3 pictures indexed" in done.stdout and "3/3" in done.stderr


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
        ([], "COMMAND"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr, done.stderr


def test_a_damaged_bundle_is_one_line(copy_bundle: Callable[[], Path]) -> None:
    bundle = copy_bundle()
    data = bytearray((next(bundle.glob("items*"))).read_bytes())
    data[len(data) // 2] ^= 1
    (next(bundle.glob("items*"))).write_bytes(data)
    for command in (["search", "dog"], ["eval"], ["info"]):
        done = run(*command, "--index", bundle)
        assert done.returncode == 2 and "damaged" in done.stderr and len(done.stderr.splitlines()) == 1


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    done = run("info", IMGSEARCH_INDEX=str(tmp_path / "elsewhere"))
    assert done.returncode == 2 and "elsewhere" in done.stderr
    done = run("info", "--index", "indexes/starter", IMGSEARCH_INDEX=str(tmp_path / "elsewhere"))
    assert done.returncode == 0
    assert run("info", IMGSEARCH_INDEX="", IMGSEARCH_PORT="").returncode == 0
    for name, value in (("IMGSEARCH_PROT", "1"), ("IMGSEARCH_PORT", "many"), ("IMGSEARCH_SHARE", "perhaps")):
        done = run("info", **{name: value})
        assert done.returncode == 2 and name in done.stderr and len(done.stderr.splitlines()) == 1
