"""The page for everyone: by keyboard alone, for screen readers, by the rules of WCAG 2.2 AA, in both themes."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.pages import (
    NARROW,
    WAIT_MS,
    Open,
    act,
    answered,
    captions,
    chips_of,
    described,
    expect_reachable,
    open_hit,
    open_tab,
    search,
    tiles_of,
    upload,
)

MAX_STEPS = 40  # keys


def press_until(page: Page, key: str, selector: str) -> None:
    """Press a key until the focus is on what the selector names."""
    for _ in range(MAX_STEPS):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press(key)
    raise AssertionError(selector)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_rule_is_broken(theme: str, visit: Open, examples: Path) -> None:
    page = visit(color_scheme=theme)
    expect_reachable(page)
    search(page, "a cat")
    act(tiles_of(page).nth(1), 2)
    expect(chips_of(page)).to_have_count(2, timeout=WAIT_MS)
    page.locator("#wall .bar button[aria-expanded]").click()
    page.locator("#banner summary").click()
    tiles_of(page).first.hover()
    expect_reachable(page)
    open_hit(page, 0)
    expect_reachable(page)
    page.keyboard.press("Escape")
    page.locator("#wall .views button").last.click()
    expect(page.locator("#atlas canvas")).to_be_visible(timeout=60_000)
    page.locator("#atlas canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#atlas .atlas-card img")).to_be_visible(timeout=WAIT_MS)
    expect_reachable(page)
    for tab in ("similar", "describe"):
        open_tab(page, tab)
        expect_reachable(page)  # empty
        upload(page, tab, examples / "skimage" / "coffee.jpg")
        expect_reachable(page)
    assert described(page)
    search(page, "quarterly tax report of a bank")
    page.locator("#wall .views button").first.click()
    expect_reachable(page)
    page.set_viewport_size(NARROW)
    expect_reachable(page)


def test_a_search_by_keyboard_alone(visit: Open) -> None:
    page = visit()
    page.evaluate("document.activeElement.blur()")
    press_until(page, "Tab", "#query textarea")
    page.keyboard.type("a castle")
    page.keyboard.press("Enter")
    expect(chips_of(page)).to_have_text(re.compile("a castle"), timeout=WAIT_MS)
    answered(page)
    press_until(page, "Tab", "#wall .pick")
    names, picks, title = captions(page), tiles_of(page).locator(".pick"), page.locator("dialog[open] h2")
    page.keyboard.press("ArrowRight")
    expect(picks.nth(1)).to_be_focused()
    above = page.locator(":focus").bounding_box()
    page.keyboard.press("ArrowDown")
    below = page.locator(":focus").bounding_box()
    assert above and below and below["y"] > above["y"] and below["x"] == above["x"]
    page.keyboard.press("ArrowUp")
    expect(picks.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(title).to_have_text(names[1])
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text(names[2])
    for _ in range(MAX_STEPS):  # the focus never leaves the dialog for the page below
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect(picks.nth(2)).to_be_focused()
    press_until(page, "Tab", "#wall .tile .actions button")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("tab=similar&id="), timeout=WAIT_MS)


def test_the_number_of_hits_and_errors_are_read_out(visit: Open, app_url: str) -> None:
    page = visit()
    status = page.locator("#wall [role=status]")
    expect(status).to_have_text("The collection")
    status.evaluate("element => { window.first = element; }")
    search(page, "a planet")
    expect(status).to_contain_text(re.compile(r"^\d+ pictures"))
    search(page, "quarterly tax report of a bank")
    expect(status).to_contain_text("Nothing in this collection seems to match")
    assert page.evaluate("first.isConnected")  # what is put into a new one is not read out
    page.goto(f"{app_url}?tab=similar&id=nope")
    expect(page.locator("#wall [role=alert]")).to_contain_text("nope", timeout=WAIT_MS)
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(status).to_be_empty()


@pytest.mark.parametrize(("locale", "language"), [("de-DE", "en"), ("fr-CA", "fr")])
def test_the_page_names_the_language_that_it_speaks(locale: str, language: str, visit: Open) -> None:
    expect(visit(locale=locale).locator("html")).to_have_attribute("lang", language)
