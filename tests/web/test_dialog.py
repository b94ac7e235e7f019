"""A picture of the wall or of the map opens in a dialog over the page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from imgsearch.images import open_rgb
from tests.helpers.pages import (
    NARROW,
    WAIT_MS,
    Open,
    captions,
    chips_of,
    expect_first,
    expect_tab,
    is_inside,
    open_hit,
    search,
    tiles_of,
    upload,
)

WINDOWS = [{"width": 1280, "height": 720}, NARROW, {"width": 1920, "height": 1080}]


def expect_inside(page: Page) -> None:
    """The opened picture is there, and lies inside the window."""
    expect(page.locator("dialog[open] dd").first).to_be_visible(timeout=WAIT_MS)
    assert is_inside(page.locator("dialog[open] img"))
    assert page.locator("dialog[open] img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: f"{window['width']}")
def test_it_lies_inside_the_window(window: dict[str, int], visit: Open) -> None:
    page = visit(window)
    search(page, "a dog")
    open_hit(page, 9)  # far down
    expect_inside(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog h2")).to_have_text(captions(page)[10])
    expect_inside(page)
    page.keyboard.press("Escape")
    page.locator("#wall .views button").last.click()
    canvas = page.locator("#atlas canvas")
    expect(canvas).to_be_visible(timeout=60_000)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#atlas .atlas-card img")).to_be_visible(timeout=WAIT_MS)
    page.keyboard.press("Enter")
    expect_inside(page)


def test_it_walks_closes_and_has_an_address(visit: Open, app_url: str) -> None:
    page = visit()
    search(page, "a planet")
    names, title = captions(page), page.locator("dialog[open] h2")
    open_hit(page, 0)
    expect(title).to_have_text(names[0])
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text(names[1])
    page.get_by_role("button", name="Next", exact=True).click()
    expect(title).to_have_text(names[2])
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text(names[1])
    expect(page).to_have_url(re.compile(r"\?tab=search&q=a\+planet&open=\w"))
    link = page.url
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect(page).to_have_url(f"{app_url}?tab=search&q=a+planet")
    expect(tiles_of(page).nth(1).locator(".pick")).to_be_focused()
    assert captions(page) == names
    open_hit(page, 4)
    page.go_back()
    expect(page.locator("dialog")).to_be_hidden()
    expect(page).to_have_url(f"{app_url}?tab=search&q=a+planet")
    page.go_forward()
    expect(title).to_have_text(names[4])

    other = visit()
    other.goto(link)
    expect(other.locator("dialog[open] h2")).to_have_text(names[1], timeout=WAIT_MS)
    expect(other.locator("dialog[open] dd").first).to_be_visible(timeout=WAIT_MS)
    other.get_by_role("button", name="Close").click()
    expect(other.locator("dialog")).to_be_hidden()
    expect(other).to_have_url(f"{app_url}?tab=search&q=a+planet")
    assert captions(other) == names


def test_it_tells_all_about_a_picture_and_leads_on(visit: Open, examples: Path) -> None:
    page = visit()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    dialog = open_hit(page, 0)
    for text in ("best match · looks like the query", "skimage/coffee.jpg", "Rachel Michetti", "Licence"):
        expect(dialog).to_contain_text(text)
    width = dialog.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == open_rgb(examples / "skimage" / "coffee.jpg").width
    with page.expect_download() as saved:
        dialog.get_by_text("Download").click()
    assert open_rgb(Path(saved.value.path())).width == width and saved.value.suggested_filename == "coffee.webp"
    dialog.get_by_role("button", name="Describe").click()
    expect_tab(page, "describe")
    expect(page.locator("dialog")).to_be_hidden()
    expect(page.locator("#sentence")).to_contain_text(re.compile("cup|coffee|espresso"), timeout=WAIT_MS)
    page.go_back()
    expect_tab(page, "similar")
    expect_first(page, "espresso")
    expect(chips_of(page)).to_have_text(re.compile("coffee.jpg"))


def test_a_link_to_a_picture_that_is_gone_says_so(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=search&q=a+planet&open=nope%3Cb%3E.jpg")
    expect(page.locator("dialog[open] h2")).to_contain_text("no longer shown", timeout=WAIT_MS)
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect_first(page, "planet")
