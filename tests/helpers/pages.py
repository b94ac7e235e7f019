"""The app's page as the browser tests use it."""

import re
from collections.abc import Callable
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, expect

WIDE = {"width": 1400, "height": 900}
NARROW = {"width": 400, "height": 664}
Open = Callable[..., Page]
WAIT_MS = 30_000
PROXY_NAME = "photos.example"  # stands for this machine in the browser, which takes it for another
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
INSIDE = """one => {
  const { left, top, right, bottom } = one.getBoundingClientRect();
  return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight && right > left && bottom > top;
}"""


def open_tab(page: Page, tab: str) -> None:
    """Open a tab: "search", "similar" or "describe"."""
    page.locator(f"#{tab}_tab-button").click()


def expect_tab(page: Page, tab: str) -> None:
    """A tab is open."""
    expect(page.locator(f"#{tab}_tab-button")).to_have_attribute("aria-selected", "true", timeout=WAIT_MS)


def upload(page: Page, tab: str, picture: Path) -> None:
    """Open a tab, give it a picture, and wait for its answer on the wall."""
    open_tab(page, tab)
    page.locator(f"#{tab}_picture input[type=file]").set_input_files(picture)
    page.locator("#wall .chips li", has_text=picture.name).wait_for(timeout=WAIT_MS)
    answered(page)


def tiles_of(page: Page) -> Locator:
    """The pictures on the wall."""
    return page.locator("#wall .tile")


def chips_of(page: Page) -> Locator:
    """What was asked."""
    return page.locator("#wall .chips li:not(.clear)")


def answered(page: Page) -> None:
    """The wall has its answer."""
    page.locator("#wall .wall:not([aria-busy])").wait_for(timeout=WAIT_MS)


def search(page: Page, text: str) -> Locator:
    """Search by text, up to its answer; the pictures on the wall."""
    open_tab(page, "search")
    page.locator("#query textarea").fill(text)
    page.locator("#query textarea").press("Enter")
    page.locator("#wall .chips li", has_text=text).wait_for(timeout=WAIT_MS)
    answered(page)
    return tiles_of(page)


def captions(page: Page) -> list[str]:
    """The captions of the first dozen pictures; more may still come."""
    return tiles_of(page).locator(".caption").all_inner_texts()[:12]


def expect_first(page: Page, text: str | re.Pattern[str]) -> None:
    """The first picture's caption holds a text."""
    expect(tiles_of(page).first.locator(".caption")).to_contain_text(text, timeout=WAIT_MS)


def open_hit(page: Page, number: int) -> Locator:
    """Open a picture of the wall; the dialog, with all that it shows."""
    tiles_of(page).nth(number).locator(".pick").click()
    dialog = page.locator("dialog[open]")
    dialog.locator("dd").first.wait_for(timeout=WAIT_MS)
    return dialog


def act(tile: Locator, number: int) -> None:
    """Press a button of a picture: 0 similar, 1 describe, 2 more like, 3 less like."""
    tile.hover()
    tile.locator(".actions button").nth(number).click()


def described(page: Page) -> str:
    """The sentence about a picture, once it is there."""
    expect(page.locator("#sentence")).not_to_be_empty(timeout=WAIT_MS)
    return page.locator("#sentence").inner_text()


def expect_reachable(page: Page) -> None:
    """No rule of WCAG 2.2 AA is broken."""
    found = Axe().run(page, options=RULES)
    assert not found.violations_count, found.generate_report()


def is_inside(element: Locator) -> bool:
    """Whether all of an element lies inside the window."""
    return bool(element.evaluate(INSIDE))


def is_too_wide(page: Page) -> bool:
    """Whether the page scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def not_blank(page: Page, path: Path) -> None:
    """A screenshot with many colours, no wider than the window."""
    page.screenshot(path=path, full_page=True, animations="disabled")
    colours = Image.open(path).convert("RGB").resize((200, 200)).getcolors(40_000)
    assert colours is not None and len(colours) > 100
    assert not is_too_wide(page)
