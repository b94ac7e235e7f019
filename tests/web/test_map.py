"""The map of a collection: the second view of the wall, with pictures as points, in a real browser."""

import base64
import io
import json
import re
import urllib.request
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from imgsearch.engine import Engine
from imgsearch.index.index import Index
from imgsearch.search.projection import NUM_POINTS, Projection
from imgsearch.web.components.map import POINT_SIDE, map_value
from tests.helpers.app import wait_until
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.pages import NARROW, WAIT_MS, Open, is_too_wide, search

MARGIN = 30  # pixels between the outermost points and the frame
SUM = """(canvas) => {
  const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Uint32Array(all.buffer).reduce((sum, pixel) => (31 * sum + pixel) | 0, 0);
}"""


def open_map(page: Page) -> Locator:
    """Look at the map, until it is there; its canvas."""
    page.locator("#wall .views button").last.click()
    canvas = page.locator("#atlas canvas")
    expect(canvas).to_be_visible(timeout=4 * WAIT_MS)
    canvas.scroll_into_view_if_needed()
    return canvas


def place_of(page: Page, drawn: Projection, point: int) -> tuple[float, float]:
    """Where a point is drawn while all of the map is seen: the widest fit of its box within the margin."""
    is_tall = page.evaluate("innerHeight > innerWidth")  # then the axes have changed places
    points = drawn.points[:, ::-1] if is_tall else drawn.points
    frame = page.locator("#atlas canvas").bounding_box()
    assert frame
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    sides = np.array([frame["width"], frame["height"]])
    scale = float(np.min((sides - 2 * MARGIN) / (high - low)))
    left, top = (points[point] - (low + high) / 2) * scale + sides / 2
    return frame["x"] + float(left), frame["y"] + float(top)


@pytest.fixture(scope="module")
def drawn(engine: Engine) -> Projection:
    """The map that the app shows, too."""
    return engine.searcher.derived.projection()


@pytest.fixture(scope="module")
def lonely(drawn: Projection) -> int:
    """The point that is farthest from any other."""
    away = np.linalg.norm(drawn.points[:, None].astype(float) - drawn.points[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    return int(np.argmax(away.min(axis=1)))


def drawing(page: Page, other_than: int = 0) -> int:
    """What is drawn, as a number, once it stays as it is; another than before."""
    page.wait_for_function(
        f"""(before) => {{
          const now = ({SUM})(document.querySelector('#atlas canvas')), isSame = now === window.drawn;
          window.drawn = now;
          return isSame && now !== 0 && now !== before;
        }}""",
        arg=other_than,
        polling=200,
    )
    return int(page.evaluate("window.drawn"))


def test_hovering_shows_the_picture_and_a_click_opens_it(
    visit: Open, drawn: Projection, index: Index, lonely: int
) -> None:
    page = visit()
    canvas, item = open_map(page), index.item(int(drawn.rows[lonely]))
    expect(page.locator("#wall .tiles")).to_be_hidden()
    page.mouse.move(*place_of(page, drawn, lonely))
    card = page.locator(".atlas-card")
    expect(card).to_contain_text(item.caption)
    width = card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == Image.open(io.BytesIO(item.thumbnail)).width
    page.mouse.click(*place_of(page, drawn, lonely))
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("h2")).to_have_text(item.caption)
    expect(dialog.locator("dd", has_text=item.id)).to_be_visible()
    expect(page).to_have_url(re.compile(r"open="))
    page.go_back()
    expect(dialog).to_have_count(0)
    expect(canvas).to_be_visible()
    frame = canvas.bounding_box()
    assert frame
    page.mouse.move(frame["x"] + 3, frame["y"] + 3)
    expect(card).to_be_hidden()
    page.locator("#wall .views button").first.click()
    expect(page.locator("#wall .tiles")).to_be_visible()
    expect(canvas).to_be_hidden()


@pytest.mark.parametrize("sides", [(1280, 720), (400, 664), (1920, 1080)])
def test_by_the_keyboard_alone(visit: Open, index: Index, sides: tuple[int, int]) -> None:
    page = visit({"width": sides[0], "height": sides[1]})
    canvas, live = open_map(page), page.locator("#atlas .live")
    expect(canvas).to_have_attribute("aria-label", re.compile(f"{NUM_EXAMPLES} pictures.*arrow keys"))
    canvas.focus()
    told = []
    for key in ("ArrowUp", "ArrowRight", "ArrowDown"):
        before = live.text_content() or ""
        page.keyboard.press(key)
        expect(live).not_to_have_text(before)
        told.append(live.text_content())
    assert set(told) <= {index.item(row).caption for row in range(len(index))} and len(set(told)) == 3
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("h2")).to_have_text(str(told[-1]))
    expect(dialog.locator("dd").first).to_be_visible()
    for shown in (dialog, dialog.locator("img")):
        box = shown.bounding_box()
        assert box and box["width"] > 100 and box["x"] >= 0 and box["y"] >= 0
        assert box["x"] + box["width"] <= sides[0] and box["y"] + box["height"] <= sides[1]
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert not is_too_wide(page)


def test_the_hits_are_marked(visit: Open) -> None:
    page = visit()
    open_map(page)
    plain = drawing(page)
    search(page, "a planet")
    planets = drawing(page, plain)
    search(page, "a dog")
    drawing(page, planets)
    page.locator("#wall .clear button").click()
    expect(page.locator("#wall .chips")).to_have_count(0)
    page.wait_for_function(f"(plain) => ({SUM})(document.querySelector('#atlas canvas')) === plain", arg=plain)


def test_zoom_and_drag(visit: Open, drawn: Projection, index: Index, lonely: int) -> None:
    page = visit()
    canvas, caption = open_map(page), index.item(int(drawn.rows[lonely])).caption
    card, whole = page.locator(".atlas-card"), drawing(page)
    left, top = place_of(page, drawn, lonely)
    frame = canvas.bounding_box()
    assert frame
    page.mouse.move(left, top)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -600)  # what lies under the pointer stays there
    page.keyboard.up("Control")
    page.mouse.move(left + 90, top)
    expect(card.filter(has_text=caption, visible=True)).to_have_count(0)  # it is hidden, or another's
    page.mouse.move(left, top)
    expect(card).to_contain_text(caption)
    step = 60 if left < frame["x"] + frame["width"] / 2 else -60
    page.mouse.down()
    page.mouse.move(left + step, top, steps=5)
    page.mouse.up()
    page.mouse.move(left + step, top + 1)
    expect(card).to_contain_text(caption)
    expect(page.locator("dialog[open]")).to_have_count(0)  # a drag is no click
    page.get_by_role("button", name="Show all").click()
    wait_until(lambda: drawing(page) == whole)
    page.get_by_role("button", name="Zoom in").click()
    drawing(page, whole)
    page.get_by_role("button", name="Zoom out").click()
    wait_until(lambda: drawing(page) == whole)


def test_a_plain_wheel_scrolls_the_page_and_not_the_map(visit: Open, drawn: Projection, lonely: int) -> None:
    page = visit({"width": 1400, "height": 500})
    open_map(page)
    page.evaluate("scrollTo(0, 0)")
    whole = drawing(page)
    frame = page.locator("#atlas canvas").bounding_box()
    assert frame
    page.mouse.move(frame["x"] + 5, frame["y"] + 5)
    page.mouse.wheel(0, 100)
    page.wait_for_function("scrollY > 0")
    assert drawing(page) == whole


def test_french_dark_and_narrow(visit: Open, drawn: Projection, index: Index, lonely: int) -> None:
    page = visit(NARROW, "fr-FR", color_scheme="dark")
    canvas = open_map(page)
    assert not is_too_wide(page)
    expect(canvas).to_have_attribute("aria-label", re.compile(f"Carte de {NUM_EXAMPLES} images"))
    expect(page.get_by_role("button", name="Tout voir")).to_be_visible()
    light = visit(NARROW, "fr-FR")
    open_map(light)
    assert drawing(page) != drawing(light)
    page.mouse.move(*place_of(page, drawn, lonely))
    item = index.item(int(drawn.rows[lonely]))
    expect(page.locator(".atlas-card")).to_contain_text(item.columns["caption_fr"])


@pytest.mark.parametrize(
    "asked", [["", -1], ["", NUM_EXAMPLES], ["", "1"], ["", True], ["", 1.5], [7, 1], [""], 7, None]
)
def test_the_server_answers_for_points_of_the_map_only(app_url: str, asked: object) -> None:
    with urllib.request.urlopen(f"{app_url}config") as response:
        components = json.load(response)["components"]
    number = next(part["id"] for part in components if part["props"].get("elem_id") == "atlas")

    def card(data: object) -> Any:
        body = {"data": data, "fn_name": "card", "component_id": number, "session_hash": "abc"}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{app_url}gradio_api/component_server", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    assert card(["", 1])["caption"]
    assert card(asked) is None


def test_areas_have_names_and_points_pictures(engine: Engine, drawn: Projection) -> None:
    english = map_value("", engine, gr.Request(headers={}))
    subjects = {value for value, _ in engine.index.columns.values("subject", 100)}
    names = [name for name, *_ in english["areas"]]
    assert len(names) >= 3 and {*names} <= subjects
    low, high = drawn.points.min(axis=0), drawn.points.max(axis=0)
    assert all((low <= place).all() and (place <= high).all() for _, *place in english["areas"])
    sheet = Image.open(io.BytesIO(base64.b64decode(english["sheet"].partition(",")[2])))
    assert sheet.width == english["across"] * POINT_SIDE and sheet.width * sheet.height >= NUM_EXAMPLES * POINT_SIDE**2


def test_ten_thousand_points_are_small_to_send(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 65_535, (NUM_POINTS, 2)).astype(np.uint16)
    many = Projection(np.arange(NUM_POINTS), points, rng.integers(0, 12, NUM_POINTS).astype(np.uint8))
    table = SimpleNamespace(
        metadata=["kind"], values=lambda name, count: [("a", 1), ("b", 2)], of=lambda name, rows: ["a"] * len(rows)
    )
    searcher = SimpleNamespace(derived=SimpleNamespace(projection=lambda: many))
    fake = SimpleNamespace(searcher=searcher, index=SimpleNamespace(columns=table))
    value = map_value("many", cast(Engine, fake), gr.Request(headers={}))
    assert len(json.dumps(value)) < 200_000 and value["sheet"] == "" and len(value["areas"]) == 12
