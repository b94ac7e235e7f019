"""What was made with version 0.6 still works: bundles of each format, page links, a metadata.csv, calls of the API.

Nothing here is worked out from the code of today: the files, links, names and words stand as they were then.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import expect

from imgsearch import Engine, Folder, Index, build_index, merge
from imgsearch.config import ROOT
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from tests.helpers.pages import WAIT_MS, Open, hits_of

CAPTIONS = {
    "animals-birds-owl.jpg": "an owl",
    "animals-mammals-badger.jpg": "a badger",
    "food-fruit-kiwi.jpg": "a kiwi",
    "food-fruit-lemon.jpg": "a lemon",
}
METADATA = """file_name,caption,subject
animals-birds-owl.jpg,an owl,animals
animals-mammals-badger.jpg,a badger,animals
food-fruit-kiwi.jpg,a kiwi,food
food-fruit-lemon.jpg,a lemon,food
skimage/coffee.jpg,"a cup of coffee, seen from above",drinks
"""
ANSWER = {"bounds", "cut", "following", "has_match", "hits", "language", "query", "seconds", "stages", "start"}
HIT = {"caption", "columns", "id", "near_duplicates", "rank", "score", "strength"}


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """The four pictures of the old bundles and a new one, with a metadata.csv."""
    folder = tmp_path_factory.mktemp("five")
    (folder / "skimage").mkdir()
    for name in CAPTIONS:
        shutil.copy(examples / "stamps" / name, folder)
    shutil.copy(examples / "skimage" / "coffee.jpg", folder / "skimage")
    (folder / "metadata.csv").write_text(METADATA, "utf-8")
    return folder


@pytest.fixture(scope="module")
def today(five: Path, encoder: Encoder) -> Path:
    """A bundle of today of the new picture alone."""
    bundle = five.with_name("today")
    shutil.copytree(five / "skimage", five.with_name("one"))
    build_index(Folder(five.with_name("one")), bundle, encoder)
    return bundle


@pytest.mark.parametrize("name", ["format1", "format2", "format3"])
def test_a_bundle_of_each_format_opens_is_searched_updated_and_merged(
    name: str, five: Path, today: Path, encoder: Encoder, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(ROOT / "tests" / "bundles" / name, tmp_path / name))
    engine = Engine(bundle)
    assert {item.id: item.caption for item in map(engine.index.item, range(4))} == CAPTIONS
    assert engine.search("an owl", 1).hits[0].item.id == "animals-birds-owl.jpg"
    assert engine.similar(five / "food-fruit-lemon.jpg", 1).hits[0].item.id == "food-fruit-lemon.jpg"
    merge([bundle, today], tmp_path / "merged")
    assert len(Index.load(tmp_path / "merged")) == 5
    report = build_index(Folder(five), bundle, encoder, BuildOptions(update=True))
    assert (report.num_items, report.num_encoded) == (5, 1)


def test_a_metadata_csv_is_read_as_it_was(five: Path, encoder: Encoder, tmp_path: Path) -> None:
    build_index(Folder(five), tmp_path / "bundle", encoder)
    index = Index.load(tmp_path / "bundle")
    coffee = index.item_by_id("skimage/coffee.jpg")
    assert (coffee.caption, coffee.columns) == ("a cup of coffee, seen from above", {"subject": "drinks"})
    assert {id: index.item_by_id(id).caption for id in CAPTIONS} == CAPTIONS


def test_links_open_what_they_opened(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=search&q=a+dog&k=5&where=subject%3Danimals&fold=0")
    expect(hits_of(page, "search")).to_have_count(5, timeout=WAIT_MS)
    expect(page.locator("#query textarea")).to_have_value("a dog")
    page.goto(f"{app_url}?tab=search&q=a+dog&part=-1%3Atext%3Aa+window&from=12")
    expect(page.locator("#search_note")).to_contain_text("13", timeout=WAIT_MS)
    page.goto(f"{app_url}?tab=similar&id=skimage%2Fcoffee.jpg&box=10%2C10%2C90%2C90")
    expect(hits_of(page, "similar")).to_have_count(12, timeout=WAIT_MS)
    expect(page.locator("#similar_box input, #similar_box textarea")).to_have_value("10,10,90,90")
    page.goto(f"{app_url}?tab=describe&id=skimage%2Fcoffee.jpg")
    expect(page.locator("#sentence textarea")).not_to_have_value("", timeout=WAIT_MS)


def test_calls_of_the_api_answer_as_they_did(app_url: str) -> None:
    client = Client(app_url, verbose=False)
    coffee: Any = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
    answers = [
        client.predict("a dog", 3, ["subject=animals"], True, api_name="/search"),
        client.predict(text="a dog", k=3, where=["subject=animals"], fold=True, api_name="/search"),
        client.predict(coffee, 3, "10,10,90,90", [], True, api_name="/similar"),
        client.predict(image=coffee, k=3, box="", where=[], fold=False, api_name="/similar"),
    ]
    for answer, *_ in answers:
        assert answer.keys() >= ANSWER and [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
        assert all(hit.keys() >= HIT for hit in answer["hits"])
    assert answers[3][0]["hits"][0]["id"] == "skimage/coffee.jpg"
    for sentence, tags, seconds, colours in (
        client.predict(coffee, "short", "", "en", api_name="/describe"),
        client.predict(image=coffee, detail="short", question="", language="en", api_name="/describe"),
    ):
        assert sentence.endswith(".") and seconds.endswith(" s")
        assert tags["confidences"][0].keys() >= {"label", "confidence"} and colours["label"]
