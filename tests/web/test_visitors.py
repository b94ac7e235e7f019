"""Two visitors of one app: neither ever sees a picture, a caption or a state of the other."""

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.helpers.pages import WAIT_MS, Open, act, hits_of, search, upload


def answered(page: Page, tab: str) -> list[str]:
    """The captions of a tab's hits, once they are there."""
    expect(hits_of(page, tab)).to_have_count(12, timeout=WAIT_MS)
    return hits_of(page, tab).locator(".caption").all_inner_texts()


def described(page: Page) -> str:
    expect(page.locator("#sentence textarea")).not_to_have_value("", timeout=WAIT_MS)
    return page.locator("#sentence textarea").input_value()


def test_what_one_visitor_does_does_not_reach_the_other(visit: Open, examples: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / "owl.jpg", tmp_path / "orange.jpg"]
    for path, name in zip(pictures, ("animals-birds-owl", "food-fruit-orange_seville"), strict=True):
        Image.open(examples / "stamps" / f"{name}.jpg").resize((300, 300)).save(path)
    first, second = visit(), visit()
    for page, picture in zip((first, second), pictures, strict=True):
        upload(page, "describe", picture)
    assert described(first) != described(second)
    for page, picture in zip((first, second), pictures, strict=True):
        page.get_by_role("tab").nth(1).click()
        upload(page, "similar", picture)
    assert "owl" in answered(first, "similar")[0] and "orange" in answered(second, "similar")[0]
    for page, text in ((first, "an animal"), (second, "a fruit")):
        search(page, text)
        page.locator("#search_refine button").first.click()
    assert answered(first, "search") != answered(second, "search")
    act(hits_of(first, "search").first, 0)
    expect(first.locator("#search_terms li")).to_have_count(1, timeout=WAIT_MS)
    expect(second.locator("#search_terms li")).to_have_count(0)
    expect(second.locator("#query textarea")).to_have_value("a fruit")
