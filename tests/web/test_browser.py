"""The app in a real browser, as a visitor uses it."""

import base64
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.helpers.hostile_pictures import encoded
from tests.helpers.pages import (
    NARROW,
    WAIT_MS,
    WIDE,
    Open,
    captions,
    described,
    expect_first,
    expect_tab,
    is_inside,
    is_too_wide,
    not_blank,
    open_hit,
    open_tab,
    search,
    tiles_of,
    upload,
)

GIVE = """([kind, name, type, text]) => {
  const data = new DataTransfer(), bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  data.items.add(new File([bytes], name, { type }));
  const options = { bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data };
  const event = kind === 'paste' ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
  document.querySelector('#head').dispatchEvent(event);
}"""
WATCH = """() => {
  const picture = () => document.querySelector('#describe_picture img')?.src;
  const sentence = () => document.querySelector('#sentence')?.textContent;
  const [before, said] = [picture(), sentence()];
  window.mixed = 0;
  new MutationObserver(() => { window.mixed += Boolean(picture()) && picture() !== before && sentence() === said; })
    .observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
}"""


def give(page: Page, kind: str, picture: Path, mime: str) -> None:
    """Drop or paste a picture somewhere on the page."""
    page.evaluate(GIVE, [kind, picture.name, mime, base64.b64encode(picture.read_bytes()).decode()])


@pytest.mark.parametrize(("viewport", "num_tiles"), [(WIDE, 12), (NARROW, 2)], ids=["wide", "narrow"])
def test_the_first_screen(viewport: dict[str, int], num_tiles: int, visit: Open, tmp_path: Path) -> None:
    page = visit(viewport)
    expect_tab(page, "search")
    row = page.locator("#search_row").bounding_box()
    assert row and row["width"] > 0.8 * viewport["width"]
    for picks in (tiles_of(page).locator(".pick"), search(page, "a planet").locator(".pick")):
        assert is_inside(page.locator("#query textarea"))
        assert all(is_inside(picks.nth(number)) for number in range(num_tiles))
        not_blank(page, tmp_path / "page.png")


def test_no_window_is_too_narrow(visit: Open) -> None:
    page = visit({"width": 320, "height": 700}, "fr-FR", "dark")
    search(page, "un chat")
    for width in (320, 400, 768, 1920):
        page.set_viewport_size({"width": width, "height": 700})
        open_hit(page, 0)
        assert not is_too_wide(page)
        page.keyboard.press("Escape")
        page.locator("#wall .bar button[aria-expanded]").click()
        for tab in ("similar", "describe", "search"):
            open_tab(page, tab)
            expect_tab(page, tab)
            assert not is_too_wide(page)
        page.locator("#wall .bar button[aria-expanded]").click()
        page.locator("#wall .views button").last.click()
        expect(page.locator("#atlas canvas")).to_be_visible(timeout=60_000)
        assert not is_too_wide(page)
        page.locator("#wall .views button").first.click()


def test_describe_on_upload(visit: Open, examples: Path, tmp_path: Path) -> None:
    page = visit()
    upload(page, "describe", examples / "skimage" / "coffee.jpg")
    expect(page.locator("#sentence")).to_contain_text(re.compile("cup|coffee|espresso"), timeout=WAIT_MS)
    expect(page.locator("#tags")).to_contain_text("%")
    expect(page.locator("#colours")).to_contain_text("%")
    expect(page.locator("#sentence")).to_have_attribute("title", re.compile(" s$"))
    expect_first(page, "espresso")
    not_blank(page, tmp_path / "describe.png")


def test_an_old_description_never_stands_beside_a_new_picture(visit: Open, examples: Path) -> None:
    page = visit()
    upload(page, "describe", examples / "skimage" / "coffee.jpg")
    before = described(page)
    page.evaluate(WATCH)
    upload(page, "describe", examples / "stamps" / "animals-birds-owl.jpg")
    expect(page.locator("#sentence")).to_contain_text(re.compile("owl|bird"), timeout=WAIT_MS)
    assert described(page) != before and page.evaluate("mixed") == 0


def test_similar_on_upload(visit: Open, examples: Path, tmp_path: Path) -> None:
    page = visit()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    expect_first(page, "espresso")
    expect(tiles_of(page).first).to_contain_text("best match")
    not_blank(page, tmp_path / "similar.png")


@pytest.mark.parametrize(("format", "name"), [("HEIF", "IMG_1.HEIC"), ("TIFF", "scan.tif"), ("JPEG2000", "old.jp2")])
def test_a_picture_that_the_browser_cannot_show_has_a_preview(
    format: str, name: str, visit: Open, photo: Image.Image, tmp_path: Path
) -> None:
    """Also where the browser does not know its type, as phones' pictures."""
    path = tmp_path / name
    path.write_bytes(encoded(photo, format))
    page = visit()
    upload(page, "similar", path)
    preview = page.locator("#similar_picture img")
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    expect_first(page, "cat")
    open_tab(page, "describe")
    give(page, "drop", path, "")
    expect(page.locator("#describe_picture img")).to_be_visible(timeout=WAIT_MS)
    assert described(page)


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_given_anywhere_is_searched_for(kind: str, visit: Open, examples: Path) -> None:
    page = visit()
    search(page, "a planet")
    give(page, kind, examples / "skimage" / "coffee.jpg", "image/jpeg")
    expect_tab(page, "similar")
    expect_first(page, "espresso")
    expect(page.locator("#similar_picture img")).to_be_visible()


def test_search_by_enter_and_by_example(visit: Open) -> None:
    page = visit()
    search(page, "a baseball")
    expect_first(page, "baseball")
    page.get_by_role("button", name="birds").click()
    expect(page.locator("#query textarea")).to_have_value("birds", timeout=WAIT_MS)
    expect_first(page, "hens")
    before = captions(page)
    page.locator("#query textarea").fill("")
    page.locator("#query_go").click()
    expect(page.locator("#wall .count")).to_have_text("The collection", timeout=WAIT_MS)  # nothing asked: it is shown
    assert captions(page) != before


def test_an_example_picture_is_one_click_and_has_a_link_for_everyone(visit: Open, app_url: str) -> None:
    page = visit()
    open_tab(page, "describe")
    page.locator("#describe_examples button").first.click()
    sentence = described(page)
    expect(page).to_have_url(f"{app_url}?tab=describe&id=stamps%2Fanimals-birds-owl.jpg")
    other = visit()
    other.goto(page.url)
    assert described(other) == sentence


def test_the_last_of_quick_questions_is_answered(visit: Open) -> None:
    page = visit()
    query = page.locator("#query textarea")
    for text in ("a planet", "mountains", "a baseball"):
        query.fill(text)
        query.press("Enter")
    expect_first(page, "baseball")
    open_tab(page, "describe")
    examples = page.locator("#describe_examples button")
    examples.nth(2).wait_for(state="attached", timeout=WAIT_MS)
    examples.evaluate_all("buttons => buttons.slice(0, 3).forEach((button) => button.click())")
    expect(page.locator("#sentence")).to_contain_text("daisy", timeout=WAIT_MS)


def test_an_answer_leaves_alone_what_is_typed_by_then(visit: Open) -> None:
    page = visit()
    page.locator("#query textarea").fill("a planet")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"q=a\+planet"))
    page.locator("#query textarea").fill("mount")
    expect_first(page, "planet")
    expect(page.locator("#query textarea")).to_have_value("mount")


def test_bad_input_is_a_message_where_the_answer_would_be(visit: Open, tmp_path: Path, examples: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes((examples / "skimage" / "coffee.jpg").read_bytes()[:2000])
    page = visit()
    upload(page, "describe", tmp_path / "broken.jpg")
    expect(page.locator(".error:visible")).to_have_count(1, timeout=WAIT_MS)
    expect(page.locator("#description .error")).to_contain_text("broken.jpg is damaged")
    expect(page.locator("#sentence")).to_have_count(0)
    expect(tiles_of(page)).to_have_count(0)
    upload(page, "similar", tmp_path / "broken.jpg")
    expect(page.locator("#wall .error")).to_contain_text("broken.jpg is damaged")
    search(page, "birds")  # it goes on
    expect_first(page, "hens")
    expect(page.locator(".error:visible")).to_have_count(0)
    expect(page.get_by_test_id("toast-text")).to_have_count(0)


def test_french_dark_and_narrow(visit: Open, tmp_path: Path) -> None:
    page = visit(NARROW, "fr-FR", "dark")
    expect(page.get_by_role("tab", name="Décrire")).to_be_visible()
    page.get_by_role("button", name="des oiseaux").click()
    expect_first(page, "poules")
    not_blank(page, tmp_path / "french.png")
