"""A stranger's first two minutes: look, search, open a hit, go on from it, drop a photo of one's own, go back."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.helpers.pages import NARROW, WAIT_MS, WIDE, Open, act, hits_of, is_too_wide, search, upload

# A word of the first tab, a query, and a word of the caption that is to stand among the first hits.
VISITORS = {"en-US": ("Describe", "a baseball", "ball"), "fr-FR": ("Décrire", "un chien", "chien")}


def check_page(page: Page) -> None:
    assert not is_too_wide(page)
    expect(page.get_by_test_id("toast-text")).to_have_count(0)


@pytest.mark.parametrize(("locale", "viewport"), [("en-US", WIDE), ("fr-FR", NARROW)])
def test_two_minutes(locale: str, viewport: dict[str, int], visit: Open, examples: Path, tmp_path: Path) -> None:
    """The fixture fails the test if a script fails or asks for anything elsewhere."""
    tab, query, word = VISITORS[locale]
    page = visit(viewport, locale)
    expect(page.get_by_role("tab", name=tab)).to_be_visible()
    check_page(page)

    hits = search(page, query)
    expect(hits).to_have_count(12, timeout=WAIT_MS)
    expect(hits.filter(has_text=word).first).to_be_visible(timeout=WAIT_MS)
    check_page(page)

    hits.first.locator(".pick").click()
    large = page.locator("#search_hit img").first
    expect(large).to_be_visible(timeout=WAIT_MS)
    act(hits.first, 2)
    expect(hits_of(page, "similar")).to_have_count(12, timeout=WAIT_MS)
    act(hits_of(page, "similar").nth(1), 3)
    expect(page.locator("#sentence textarea")).not_to_have_value("", timeout=WAIT_MS)
    check_page(page)

    own = tmp_path / "my photo.jpg"
    with Image.open(examples / "skimage" / "chelsea.jpg") as photo:
        photo.resize((1200, 800)).crop((200, 0, 1200, 800)).save(own)
    page.get_by_role("tab").nth(1).click()
    page.locator("#similar_picture button").first.click()  # takes the picture before away
    expect(page).to_have_url(re.compile(r"\?tab=similar$"), timeout=WAIT_MS)  # a step of its own, which Back undoes
    upload(page, "similar", own)
    expect(page).to_have_url(re.compile("tab=similar&u="), timeout=WAIT_MS)
    expect(hits_of(page, "similar").first.locator(".caption")).to_contain_text(re.compile("cat|chat"), timeout=WAIT_MS)
    for step in (r"\?tab=similar$", "tab=(describe|similar)&id="):  # the photo, and before it the empty place for it
        page.go_back()
        expect(page).to_have_url(re.compile(step), timeout=WAIT_MS)
    check_page(page)
