"""The app's page as the browser tests use it."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

WIDE = {"width": 1400, "height": 900}
NARROW = {"width": 400, "height": 664}
Open = Callable[..., Page]
WAIT_MS = 30_000
PROXY_NAME = "photos.example"  # stands for this machine in the browser, which takes it for another


def open_tab(page: Page, tab: str) -> None:
    """Open a tab: "search", "similar" or "describe"."""
    page.locator(f"#{tab}_tab-button").click()


def upload(page: Page, tab: str, picture: Path) -> None:
    """Open a tab and give it a picture."""
    open_tab(page, tab)
    page.locator(f"#{tab}_picture input[type=file]").set_input_files(picture)


def tiles_of(page: Page) -> Locator:
    """The pictures on the wall."""
    return page.locator("#wall .tile")


def chips_of(page: Page) -> Locator:
    """What was asked."""
    return page.locator("#wall .chips li:not(.clear)")


def search(page: Page, text: str) -> Locator:
    """Search by text, up to its answer; the pictures on the wall."""
    open_tab(page, "search")
    page.locator("#query textarea").fill(text)
    page.locator("#query textarea").press("Enter")
    page.locator("#wall .chips li", has_text=text).wait_for(timeout=WAIT_MS)
    page.locator("#wall .wall:not([aria-busy])").wait_for(timeout=WAIT_MS)
    return tiles_of(page)


def open_hit(page: Page, number: int) -> Locator:
    """Open a picture of the wall; the dialog."""
    tiles_of(page).nth(number).locator(".pick").click()
    dialog = page.locator("dialog[open]")
    dialog.wait_for()
    return dialog


def act(tile: Locator, number: int) -> None:
    """Press a button of a picture: 0 similar, 1 describe, 2 more like, 3 less like."""
    tile.hover()
    tile.locator(".actions button").nth(number).click()


def is_too_wide(page: Page) -> bool:
    """Whether the page scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def not_blank(page: Page, path: Path) -> None:
    """A screenshot with many colours, no wider than the window."""
    page.screenshot(path=path, full_page=True, animations="disabled")
    colours = Image.open(path).convert("RGB").resize((200, 200)).getcolors(40_000)
    assert colours is not None and len(colours) > 100
    assert not is_too_wide(page)
