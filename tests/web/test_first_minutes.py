"""A stranger's first two minutes: the path that most visitors take, in both languages of the page."""

import base64
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.helpers.pages import NARROW, WAIT_MS, Open, act, hits_of, is_too_wide, search

DROP = """(element, base64) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], 'mine.jpg', {type: 'image/jpeg'}));
  for (const type of ['dragenter', 'dragover', 'drop'])
    element.dispatchEvent(new DragEvent(type, {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""


def expect_tab(page: Page, number: int) -> None:
    """This tab is open, and the page is no wider than the window."""
    expect(page.get_by_role("tab").nth(number)).to_have_attribute("aria-selected", "true", timeout=WAIT_MS)
    assert not is_too_wide(page)


def test_from_a_search_to_a_description_and_back(visit: Open) -> None:
    page = visit()
    expect_tab(page, 0)
    hits = search(page, "a red fruit")
    expect(hits).to_have_count(12, timeout=WAIT_MS)
    expect_tab(page, 2)
    hits.first.locator(".pick").click()
    expect(page.locator("#search_hit img").first).to_be_visible(timeout=WAIT_MS)
    caption = hits.first.locator(".caption").inner_text()
    expect(page.locator("#search_hit")).to_contain_text(caption)
    page.locator("#search_hit_similar").click()
    expect_tab(page, 1)
    expect(hits_of(page, "similar").first.locator(".caption")).to_have_text(caption, timeout=WAIT_MS)
    act(hits_of(page, "similar").first, 3)
    expect_tab(page, 0)
    expect(page.locator("#sentence textarea")).not_to_have_value("", timeout=WAIT_MS)
    page.go_back()
    expect_tab(page, 1)
    expect(hits_of(page, "similar").first.locator(".caption")).to_have_text(caption, timeout=WAIT_MS)
    page.go_back()
    expect_tab(page, 2)
    expect(page.locator("#query textarea")).to_have_value("a red fruit", timeout=WAIT_MS)
    expect(hits_of(page, "search").first.locator(".caption")).to_have_text(caption, timeout=WAIT_MS)


def test_in_french_on_a_phone_with_a_photo_of_ones_own(visit: Open, examples: Path, tmp_path: Path) -> None:
    page = visit(NARROW, "fr-FR")
    expect_tab(page, 0)
    expect(search(page, "un chien dans la neige")).to_have_count(12, timeout=WAIT_MS)
    expect(page.locator("#search_note")).to_contain_text("semble être en français", timeout=WAIT_MS)
    expect_tab(page, 2)
    page.get_by_role("tab").nth(0).click()
    with Image.open(examples / "skimage" / "coffee.jpg") as coffee:
        coffee.crop((60, 30, 380, 330)).save(tmp_path / "mine.jpg")
    picture = base64.b64encode((tmp_path / "mine.jpg").read_bytes()).decode()
    page.locator("#describe_picture button").first.evaluate(DROP, picture)
    expect(page.locator("#describe_picture img")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("#sentence textarea")).to_have_value(re.compile("espresso|cup|coffee"), timeout=WAIT_MS)
    expect_tab(page, 0)
    page.go_back()
    expect_tab(page, 2)
    expect(page.locator("#query textarea")).to_have_value("un chien dans la neige", timeout=WAIT_MS)
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
