"""The map of a collection in a real browser, on a page of its own."""

import asyncio
import io
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from imgsearch.index.index import Index
from imgsearch.search.projection import NUM_POINTS, Projection
from imgsearch.web.components.map import MAX_VALUES, MapView
from imgsearch.web.i18n import browser_translations, language_of
from imgsearch.web.server import STYLE
from tests.helpers.app import free_port
from tests.helpers.examples import NUM_EXAMPLES

EVIL = "<img src=x onerror=\"document.title='owned'\">${document.title='owned'}{{value}}"
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 360, "height": 860}
HITS = list(range(20, 40))
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def url(index: Index, drawn: Projection) -> Iterator[str]:
    """A page with the map in its second tab, what marks it, and the number of the point that was opened."""
    groups = {
        "subject": [EVIL if row == 7 else index.item(int(row)).columns["subject"] for row in drawn.rows],
        EVIL: ["", *(["one", EVIL] * len(drawn))][: len(drawn)],
    }

    def value(request: gr.Request) -> object:
        return view.value("starter", drawn, groups, request)

    def opened(event: gr.EventData, request: gr.Request) -> str:
        return f"opened {view.picked(event, 'starter', len(drawn), request)}"

    with gr.Blocks(analytics_enabled=False, fill_width=True) as page, gr.Tabs():
        with gr.Tab("first"):
            mark, clear, hide = gr.Button("mark"), gr.Button("clear"), gr.Button("hide")
            note = gr.Textbox(elem_id="opened")
        with gr.Tab("second"):
            view = MapView(partial(thumbnail_of, index))
        page.load(value, None, view.component)
        middle = drawn.points[HITS].mean(axis=0)
        mark.click(lambda: view.marks((middle[0], middle[1]), HITS), None, view.component)
        clear.click(lambda: view.marks(None, []), None, view.component)
        hide.click(lambda: None, None, view.component)
        view.component.select(opened, None, note)
    launched = {"prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1", "ssr_mode": False}
    yield page.launch(server_port=free_port(), css_paths=STYLE, i18n=browser_translations(), **launched)[1]
    page.close()


def thumbnail_of(index: Index, collection: str, point: int, request: gr.Request) -> tuple[bytes, str]:
    """The thumbnail and caption of a point; the collection that a browser names may be any."""
    if collection != "starter" or not 0 <= point < len(index):
        raise LookupError(point)
    item = index.item(point)
    return item.thumbnail, EVIL if point == 5 else item.columns["caption_fr"] if language_of(
        request
    ) == "fr" else item.caption


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], url: str) -> Iterator[Open]:
    """Opens the page at the map; a script error fails the test."""
    errors: list[str] = []

    def visit(viewport: dict[str, int] = WIDE, locale: str = "en-US", **options: object) -> Page:
        page = new_context(viewport=viewport, locale=locale, **options).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.get_by_role("tab", name="second").click()
        expect(page.locator(".atlas-legend li").first).to_be_visible(timeout=30_000)
        return page

    yield visit
    assert not errors


def canvas_of(page: Page) -> Locator:
    return page.locator("#atlas canvas")


def place_of(page: Page, drawn: Projection, point: int) -> tuple[float, float]:
    """Where a point is drawn while all of the map is seen: the widest fit of its box, 26 pixels from the frame."""
    frame = canvas_of(page).bounding_box()
    assert frame
    low, high = drawn.points.min(axis=0).astype(float), drawn.points.max(axis=0).astype(float)
    sides = np.array([frame["width"], frame["height"]])
    scale = float(np.min((sides - 52) / (high - low)))
    left, top = (drawn.points[point] - (low + high) / 2) * scale + sides / 2
    return frame["x"] + float(left), frame["y"] + float(top)


def lonely(drawn: Projection) -> int:
    """The point that is farthest from any other."""
    away = np.linalg.norm(drawn.points[:, None].astype(float) - drawn.points[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    return int(np.argmax(away.min(axis=1)))


def pixels(page: Page) -> list[int]:
    """The canvas after what is under way, one number for each pixel that is drawn on."""
    script = """canvas => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
      const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      done(Array.from(new Uint32Array(all.buffer)).filter((pixel) => pixel));
    })))"""
    return list(canvas_of(page).evaluate(script))


def drawn_anew(page: Page, before: list[int]) -> list[int]:
    """The canvas once it is another than it was."""
    for _ in range(50):
        if (now := pixels(page)) != before:
            return now
        page.wait_for_timeout(100)
    raise AssertionError("nothing was drawn anew")


def drawn_again(page: Page, wanted: list[int]) -> None:
    """Wait until the canvas is again as it was."""
    for _ in range(50):
        if pixels(page) == wanted:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the canvas is another")


def press(page: Page, tab: str, button: str) -> None:
    """Press a button of the first tab and come back to the map."""
    page.get_by_role("tab", name="first").click()
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_load_state("networkidle")
    page.get_by_role("tab", name=tab).click()


def test_hovering_shows_the_picture_and_a_click_opens_it(visit: Open, drawn: Projection, index: Index) -> None:
    page, point = visit(), lonely(drawn)
    page.mouse.move(*place_of(page, drawn, point))
    card = page.locator(".atlas-card")
    expect(card).to_contain_text(index.item(point).caption)
    width = card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == Image.open(io.BytesIO(index.item(point).thumbnail)).width
    page.mouse.click(*place_of(page, drawn, point))
    page.get_by_role("tab", name="first").click()
    expect(page.locator("#opened textarea")).to_have_value(f"opened {point}")
    page.get_by_role("tab", name="second").click()
    page.mouse.move(*place_of(page, drawn, point))
    expect(card).to_be_visible()
    frame = canvas_of(page).bounding_box()
    assert frame
    page.mouse.move(frame["x"] + 3, frame["y"] + 3)
    expect(card).to_be_hidden()


def test_by_the_keyboard_alone(visit: Open, index: Index) -> None:
    page = visit()
    canvas, live = canvas_of(page), page.locator(".atlas-live")
    expect(canvas).to_have_attribute("aria-label", re.compile(f"{NUM_EXAMPLES} pictures.*arrow keys"))
    captions = [index.item(row).caption for row in range(len(index))]
    canvas.focus()
    told = []
    for key in ("ArrowUp", "ArrowRight", "ArrowDown"):
        before = live.text_content() or ""
        page.keyboard.press(key)
        expect(live).not_to_have_text(before)
        told.append(live.text_content())
    assert set(told) <= {*captions, EVIL} and len(set(told)) == 3
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="first").click()
    note = page.locator("#opened textarea")
    expect(note).to_have_value(re.compile(r"opened \d+"))
    assert captions[int(note.input_value().split()[1])] == told[-1]


def test_what_the_collection_says_is_text(visit: Open, drawn: Projection) -> None:
    page = visit()
    page.locator(".atlas select").select_option(index=1)
    expect(page.locator(".atlas-legend li")).to_have_count(3)
    expect(page.locator(".atlas-legend")).to_contain_text("<img src=x onerror=")
    expect(page.locator(".atlas option").nth(1)).to_have_text(EVIL)
    canvas_of(page).focus()
    page.mouse.move(*place_of(page, drawn, 5))
    card = page.locator(".atlas-card")
    expect(card).to_contain_text(EVIL)
    assert page.locator(".atlas img").count() == 1
    assert page.title() != "owned"


def test_colours_by_column_and_cluster(visit: Open, drawn: Projection) -> None:
    page = visit()
    legend = page.locator(".atlas-legend li")
    expect(legend).to_have_count(MAX_VALUES + 1)
    expect(legend.last).to_have_text(re.compile("^other"))
    by_subject = pixels(page)
    page.locator(".atlas select").select_option(label="neighbourhood")
    expect(legend).to_have_count(int(drawn.clusters.max()) + 1)
    expect(legend.first).to_have_text(f"Area 1{np.sum(drawn.clusters == 0)}")
    by_cluster = drawn_anew(page, by_subject)
    button = legend.first.get_by_role("button")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    drawn_anew(page, by_cluster)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    drawn_again(page, by_cluster)


def test_the_query_and_its_hits_are_marked(visit: Open) -> None:
    page = visit()
    key, plain = page.locator(".atlas-key"), pixels(page)
    expect(key).to_be_hidden()
    press(page, "second", "mark")
    expect(key).to_contain_text("your query")
    drawn_anew(page, plain)
    press(page, "second", "clear")
    expect(key).to_be_hidden()
    drawn_again(page, plain)
    press(page, "second", "hide")
    expect(page.locator("#atlas canvas")).to_be_hidden()


def test_zoom_and_drag(visit: Open, drawn: Projection, index: Index) -> None:
    page, point = visit(), lonely(drawn)
    left, top = place_of(page, drawn, point)
    frame = canvas_of(page).bounding_box()
    assert frame
    page.mouse.move(left, top)
    page.mouse.wheel(0, -600)  # what lies under the pointer stays there
    page.mouse.move(left + 40, top)
    expect(page.locator(".atlas-card")).to_be_hidden()
    page.mouse.move(left, top)
    expect(page.locator(".atlas-card")).to_contain_text(index.item(point).caption)
    middle = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    step = 60 if left < middle[0] else -60
    page.mouse.move(left + 30, top + 30)
    page.mouse.down()
    page.mouse.move(left + 30 + step, top + 30, steps=5)
    page.mouse.up()
    page.mouse.move(left + step, top)
    expect(page.locator(".atlas-card")).to_contain_text(index.item(point).caption)
    page.get_by_role("button", name="Show all").click()
    page.mouse.move(left, top)
    expect(page.locator(".atlas-card")).to_contain_text(index.item(point).caption)
    zoom_in, zoom_out = (page.get_by_role("button", name=name) for name in ("Zoom in", "Zoom out"))
    zoom_in.hover()
    expect(page.locator(".atlas-card")).to_be_hidden()
    before = pixels(page)
    zoom_in.click()
    drawn_anew(page, before)
    zoom_out.click()
    drawn_again(page, before)


def test_french_dark_and_narrow(visit: Open, drawn: Projection, index: Index, tmp_path: Path) -> None:
    page = visit(NARROW, "fr-FR", color_scheme="dark", is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator(".atlas label")).to_contain_text("Colorer par")
    expect(canvas_of(page)).to_have_attribute("aria-label", re.compile(f"Carte de {NUM_EXAMPLES} images"))
    expect(page.get_by_role("button", name="Tout voir")).to_be_visible()
    light = pixels(visit(NARROW, "fr-FR"))
    assert len(pixels(page)) > 1000 and pixels(page) != light
    point = lonely(drawn)
    page.touchscreen.tap(*place_of(page, drawn, point))
    page.get_by_role("tab", name="first").click()
    expect(page.locator("#opened textarea")).to_have_value(f"opened {point}")


@pytest.mark.parametrize(
    "asked", [["starter", -1], ["starter", NUM_EXAMPLES], ["other", 1], ["starter", "1"], ["starter"], 7, None]
)
def test_the_server_answers_for_points_of_the_map_only(url: str, asked: object) -> None:
    config = json.load(urllib.request.urlopen(f"{url}config"))
    number = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "atlas")

    def card(data: object) -> object:
        body = {"data": data, "fn_name": "card", "component_id": number, "session_hash": "abc"}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}gradio_api/component_server", json.dumps(body).encode(), headers)
        return json.load(urllib.request.urlopen(request))

    assert card(["starter", 1])["caption"]  # type: ignore[index]
    assert card(asked) is None


def test_cards_are_made_one_by_one_and_keep_no_thread_waiting() -> None:
    threads: list[int] = []

    def thumbnail(collection: str, point: int, request: gr.Request) -> tuple[bytes, str]:
        threads.append(threading.active_count())
        time.sleep(0.02)
        return b"", str(point)

    async def ask(view: MapView) -> list[dict[str, str]]:
        cards = (view.component.card(["starter", point], gr.Request()) for point in range(20))
        return await asyncio.gather(*cards)

    with gr.Blocks():
        captions = [card["caption"] for card in asyncio.run(ask(MapView(thumbnail)))]
    assert captions == [str(point) for point in range(20)] and max(threads) - threads[0] < 2


@pytest.mark.parametrize(
    "data", [{"point": NUM_EXAMPLES}, {"point": -1}, {"point": "1"}, {"point": True}, {"point": 1.0}, {}]
)
def test_only_a_point_of_the_map_is_picked(data: dict[str, object]) -> None:
    request = gr.Request(headers={"accept-language": "fr-FR"})
    sound = gr.EventData(None, {"point": NUM_EXAMPLES - 1, "collection": "starter"})
    assert MapView.picked(sound, "starter", NUM_EXAMPLES, request) == NUM_EXAMPLES - 1
    for collection, event in (("starter", data | {"collection": "starter"}), ("other", sound._data)):
        with pytest.raises(gr.Error, match="Cette image"):
            MapView.picked(gr.EventData(None, event), collection, NUM_EXAMPLES, request)


def test_ten_thousand_points_are_small_to_send() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 65_535, (NUM_POINTS, 2)).astype(np.uint16)
    clusters = rng.integers(0, 12, NUM_POINTS).astype(np.uint8)
    groups = {str(column): [f"value {number}" for number in range(NUM_POINTS)] for column in range(6)}
    value = MapView.value("many", Projection(np.arange(NUM_POINTS), points, clusters), groups, gr.Request(headers={}))
    assert len(json.dumps(value)) < 200_000
