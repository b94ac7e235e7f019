"""What was made before an upgrade works after it: bundles, links to the page, metadata files, calls of the API.

All of it stands here word for word as it was made; what a release no longer takes breaks what users have.
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import expect

from imgsearch.config import ROOT
from imgsearch.engine import Engine
from imgsearch.index.edit import merge
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from imgsearch.search.query import Part
from imgsearch.web.page_state import PageState, QueryTerm
from tests.helpers.pages import WAIT_MS, Open, chips_of, tiles_of
from tests.helpers.tiny_bundles import items_of

COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"
PICTURES = ROOT / "tests" / "bundles" / "pictures"
CAPTIONS = {
    "animals-birds-owl.jpg": "an owl",
    "animals-mammals-badger.jpg": "a badger",
    "food-fruit-kiwi.jpg": "a kiwi",
    "food-fruit-lemon.jpg": "a lemon",
}


@pytest.fixture(params=["format1", "format2", "format3"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a bundle of each format, of four of the example photos."""
    return Path(shutil.copytree(ROOT / "tests" / "bundles" / request.param, tmp_path / "bundle"))


def test_a_bundle_opens_and_is_searched(bundle: Path) -> None:
    items = items_of(bundle)
    assert {item.id: item.caption for item in items} == CAPTIONS
    engine = Engine.open(bundle, "starter", "starter")
    for item in items:
        photo = PICTURES / item.id
        assert item.columns == {"subject": item.id.split("-")[0]}
        assert item.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest() and item.thumbnail
        hit = engine.similar(photo, 1).hits[0]
        assert hit.item.id == item.id and hit.score > 0.999
    for text, id in (("an owl", "animals-birds-owl.jpg"), ("a yellow lemon", "food-fruit-lemon.jpg")):
        assert engine.search(text, 1).hits[0].item.id == id


def test_a_bundle_is_updated_without_encoding_and_merged(bundle: Path, plain_encoder: Encoder, tmp_path: Path) -> None:
    old = Index.load(bundle).rows
    (tmp_path / "four").mkdir()
    for id in CAPTIONS:
        shutil.copy(PICTURES / id, tmp_path / "four" / id)
    lines = ["file_name,caption", *(f"{id},{caption} again" for id, caption in CAPTIONS.items())]
    (tmp_path / "four" / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    report = build_index(Folder(tmp_path / "four"), bundle, plain_encoder, BuildOptions(update=True))
    assert report.num_encoded == 0 and not any(report.changes.values())
    assert np.array_equal(Index.load(bundle).rows, old)
    assert {item.id: item.caption for item in items_of(bundle)} == {id: f"{CAPTIONS[id]} again" for id in CAPTIONS}
    assert len({path.name.partition("-")[0] for path in bundle.iterdir()}) == len(list(bundle.iterdir()))  # none left
    (tmp_path / "one").mkdir()
    shutil.copy(COFFEE, tmp_path / "one")
    build_index(Folder(tmp_path / "one"), tmp_path / "other", plain_encoder)
    merge([bundle, tmp_path / "other"], tmp_path / "merged")
    assert [item.id for item in items_of(tmp_path / "merged")] == [*CAPTIONS, "coffee.jpg"]
    assert np.array_equal(Index.load(tmp_path / "merged").rows[:4], old)


def test_metadata_is_read_with_captions_and_columns(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "fruit").mkdir()
    for name in ("owl.jpg", "fruit/kiwi.jpg", "fruit/lemon.jpg", "fruit/none.jpg"):
        shutil.copy(COFFEE, tmp_path / name)
    (tmp_path / "metadata.csv").write_text(
        "file_name,caption,caption_fr,subject\n"
        'owl.jpg,"An owl, awake",Un hibou,birds\n'
        "fruit/kiwi.jpg,A kiwi,Un kiwi,food\n",
        "utf-8",
    )
    (tmp_path / "fruit" / "metadata.jsonl").write_text(
        '{"file_name": "lemon.jpg", "caption": "A lemon", "sour": true}\n', "utf-8"
    )
    read: list[Any] = list(Folder(tmp_path).read())
    assert {picture.id: (picture.caption, picture.columns) for picture in read} == {
        "owl.jpg": ("An owl, awake", {"caption_fr": "Un hibou", "subject": "birds"}),
        "fruit/kiwi.jpg": ("A kiwi", {"caption_fr": "Un kiwi", "subject": "food"}),
        "fruit/lemon.jpg": ("A lemon", {"sour": "true"}),
        "fruit/none.jpg": ("", {}),
    }


@pytest.mark.parametrize(
    ("link", "state"),
    [
        ("?tab=search&q=a+dog&k=5", PageState("search", text="a dog", k=5)),
        ("?tab=similar&id=skimage%2Fcoffee.jpg", PageState("similar", item="skimage/coffee.jpg")),
        ("?tab=describe&u=8671787b749cd794", PageState("describe", upload="8671787b749cd794")),
        (
            "?tab=search&q=a+dog&part=-1.5%3Atext%3Asnow&part=1%3Aitem%3Aa.jpg&part=2%3Aupload%3A8671787b749cd794",
            PageState(
                "search",
                text="a dog",
                terms=(
                    QueryTerm("text", "snow", -1.5),
                    QueryTerm("item", "a.jpg"),
                    QueryTerm("upload", "8671787b749cd794", 2),
                ),
            ),
        ),
        (
            "?tab=search&q=a+planet&where=subject%3Dspace&where=year%3A1990..&from=12&fold=0&in=starter",
            PageState(
                "search",
                text="a planet",
                where=("subject=space", "year:1990.."),
                start=12,
                fold=False,
                collection="starter",
            ),
        ),
        (
            "?tab=similar&id=a.jpg&box=10%2C+20%2C+60%2C+70",
            PageState("similar", item="a.jpg", box="10, 20, 60, 70"),
        ),
    ],
)
def test_a_link_says_what_it_said(link: str, state: PageState) -> None:
    assert PageState.from_link(link) == state


def test_links_open_what_they_opened(visit: Open, app_url: str, engine: Engine) -> None:
    page = visit()
    captions, chips = tiles_of(page).locator(".caption"), chips_of(page)
    found = [hit.item.caption for hit in engine.search("a dog", 5).hits]
    page.goto(f"{app_url}?tab=search&q=a+dog&k=5")
    expect(chips).to_have_text(["a dog×"], timeout=WAIT_MS)
    expect(captions.nth(4)).to_be_attached(timeout=WAIT_MS)
    assert captions.all_text_contents()[:5] == found
    page.goto(f"{app_url}?tab=search&q=a+planet&part=-1.5%3Atext%3Asnow&where=subject%3Dspace&k=50&fold=0")
    expect(captions).to_have_count(15, timeout=WAIT_MS)  # all that there are
    expect(chips).to_have_text(["a planet×", "Less like this: snow×", "Subject: space×"])
    expect(page.locator("#query textarea")).to_have_value("a planet")
    expect(page.locator("#wall .filters input[type=checkbox]")).not_to_be_checked()
    page.goto(f"{app_url}?tab=search&q=a+planet&from=12&fold=0")
    following = engine.query([Part("a planet")], 5, start=12, fold=False).hits
    expect(captions.first).to_have_text(following[0].item.caption, timeout=WAIT_MS)
    assert captions.all_text_contents()[:5] == [hit.item.caption for hit in following]
    page.goto(f"{app_url}?tab=similar&id=skimage%2Fcoffee.jpg&box=10%2C+20%2C+60%2C+70")
    expect(chips.first).to_contain_text("espresso", timeout=WAIT_MS)
    expect(chips.last).to_contain_text("10, 20, 60, 70")
    expect(page.locator("#similar_picture img")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#similar_picture .box")).to_be_visible()
    page.goto(f"{app_url}?tab=describe&id=skimage%2Fcoffee.jpg")
    expect(page.locator("#sentence")).to_contain_text("espresso", timeout=WAIT_MS)
    expect(page.locator("#describe_picture img")).to_be_visible()


@pytest.fixture(scope="module")
def client(app_url: str) -> Client:
    return Client(app_url, verbose=False)


def check_hits(answer: Any, link: str) -> None:
    """The answer that `/search` and `/similar` give for one hit."""
    found, note, cards, address, scores = answer
    assert {"query", "seconds", "stages", "cut", "language", "has_match", "start", "following", "hits"} <= set(found)
    [hit] = found["hits"]
    assert {"rank", "id", "score", "strength", "caption", "columns", "near_duplicates"} <= set(hit)
    assert (hit["rank"], type(hit["id"]), type(hit["score"])) == (1, str, float)
    assert hit["strength"] in ("strong", "fair", "weak") and hit["columns"]["subject"] == "food"
    assert "1 picture" in note and cards["hits"][0]["src"].startswith("data:image/webp;base64,")
    assert re.fullmatch(link, address) and scores == ""


def test_calls_of_search(client: Client) -> None:
    link = r"\?tab=search&q=a\+red\+fruit&where=subject%3Dfood&k=1&fold=0"
    check_hits(client.predict("a red fruit", 1, ["subject=food"], False, api_name="/search"), link)
    named = {"text": "a red fruit", "k": 1, "where": ["subject=food"], "fold": False}
    check_hits(client.predict(**named, api_name="/search"), link)
    assert len(client.predict("a red fruit", api_name="/search")[0]["hits"]) == 12


def test_calls_of_similar(client: Client) -> None:
    link = r"\?tab=similar&u=[0-9a-f]{16}&box=10%2C\+20%2C\+60%2C\+70&where=subject%3Dfood&k=1&fold=0"
    picture, box, where = handle_file(COFFEE), "10, 20, 60, 70", ["subject=food"]
    check_hits(client.predict(picture, 1, box, where, False, api_name="/similar"), link)
    named = {"image": picture, "k": 1, "box": box, "where": where, "fold": False}
    check_hits(client.predict(**named, api_name="/similar"), link)
    assert len(client.predict(picture, api_name="/similar")[0]["hits"]) == 12


def test_calls_of_describe(client: Client) -> None:
    picture = handle_file(COFFEE)
    for sentence, tags, note, colours in (
        client.predict(picture, "short", "", "en", api_name="/describe"),
        client.predict(image=picture, detail="short", question="", language="en", api_name="/describe"),
        client.predict(picture, api_name="/describe"),
    ):
        assert "espresso" in sentence and note.endswith(" s")
        for label in (tags, colours):
            assert label["label"] == label["confidences"][0]["label"]
            assert 0 < label["confidences"][0]["confidence"] <= 1
