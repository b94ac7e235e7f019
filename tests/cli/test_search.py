"""The commands that ask a bundle: parts, filters, pages, what they print, and copies that are found."""

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imgsearch.engine import Engine
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.models.encoder import Encoder
from imgsearch.search.calibration import COPIES
from tests.helpers.commands import Run
from tests.helpers.examples import CATS, NUM_EXAMPLES
from tests.helpers.hostile_bundles import with_texts
from tests.helpers.tiny_bundles import derived_of

COFFEE = "skimage/coffee.jpg"
GUITAR = "stamps/hobbies-music-string-guitar_electric.jpg"
BALL, DRUM_KIT = "things/baseball.jpg", "music/drum_kit.jpg"
NAMES = [
    "animals-birds-owl",
    "animals-mammals-giraffe",
    "food-fruit-kiwi",
    "food-fruit-orange_seville",
    "household-toilet",
]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def loaded(engine: Engine) -> Encoder:
    """The encoder that all commands share: as long as one engine has it, others take it over."""
    return engine.searcher.encoder


@pytest.fixture
def ask(loaded: Encoder, run: Run) -> Ask:
    """Runs a command and reads the JSON that it prints."""
    return lambda *arguments: run(*arguments, "--encoder", "starter", "--json").answer()


@pytest.fixture
def printed(loaded: Encoder, run: Run) -> Callable[..., tuple[str, str]]:
    """Runs a command and gives what it printed, on stdout and on stderr."""

    def printed(*arguments: str | Path) -> tuple[str, str]:
        code, *both = run(*arguments, "--encoder", "starter")
        assert code == 0, both
        return both

    return printed


def ids(answer: Mapping[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_all_that_an_answer_says(ask: Ask) -> None:
    answer = ask("search", "a baseball", "-k", "3")
    assert list(answer) == [
        *("query", "seconds", "stages", "cut", "language", "has_match", "bounds", "start", "following", "hits")
    ]
    assert (answer["query"], answer["has_match"], answer["start"], answer["following"]) == (
        "a baseball",
        True,
        0,
        3,
    )
    assert answer["language"] == answer["cut"] == ""
    fair, strong = answer["bounds"]
    assert 0 < fair < strong < 1 and set(answer["stages"]) == {"encode", "search"}
    first = answer["hits"][0]
    assert list(first) == [
        *("rank", "id", "score", "strength", "words", "reasons", "caption", "columns", "near_duplicates")
    ]
    assert (first["rank"], first["id"], first["strength"], first["near_duplicates"]) == (1, BALL, "strong", [])
    assert first["score"] >= strong and first["columns"]["subject"]


def test_more_and_less_and_how_much(ask: Ask, examples: Path) -> None:
    instrument = ["search", "a musical instrument", "-k", "5"]
    assert ids(ask(*instrument))[0] == DRUM_KIT
    less = ask(*instrument, "--minus", examples / DRUM_KIT, "--weight", "0.5")
    assert DRUM_KIT not in ids(less) and less["query"] == f"a musical instrument - 0.5 * {examples / DRUM_KIT}"
    animal = ["search", "an animal", "-k", "5"]
    assert not CATS & set(ids(ask(*animal, "--minus", "a cat")))
    more = ask(*animal, "--plus", "a cat", "--weight", "2")
    assert set(ids(more)) <= CATS and more["query"] == "an animal + 2 * a cat"
    both = ask("search", "--weight", "0.5", "a bird", "--plus", examples / COFFEE, "--weight", "3", "--minus", "a mug")
    assert both["query"] == f"+ 0.5 * a bird + 3 * {examples / COFFEE} - a mug" and ids(both)[0] == COFFEE
    like = ask("similar", examples / COFFEE, "--plus", "a cat", "--weight", "5", "-k", "3")
    assert CATS & set(ids(like)) and like["query"] == f"{examples / COFFEE} + 5 * a cat"


def test_a_part_may_be_a_long_text(ask: Ask) -> None:
    """Longer than any path can be."""
    text = "a small dog in the grass " * 19
    assert ask("search", "a dog", "--plus", text)["query"] == f"a dog + {text.strip()}"


@pytest.mark.parametrize("name", ["photo", "photo.jp2", "photo.PPM", "photo.ico", "photo.txt"])
def test_a_part_is_the_picture_of_a_file_whatever_its_name(
    name: str, ask: Ask, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(examples / COFFEE, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert ids(ask("search", "a guitar", "--plus", name, "--weight", "5", "-k", "1")) == [COFFEE]
    (tmp_path / name).unlink()
    (tmp_path / "photo").mkdir()
    assert ask("search", "a guitar", "--plus", "photo", "-k", "1")["query"] == "a guitar + photo"


def test_a_picture_of_the_collection_may_be_named_by_its_id(ask: Ask) -> None:
    assert ids(ask("similar", COFFEE, "-k", "2"))[0] == COFFEE
    assert ids(ask("similar", COFFEE, "--box", "0,0,50,50", "-k", "1")) == [COFFEE]


def test_conditions(ask: Ask) -> None:
    animal = ["search", "an animal", "-k", "300", "--unfolded"]
    of_subject = ask(*animal, "--where", "subject=animals")
    assert {hit["columns"]["subject"] for hit in of_subject["hits"]} == {"animals"} and len(ids(of_subject)) > 20
    dogs = ask(*animal, "--where", "subject=animals", "--where", "caption~DOG")
    assert dogs["hits"] and all("dog" in hit["caption"].lower() for hit in dogs["hits"])
    assert set(ids(dogs)) < set(ids(of_subject))
    between = ask(*animal, "--where", "id:skimage/a..skimage/c")
    assert sorted(ids(between)) == sorted(
        id for id in ids(ask(*animal)) if id.startswith(("skimage/a", "skimage/b", "skimage/c"))
    )
    none = ask(*animal, "--where", "subject=nothing")
    assert none["hits"] == [] and none["has_match"] is False and none["following"] is None


def test_pages(ask: Ask) -> None:
    bird = ["search", "a bird", "--unfolded"]
    whole = ids(ask(*bird, "-k", "30"))
    first, second = ask(*bird, "-k", "12"), ask(*bird, "-k", "18", "--start", "12")
    assert ids(first) + ids(second) == whole and first["following"] == 12
    assert [hit["rank"] for hit in second["hits"]] == list(range(13, 31))
    last = ask(*bird, "--start", str(NUM_EXAMPLES - 8))
    assert len(last["hits"]) == 8 and last["following"] is None


def test_what_is_said_on_the_terminal(printed: Callable[..., tuple[str, str]]) -> None:
    out, err = printed("search", "passport", "-k", "3")
    assert len(out.splitlines()) == 3 and "Nothing in this collection matches" in err
    assert [line.split()[2] for line in out.splitlines()] == ["weak"] * 3
    out, err = printed("search", "a cup of coffee", "--start", "200", "-k", "2")
    assert len(out.splitlines()) == 2 and "matches" not in err  # of a later page that says nothing
    out, err = printed("search", "a cup of coffee", "--start", str(NUM_EXAMPLES))
    assert out == "" and "There are no more pictures" in err
    assert "another language (fr)" in printed("search", "un zorglub dans la neige")[1]


def test_part_of_a_picture(ask: Ask, examples: Path, tmp_path: Path) -> None:
    both = Image.new("RGB", (800, 400))
    for number, name in enumerate((COFFEE, GUITAR)):
        with Image.open(examples / name) as image:
            both.paste(image.convert("RGB").resize((400, 400)), (400 * number, 0))
    both.save(tmp_path / "both.jpg", quality=90)
    for box, name in (("0,0,50,100", COFFEE), ("50,0,100,100", GUITAR)):
        assert ids(ask("similar", tmp_path / "both.jpg", "--box", box, "-k", "1")) == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "dog", "--plus", "nowhere.jpg"], "nowhere.jpg does not exist"),
        (["search", "dog", "--minus", "README.png"], "README.png does not exist"),
        (["search", "dog", "--plus", "nowhere.jp2"], "nowhere.jp2 does not exist"),
        (["search", "dog", "--plus", "README.md"], "README.md is not a picture"),
        (["search", "dog", "--plus", ""], "empty"),
        (["search", "dog", "--minus", "dog"], "cancel each other out"),
        (["search", "dog", "--weight", "-1"], "'-1' is not a weight, such as 0.5"),
        (["search", "dog", "--weight", "0"], "'0' is not a weight"),
        (["search", "dog", "--plus", "cat", "--weight", "nan"], "'nan' is not a weight"),
        (["search", "dog", "--plus", "cat", "--weight", "inf"], "weight inf"),
        (["search", "dog", "--plus", "cat", "--weight", "11"], "weight 11"),
        (["search", "dog", "--weight", "much"], "'much' is not a weight"),
        (["search", "dog", *["--plus", "cat"] * 16], "17 parts"),
        (["search", "dog", "--where", "subject"], "filter 'subject' is not understood"),
        (["search", "dog", "--where", "subject~"], "is not understood"),
        (["search", "dog", "--where", "nothing=1"], "no column 'nothing'"),
        (["search", "dog", "--start", "-1"], "leave out is -1"),
        (["search", "dog", "--start", "few"], "--start"),
        (["similar", "nowhere.jpg"], "does not exist"),
        (["similar", f"examples/{COFFEE}", "--box", "0,0,50"], "such as 25,0,75,50"),
        (["similar", f"examples/{COFFEE}", "--box", "left"], "such as 25,0,75,50"),
        (["similar", f"examples/{COFFEE}", "--box", "50,0,50,100"], "empty or too small"),
        (["similar", f"examples/{COFFEE}", "--box", "0,0,nan,100"], "empty or too small"),
        (["similar", f"examples/{COFFEE}", "--box", "0,0,101,100"], "empty or too small"),
        (["duplicates", "--threshold", "nan"], "from -1 to 1"),
        (["duplicates", "--threshold", "95"], "from -1 to 1"),
        (["duplicates", "--threshold", "high"], "--threshold"),
        (["duplicates", "--index", "nowhere"], "no bundle at nowhere"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments: Sequence[str], message: str, loaded: Encoder, run: Run) -> None:
    assert message in run(*arguments, "--encoder", "starter").refusal()


def test_csv_without_formulas(copy_bundle: Callable[[], Path], printed: Callable[..., tuple[str, str]]) -> None:
    captions = ["=HYPERLINK(1)", "+A1", "-A1", "@SUM(A1)", ' a "quoted", text', "a cup of coffee"]
    bundle = copy_bundle()
    names = list(Index.load(bundle).column("id"))
    columns = {"=column": "=1", "east": "-33.9"}
    with_texts(bundle, lambda row, item: replace(item, caption=captions[row % 6], columns=columns))
    out, _ = printed("search", "a baseball", "--csv", "--index", bundle, "-k", str(NUM_EXAMPLES), "--unfolded")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["rank", "id", "score", "strength", "caption", "near_duplicates", "'=column", "east"]
    assert [int(row["rank"]) for row in rows] == [*range(1, NUM_EXAMPLES + 1)] and rows[0]["id"] == BALL
    shown = [*(f"'{text}" for text in captions[:4]), *captions[4:]]
    assert all(row["caption"] == shown[names.index(row["id"]) % 6] for row in rows)
    assert {(row["'=column"], row["east"]) for row in rows} == {("'=1", "-33.9")}  # a number is no formula
    assert all(-1 <= float(row["score"]) <= 1 and row["strength"] in ("strong", "fair", "weak") for row in rows)


@pytest.fixture(scope="module")
def copies(examples: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of five pictures, each with two copies, of one of them twice over, and of two without any."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "pictures").mkdir()
    for name in NAMES:
        shutil.copy(examples / "stamps" / f"{name}.jpg", folder / "pictures" / f"{name}.jpg")
        with Image.open(examples / "stamps" / f"{name}.jpg") as image:
            for kind in ("re-encoded", "resized"):
                (folder / "pictures" / f"{name} {kind}.jpg").write_bytes(COPIES[kind](image.convert("RGB")))
    shutil.copy(folder / "pictures" / f"{NAMES[0]}.jpg", folder / "pictures" / f"{NAMES[0]} twice.jpg")
    for name in ("coffee", "chelsea"):
        shutil.copy(examples / "skimage" / f"{name}.jpg", folder / "pictures" / f"{name}.jpg")
    build_index(Folder(folder / "pictures"), folder / "bundle", encoder)
    return folder / "bundle"


def family(id: str) -> str:
    return id.removesuffix(".jpg").split()[0]


def test_copies_are_found_in_groups(copies: Path, ask: Ask, printed: Callable[..., tuple[str, str]]) -> None:
    found = ask("duplicates", "--index", copies)
    assert 0.7 < found["threshold"] < 1
    assert [len(group) for group in found["groups"]] == [4, 3, 3, 3, 3]
    assert [{family(id) for id in group} for group in found["groups"]] == [{name} for name in NAMES]
    out, err = printed("duplicates", "--index", copies)
    assert [line.split("  ") for line in out.splitlines()] == found["groups"] and "17" not in out
    assert f"{18}/{18}" in err


def test_the_threshold_may_be_given(copies: Path, ask: Ask, empty_cache: Path) -> None:
    exact = ask("duplicates", "--index", copies, "--threshold", "0.99999")
    assert exact["threshold"] == 0.99999
    assert [sorted(group) for group in exact["groups"]] == [[f"{NAMES[0]} twice.jpg", f"{NAMES[0]}.jpg"]]
    loose = ask("duplicates", "--index", copies, "--threshold", "0")
    assert loose["threshold"] == 0 and len(loose["groups"][0]) > 10
    assert ask("duplicates", "--index", copies, "--threshold", "1")["groups"] in ([], exact["groups"])
    assert derived_of(copies, Index.load(copies)).calibration is None  # nothing was measured for it


def test_copies_fold_into_one_hit(copies: Path, ask: Ask, printed: Callable[..., tuple[str, str]]) -> None:
    folded = ask("search", "an animal", "--index", copies)
    assert sorted(family(hit["id"]) for hit in folded["hits"]) == sorted([*NAMES, "coffee", "chelsea"])
    for hit in folded["hits"]:
        assert {family(id) for id in hit["near_duplicates"]} <= {family(hit["id"])}
    assert sum(len(hit["near_duplicates"]) for hit in folded["hits"]) == 11 and folded["following"] is None
    whole = ask("search", "an animal", "--index", copies, "--unfolded", "-k", "18")
    assert len(set(ids(whole))) == 18 and not any(hit["near_duplicates"] for hit in whole["hits"])
    out, _ = printed("search", "an owl", "--index", copies, "-k", "7")
    assert sum("near-duplicates)" in line for line in out.splitlines()) == 5
