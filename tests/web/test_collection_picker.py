"""Several collections in one app, and collections without thumbnails or originals."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import BrowserContext, expect

from imgsearch.config import ROOT, Settings
from imgsearch.engine import Engine
from imgsearch.errors import SettingsError
from imgsearch.images import open_rgb
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.model_manager import ModelManager
from imgsearch.models.encoder import Encoder
from tests.helpers.app import running_app
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.hostile_bundles import with_annex
from tests.helpers.pages import (
    NARROW,
    WAIT_MS,
    WIDE,
    act,
    chips_of,
    expect_reachable,
    is_too_wide,
    open_hit,
    search,
    tiles_of,
)

STARTER = ROOT / "indexes" / "starter"


@pytest.fixture(scope="module")
def fruit(encoder: Encoder, examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three pictures, without thumbnails."""
    folder = tmp_path_factory.mktemp("collections")
    (folder / "pictures").mkdir()
    for name in ("kiwi", "orange_seville", "strawberry2"):
        (folder / "pictures" / f"{name}.jpg").write_bytes((examples / "stamps" / f"food-fruit-{name}.jpg").read_bytes())
    dates = ["kiwi.jpg,2019-05-04T08:00:00", "orange_seville.jpg,2019-05-04T12:30:00", "strawberry2.jpg,2021-07-14"]
    (folder / "pictures" / "metadata.csv").write_text("\n".join(["file_name,taken", *dates]), "utf-8")
    build_index(Folder(folder / "pictures"), folder / "fruit", encoder, BuildOptions(thumbnails=False))
    [calibration] = STARTER.glob("calibration-*")  # three pictures have none of their own
    with_annex("calibration.json", calibration.read_bytes)(folder / "fruit")
    return folder / "fruit"


@pytest.fixture(scope="module")
def url(fruit: Path) -> Iterator[str]:
    with running_app("--index", str(STARTER), "--index", str(fruit)) as (url, _):
        yield url


def test_each_collection_answers_for_itself(url: str, examples: Path) -> None:
    client = Client(url, verbose=False)
    picture = handle_file(examples / "stamps" / "food-fruit-kiwi.jpg")
    for collection, count in (("starter", 12), ("fruit", 3)):
        answers = [
            client.predict("something to eat", 12, collection, api_name="/search")[0],
            client.predict(picture, 12, collection, api_name="/similar")[0],
        ]
        assert [len(answer["hits"]) for answer in answers] == [count, count]
        assert Path(answers[1]["hits"][0]["id"]).stem.endswith("kiwi")
    assert len(client.predict("something to eat", 12, api_name="/search")[0]["hits"]) == 12  # the first one
    with pytest.raises(AppError):
        client.predict("something to eat", 12, "../../etc", api_name="/search")


def test_a_link_to_a_collection_that_is_gone_says_so(url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(viewport=WIDE).new_page()
    page.goto(f"{url}?in=<b>holidays&q=a+dog")
    expect(page.get_by_text("There is no collection <b>holidays here any more")).to_have_count(1, timeout=60_000)
    expect(tiles_of(page).first).to_be_visible(timeout=WAIT_MS)
    page.goto(f"{url}?in=fruit")
    expect(tiles_of(page)).to_have_count(3, timeout=WAIT_MS)
    expect(page.get_by_text("no collection")).to_have_count(0)


def test_a_link_to_a_picture_that_is_gone_says_so_once(url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(viewport=WIDE).new_page()
    for tab in ("similar", "describe"):
        page.goto(f"{url}?tab={tab}&id=gone.jpg")
        expect(page.get_by_text("has no picture 'gone.jpg'")).to_have_count(1, timeout=60_000)
        page.wait_for_timeout(500)  # until any other sentence would be there, too
        expect(page.get_by_text("has no picture 'gone.jpg'")).to_have_count(1)


def test_the_choice_shows_the_collection(url: str, new_context: Callable[..., BrowserContext]) -> None:
    """It starts afresh: what was asked of the one collection is not asked of the other."""
    page = new_context(viewport=NARROW, locale="fr-FR").new_page()
    page.goto(url)
    banner, tiles = page.locator("#banner"), tiles_of(page)
    expect(banner).to_contain_text(f"{NUM_EXAMPLES} images", timeout=60_000)
    expect(search(page, "un chien").first).to_be_visible(timeout=WAIT_MS)
    page.get_by_label("Collection").click()
    page.get_by_role("option", name="fruit").click()
    expect(tiles).to_have_count(3, timeout=WAIT_MS)
    expect(banner).to_contain_text("3 images")
    expect(chips_of(page)).to_have_count(0)
    expect(page).to_have_url(re.compile("in=fruit"))
    page.locator("#similar_tab-button").click()
    expect(page.locator("#similar_examples button")).to_have_count(3, timeout=WAIT_MS)  # of its own pictures
    expect(search(page, "a red fruit")).to_have_count(3, timeout=WAIT_MS)
    dialog = open_hit(page, 0)
    expect(dialog).to_contain_text("strawberry2.jpg", timeout=WAIT_MS)
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("open="))
    page.go_back()  # to the collection
    page.go_back()
    expect(banner).to_contain_text(f"{NUM_EXAMPLES} images")
    expect(chips_of(page)).to_have_text(re.compile("un chien"), timeout=WAIT_MS)
    expect(page.get_by_label("Collection")).to_have_value("starter")
    assert not is_too_wide(page)


def test_what_has_no_thumbnail_shows_its_picture_or_a_blank(fruit: Path) -> None:
    engine = Engine.open(fruit, "starter", "starter")
    item = engine.index.item_by_id("kiwi.jpg")
    assert item.thumbnail == b""
    shown = open_rgb(engine.thumbnail(item))
    assert shown.size == (250, 245) and len(shown.getcolors(10**6) or []) > 1000
    picture = fruit.parent / "pictures" / "kiwi.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(b"changed")
    try:
        engine = Engine.open(fruit, "starter", "starter")  # the other one keeps what it has made
        assert len(open_rgb(engine.thumbnail(item)).getcolors() or []) == 1
        assert engine.large_picture("kiwi.jpg") == engine.thumbnail(item)
    finally:
        picture.write_bytes(whole)


def test_collections_of_one_encoder_share_it(fruit: Path) -> None:
    engines = [Engine.open(bundle, "starter", "starter") for bundle in (STARTER, fruit)]
    first, second = (engine.searcher.encoder for engine in engines)
    assert first is second is ModelManager(fruit).current.encoder


def test_only_the_app_takes_several() -> None:
    assert Settings.read({"index": [STARTER, Path("b")]}).index == (STARTER, Path("b"))
    assert Settings.read({}, {"IMGSEARCH_INDEX": "a:b"}).index == (Path("a"), Path("b"))
    assert Settings.read({}).bundle == STARTER
    with pytest.raises(SettingsError, match="Give one"):
        _ = Settings.read({"index": [STARTER, Path("b")]}).bundle


def test_hits_are_sorted_by_date_with_days_between(url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(viewport=WIDE, locale="en-GB").new_page()
    page.goto(url)
    tiles, days, sort = tiles_of(page), page.locator("#wall .day"), page.get_by_label("Sort")
    expect(tiles.first).to_be_visible(timeout=60_000)
    expect(sort).to_have_count(0)  # of a collection without dates or numbers
    page.goto(f"{url}?tab=search&q=a+strawberry&in=fruit")
    expect(tiles.first).to_contain_text("strawberry", timeout=WAIT_MS)
    expect(sort.locator("option")).to_have_text(["Best match", "Newest first", "Oldest first"])
    expect(days).to_have_count(0)
    sort.focus()
    sort.select_option("Oldest first")
    expect(days).to_have_text(["14 July 2021", "4 May 2019"], timeout=WAIT_MS)
    expect(page).to_have_url(re.compile(r"q=a\+strawberry&sort=taken&in=fruit$"))
    assert [name.split(".")[0] for name in tiles.locator(".caption").all_inner_texts()] == [
        *("strawberry2", "kiwi", "orange_seville")  # the first one is likely, those below are not
    ]
    expect(page.locator("#wall .grid > *")).to_have_count(3)  # the hits, "Less likely", the others
    expect(page.locator("#wall .divider + .tiles .day")).to_have_count(1)
    expect(sort).to_be_focused()
    expect_reachable(page)
    page.get_by_role("button", name="Remove").click()
    expect(days).to_have_text(["4 May 2019", "14 July 2021"], timeout=WAIT_MS)  # of the whole collection
    expect(sort.locator("option").first).to_have_text("Mixed")
    french = new_context(viewport=NARROW, locale="fr-FR").new_page()
    french.goto(f"{url}?tab=search&sort=-taken&in=fruit")
    expect(french.locator("#wall .day")).to_have_text(["14 juillet 2021", "4 mai 2019"], timeout=WAIT_MS)
    expect(french.get_by_label("Trier")).to_have_text(re.compile("Plus récentes"))
    tiles_of(french).first.locator(".pick").focus()
    for key, number in (("ArrowDown", 2), ("ArrowUp", 0), ("ArrowRight", 1)):
        french.keyboard.press(key)
        expect(tiles_of(french).nth(number).locator(".pick")).to_be_focused()
    assert not is_too_wide(french)
    french.goto(f"{url}?tab=search&sort=weight&in=fruit")
    expect(french.locator("#wall .error")).to_contain_text("pas de colonne 'weight'. Elle a : id, caption, taken")


def test_what_is_asked_stays_in_its_collection(url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(viewport=WIDE, locale="en-US").new_page()
    page.goto(f"{url}?tab=similar&id=stamps/food-fruit-strawberry2.jpg")
    tiles = tiles_of(page)
    expect(chips_of(page)).to_contain_text("strawberr", timeout=60_000)
    page.goto(f"{url}?tab=similar&id=strawberry2.jpg&in=fruit")
    expect(tiles).to_have_count(2, timeout=WAIT_MS)  # but for the picture itself
    expect(page.get_by_label("Collection")).to_have_value("fruit")
    act(tiles.filter(has_text="kiwi"), 1)
    expect(page.locator("#sentence")).to_have_text(re.compile(r"\w+"), timeout=WAIT_MS)
    page.locator("#search_description").click()
    expect(page).to_have_url(re.compile("tab=search&q=.*&in=fruit"), timeout=WAIT_MS)
    expect(page.locator("#banner")).to_contain_text("3 pictures")
    page.goto(f"{url}?tab=similar&id=kiwi.jpg")  # its id names nothing in the first one
    expect(page.locator("#wall .error")).to_contain_text("kiwi.jpg", timeout=WAIT_MS)
    expect(page.get_by_test_id("toast-text")).to_have_count(0)
