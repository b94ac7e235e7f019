"""A stranger's first two minutes: look, search, open a hit, go on from it, drop a photo of one's own, go back."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.helpers.pages import (
    NARROW,
    WAIT_MS,
    WIDE,
    Open,
    described,
    expect_first,
    expect_tab,
    is_too_wide,
    open_hit,
    search,
    tiles_of,
    upload,
)

# A word of the first tab, a query, and a word of the caption that is to stand among the first hits.
VISITORS = {"en-US": ("Search by text", "a baseball", "ball"), "fr-FR": ("Rechercher", "un chien", "chien")}


def check_page(page: Page) -> None:
    assert not is_too_wide(page)
    expect(page.get_by_test_id("toast-text")).to_have_count(0)
    expect(page.locator(".error:visible")).to_have_count(0)


@pytest.mark.parametrize(("locale", "viewport"), [("en-US", WIDE), ("fr-FR", NARROW)])
def test_two_minutes(locale: str, viewport: dict[str, int], visit: Open, examples: Path, tmp_path: Path) -> None:
    """The fixture fails the test if a script fails or asks for anything elsewhere."""
    tab, query, word = VISITORS[locale]
    page = visit(viewport, locale)
    expect(page.get_by_role("tab", name=tab)).to_be_visible()
    check_page(page)

    hits = search(page, query)
    expect(hits.filter(has_text=word).first).to_be_visible(timeout=WAIT_MS)
    check_page(page)

    open_hit(page, 0).locator(".actions button").first.click()
    expect_tab(page, "similar")
    expect(tiles_of(page).nth(11)).to_be_attached(timeout=WAIT_MS)
    open_hit(page, 1).locator(".actions button").nth(1).click()
    expect_tab(page, "describe")
    assert described(page)
    check_page(page)

    own = tmp_path / "my photo.jpg"
    with Image.open(examples / "skimage" / "chelsea.jpg") as photo:
        photo.resize((1200, 800)).crop((200, 0, 1200, 800)).save(own)
    upload(page, "similar", own)
    expect(page).to_have_url(re.compile("tab=similar&u="))
    expect_first(page, re.compile("cat|chat"))
    for step in ("tab=describe&id=", "tab=similar&id="):
        page.go_back()
        expect(page).to_have_url(re.compile(step), timeout=WAIT_MS)
    check_page(page)


def test_a_tall_picture_is_shown_whole(visit: Open) -> None:
    page = visit(WIDE)
    for query, fit in (("a ripe strawberry with its long green stalk", "contain"), ("slices of orange", "cover")):
        expect(search(page, query).first.locator("img")).to_have_css("object-fit", fit)
