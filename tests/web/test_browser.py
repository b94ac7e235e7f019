"""The app in a real browser, as a visitor uses it."""

import re
from pathlib import Path

from playwright.sync_api import expect

from imgsearch.images import open_rgb
from tests.helpers.pages import NARROW, Open, hits_of, not_blank, search, upload


def test_describe_on_upload(visit: Open, examples: Path, tmp_path: Path) -> None:
    page = visit()
    upload(page, "describe", examples / "skimage" / "coffee.jpg")
    expect(page.locator("#sentence textarea")).to_have_value(re.compile("cup|coffee|espresso"), timeout=30_000)
    expect(page.locator("#tags")).to_contain_text("%")
    expect(page.locator("#describe_note")).to_contain_text(" s")
    not_blank(page, tmp_path / "describe.png")


def test_similar_on_upload_then_click_a_hit(visit: Open, examples: Path, tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Find similar").click()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    hits = hits_of(page, "similar")
    expect(hits).to_have_count(12, timeout=30_000)
    expect(hits.first).to_contain_text("best match")
    hits.first.locator(".pick").click()
    hit = page.locator("#similar_hit")
    expect(hit).to_contain_text("skimage/coffee.jpg")
    expect(hit).to_contain_text("Rachel Michetti")
    expect(hit.locator("img").first).to_be_visible()
    width = hit.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == open_rgb(examples / "skimage" / "coffee.jpg").width
    not_blank(page, tmp_path / "similar.png")
    hit.get_by_role("button", name="Close").click()
    expect(hit).to_be_hidden()


def test_search_by_enter_and_by_example(visit: Open, tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Search by text").click()
    page.locator("#query textarea").fill("a baseball")
    page.locator("#query textarea").press("Enter")
    hits = hits_of(page, "search")
    expect(hits).to_have_count(12, timeout=30_000)
    expect(hits.first).to_contain_text("baseball")
    not_blank(page, tmp_path / "search.png")
    page.get_by_role("button", name="birds").click()
    expect(page.locator("#query textarea")).to_have_value("birds")
    expect(hits.first).to_contain_text("hens", timeout=30_000)


def test_k_runs_the_query_again(visit: Open) -> None:
    page = visit()
    hits = search(page, "a planet")
    expect(hits).to_have_count(12, timeout=30_000)
    for _ in range(3):
        page.locator("#search_k input[type=range]").press("ArrowRight")
    expect(hits).to_have_count(15, timeout=30_000)
    number = page.locator("#search_k input[type=number]")
    number.fill("3")
    number.press("Tab")
    expect(hits).to_have_count(3, timeout=30_000)


def test_an_example_picture_is_one_click(visit: Open) -> None:
    page = visit()
    page.locator("#describe_picture_examples button").first.click()
    expect(page.locator("#sentence textarea")).not_to_have_value("", timeout=30_000)
    page.locator("#describe_picture").get_by_role("button", name="Remove Image").click()
    expect(page.locator("#sentence")).to_be_hidden()


def test_the_last_of_two_quick_queries_is_answered(visit: Open) -> None:
    page = visit()
    page.get_by_role("tab", name="Search by text").click()
    query = page.locator("#query textarea")
    for text in ("a planet", "mountains", "a baseball"):
        query.fill(text)
        query.press("Enter")
    first = hits_of(page, "search").first
    expect(first).to_contain_text("baseball", timeout=30_000)
    page.get_by_role("tab", name="Describe").click()
    examples = page.locator("#describe_picture_examples button")
    for number in (0, 1, 2):
        examples.nth(number).click()
    expect(page.locator("#sentence textarea")).to_have_value(re.compile("daisy"), timeout=30_000)


def test_bad_input_is_a_message_and_the_page_goes_on(visit: Open, tmp_path: Path, examples: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes((examples / "skimage" / "coffee.jpg").read_bytes()[:2000])
    page = visit()
    upload(page, "describe", tmp_path / "broken.jpg")
    expect(page.get_by_test_id("toast-text")).to_contain_text("broken.jpg is damaged", timeout=30_000)
    expect(page.locator("#sentence")).to_be_hidden()
    page.get_by_test_id("toast-close").click()
    page.get_by_role("tab", name="Search by text").click()
    page.locator("#query textarea").press("Enter")
    expect(page.get_by_test_id("toast-text")).to_contain_text("empty", timeout=30_000)
    page.get_by_role("button", name="birds").click()
    hits = hits_of(page, "search")
    expect(hits).to_have_count(12, timeout=30_000)
    page.locator("#query textarea").fill("")
    page.locator("#query textarea").press("Enter")
    expect(page.get_by_test_id("toast-text").last).to_contain_text("empty", timeout=30_000)
    expect(hits).to_have_count(12)  # nothing is lost


def test_french_dark_and_narrow(visit: Open, tmp_path: Path) -> None:
    page = visit(NARROW, "fr-FR", "dark")
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^fr"))
    page.get_by_role("tab", name="Par texte").click()
    page.get_by_role("button", name="des oiseaux").click()
    hits = hits_of(page, "search")
    expect(hits).to_have_count(12, timeout=30_000)
    expect(hits.first).to_contain_text("poules")
    not_blank(page, tmp_path / "french.png")
