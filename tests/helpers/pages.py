"""The app's page as the browser tests use it."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

WIDE = {"width": 1400, "height": 900}
NARROW = {"width": 400, "height": 860}
Open = Callable[..., Page]
WAIT_MS = 30_000
PROXY_NAME = "photos.example"  # stands for this machine in the browser, which takes it for another


def upload(page: Page, tab: str, picture: Path) -> None:
    """Give a tab a picture."""
    page.locator(f"#{tab}_picture input[type=file]").set_input_files(picture)


def hits_of(page: Page, tab: str) -> Locator:
    """The cards of a tab's hits."""
    return page.locator(f"#{tab}_hits .card")


def search(page: Page, text: str) -> Locator:
    """Search by text; the cards."""
    page.get_by_role("tab").nth(2).click()
    page.locator("#query textarea").fill(text)
    page.locator("#query textarea").press("Enter")
    return hits_of(page, "search")


def act(card: Locator, number: int) -> None:
    """Press a button of a card: 0 more like, 1 less like, 2 similar, 3 describe."""
    card.locator(".actions button").nth(number).click()


def is_too_wide(page: Page) -> bool:
    """Whether the page scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def not_blank(page: Page, path: Path) -> None:
    """A screenshot with many colours, no wider than the window."""
    page.screenshot(path=path, full_page=True, animations="disabled")
    colours = Image.open(path).convert("RGB").resize((200, 200)).getcolors(40_000)
    assert colours is not None and len(colours) > 100
    assert not is_too_wide(page)
