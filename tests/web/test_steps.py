"""A visit in steps: one tab hands on to another, links, Back, parts, filters, pages."""

import json
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from imgsearch.describe.sentence import to_query
from tests.helpers.pages import NARROW, WAIT_MS, Open, act, hits_of, is_too_wide, search, upload

LOOK_MS = 1500  # a person looks before the next step; two steps back within an answer may be one too few


def caption(page: Page, tab: str, number: int = 0) -> str:
    return hits_of(page, tab).nth(number).locator(".caption").inner_text()


def expect_first(page: Page, tab: str, text: str) -> None:
    expect(hits_of(page, tab).first.locator(".caption")).to_contain_text(text, timeout=WAIT_MS)


def test_a_hit_goes_on_to_similar_and_describe_and_back_undoes_each_step(visit: Open) -> None:
    page = visit()
    search(page, "a red fruit")
    expect(page).to_have_url(re.compile(r"\?tab=search&q=a\+red\+fruit$"), timeout=WAIT_MS)
    first = caption(page, "search")
    act(hits_of(page, "search").first, 2)
    expect(page).to_have_url(re.compile(r"tab=similar&id="), timeout=WAIT_MS)
    expect(page.get_by_role("tab", name="Find similar")).to_have_attribute("aria-selected", "true")
    expect_first(page, "similar", first)
    act(hits_of(page, "similar").nth(1), 3)
    expect(page).to_have_url(re.compile(r"tab=describe&id="), timeout=WAIT_MS)
    expect(page.locator("#sentence textarea")).not_to_have_value("", timeout=WAIT_MS)
    sentence = page.locator("#sentence textarea").input_value()
    page.locator("#search_description").click()
    expect(page.locator("#query textarea")).to_have_value(to_query(sentence), timeout=WAIT_MS)
    expect(page).to_have_url(re.compile(r"tab=search&q=\w"), timeout=WAIT_MS)
    page.go_back()
    expect(page).to_have_url(re.compile("tab=describe&id="))
    expect(page.get_by_role("tab", name="Describe")).to_have_attribute("aria-selected", "true", timeout=WAIT_MS)
    expect(page.locator("#sentence textarea")).to_have_value(sentence, timeout=WAIT_MS)
    expect(page.locator("#describe_note")).to_contain_text(" s", timeout=WAIT_MS)
    page.wait_for_timeout(LOOK_MS)
    page.go_back()
    expect(page.get_by_role("tab", name="Find similar")).to_have_attribute("aria-selected", "true", timeout=WAIT_MS)
    expect_first(page, "similar", first)
    page.wait_for_timeout(LOOK_MS)
    page.go_back()
    expect(page.get_by_role("tab", name="Search by text")).to_have_attribute("aria-selected", "true", timeout=WAIT_MS)
    expect(page.locator("#query textarea")).to_have_value("a red fruit", timeout=WAIT_MS)
    expect_first(page, "search", first)
    page.go_forward()
    expect(page.get_by_role("tab", name="Find similar")).to_have_attribute("aria-selected", "true", timeout=WAIT_MS)


def test_a_link_opens_the_same_search_elsewhere(visit: Open, app_url: str) -> None:
    page = visit()
    search(page, "an animal")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    page.locator("#search_k input[type=number]").fill("5")
    page.locator("#search_k input[type=number]").press("Tab")
    expect(page).to_have_url(re.compile("k=5"), timeout=WAIT_MS)
    captions = hits_of(page, "search").locator(".caption").all_inner_texts()
    other = visit()
    other.goto(page.url)
    expect(hits_of(other, "search")).to_have_count(5, timeout=WAIT_MS)
    assert hits_of(other, "search").locator(".caption").all_inner_texts() == captions
    expect(other.locator("#query textarea")).to_have_value("an animal")
    expect(other.locator("#search_k input[type=number]")).to_have_value("5")


def test_an_upload_comes_back_with_back_and_is_no_one_elses(visit: Open, examples: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Find similar").click()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    expect_first(page, "similar", "espresso")
    expect(page).to_have_url(re.compile("tab=similar&u="), timeout=WAIT_MS)
    link = page.url
    upload_again = page.locator("#similar_picture").get_by_role("button", name="Remove Image")
    upload_again.click()
    expect(hits_of(page, "similar")).to_have_count(0, timeout=WAIT_MS)
    page.go_back()
    expect_first(page, "similar", "espresso")
    expect(page.locator("#similar_picture img")).to_be_visible()
    stranger = visit()
    stranger.goto(link)
    expect(stranger.get_by_test_id("toast-text")).to_contain_text("not here any more", timeout=WAIT_MS)
    expect(hits_of(stranger, "similar")).to_have_count(0)
    expect(stranger.locator("#similar_picture img")).to_have_count(0)


def test_parts_move_the_answer_and_come_off_again(visit: Open) -> None:
    page = visit()
    search(page, "a castle")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    plain = hits_of(page, "search").locator(".caption").all_inner_texts()
    page.locator("#search_refine button").first.click()
    page.locator("#search_part textarea").fill("mountains")
    page.locator("#search_more").click()
    chips = page.locator("#search_terms li")
    expect(chips).to_have_count(1, timeout=WAIT_MS)
    expect(page).to_have_url(re.compile("part=1%3Atext%3Amountains"), timeout=WAIT_MS)
    assert hits_of(page, "search").locator(".caption").all_inner_texts() != plain
    act(hits_of(page, "search").first, 1)
    expect(chips).to_have_count(2, timeout=WAIT_MS)
    expect(chips.nth(1)).to_have_class("less")
    chips.nth(0).locator("input").fill("2")
    chips.nth(0).locator("input").press("Tab")
    expect(page).to_have_url(re.compile("part=2%3Atext%3Amountains"), timeout=WAIT_MS)
    for _ in range(2):
        chips.first.locator("button").last.click()
        page.wait_for_timeout(300)
    expect(chips).to_have_count(0, timeout=WAIT_MS)
    expect(page).not_to_have_url(re.compile("part="), timeout=WAIT_MS)
    expect_first(page, "search", plain[0])


def test_filters_and_pages(visit: Open) -> None:
    page = visit()
    search(page, "a planet")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    first = hits_of(page, "search").locator(".caption").all_inner_texts()
    page.locator("#search_next").click()
    expect(page.locator("#search_note")).to_contain_text("13 to", timeout=WAIT_MS)
    expect(hits_of(page, "search")).to_have_count(50)
    assert first[0] not in hits_of(page, "search").locator(".caption").all_inner_texts()
    expect(page).to_have_url(re.compile("from=12"))
    page.go_back()
    expect_first(page, "search", first[0])
    page.locator("#search_refine button").first.click()
    page.locator("#search_where input").fill("subject=sport")
    page.locator("#search_where input").press("Enter")
    expect(page).to_have_url(re.compile("where=subject%3Dsport"), timeout=WAIT_MS)
    expect(hits_of(page, "search")).to_have_count(5, timeout=WAIT_MS)
    page.locator("#search_where input").fill("no such column")
    page.locator("#search_where input").press("Enter")
    expect(page.get_by_test_id("toast-text")).to_be_visible(timeout=WAIT_MS)
    expect(hits_of(page, "search")).to_have_count(5)


def test_hits_are_saved_as_csv_and_json(visit: Open) -> None:
    page = visit()
    search(page, "a planet")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    page.locator("#search_insight button").first.click()
    with page.expect_download() as saved:
        page.locator("#search_json").click()
    answer = json.loads(Path(saved.value.path()).read_text("utf-8"))
    assert answer["query"] == "a planet" and len(answer["hits"]) == 12
    with page.expect_download() as saved:
        page.locator("#search_csv").click()
    lines = Path(saved.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == 13 and lines[0].startswith("rank,id,score,strength,caption")
    expect(page.locator("#search_insight svg.scores")).to_be_visible()


def test_only_a_part_of_the_picture(visit: Open, examples: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Find similar").click()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    expect_first(page, "similar", "espresso")
    box = page.locator("#similar_picture img").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    expect(page.locator("#similar_box textarea, #similar_box input")).to_have_value(re.compile(r"^\d.*,.*,.*,"))
    expect(page).to_have_url(re.compile("box="), timeout=WAIT_MS)
    expect(page.locator("#similar_picture .box")).to_be_visible()


def test_nothing_matches_is_said_and_the_nearest_are_folded_away(visit: Open) -> None:
    page = visit()
    search(page, "quarterly tax report of a bank")
    expect(page.locator("#search_note")).to_contain_text("Nothing in this collection seems to match", timeout=WAIT_MS)
    expect(hits_of(page, "search").first).to_be_hidden()
    page.locator("#search_hits summary").click()
    expect(hits_of(page, "search").first).to_be_visible()
    search(page, "ein rotes Auto")
    expect(page.locator("#search_note")).to_contain_text("seems to be German", timeout=WAIT_MS)


def test_what_is_nearest_to_a_picture_is_always_shown(visit: Open, tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), (120, 120, 120)).save(tmp_path / "grey.png")
    page = visit()
    page.get_by_role("tab", name="Find similar").click()
    upload(page, "similar", tmp_path / "grey.png")
    expect(page.locator("#similar_note")).to_contain_text("much like this picture", timeout=WAIT_MS)
    expect(hits_of(page, "similar").first).to_be_visible(timeout=WAIT_MS)
    expect(hits_of(page, "similar")).to_have_count(12)
    assert page.locator("#similar_hits summary").count() == 0


def test_with_the_keyboard_alone(visit: Open) -> None:
    page = visit()
    page.locator("#search_tab-button").focus()
    page.keyboard.press("Enter")
    page.locator("#query textarea").focus()
    page.keyboard.type("a castle")
    page.keyboard.press("Enter")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    hits_of(page, "search").first.locator(".pick").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#search_hit")).to_contain_text("subject", timeout=WAIT_MS)
    hits_of(page, "search").nth(1).locator(".pick").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # similar to this
    expect(page).to_have_url(re.compile("tab=similar&id="), timeout=WAIT_MS)


def test_every_button_and_field_has_a_name(visit: Open, examples: Path) -> None:
    page = visit()
    search(page, "a planet")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    page.locator("#search_refine button").first.click()
    for tab in range(3):
        page.get_by_role("tab").nth(tab).click()
        for role in ("button", "textbox", "slider", "spinbutton", "checkbox", "combobox"):
            for control in page.get_by_role(role).all():
                if control.is_visible():
                    assert control.evaluate(NAME), control.evaluate("element => element.outerHTML")


NAME = """element => element.ariaLabel || element.title || element.innerText?.trim()
  || element.getAttribute('aria-labelledby') || [...element.labels || []].map(l => l.innerText).join('')
  || element.querySelector('img[alt]:not([alt=""])')?.alt"""


def test_360_pixels_wide(visit: Open) -> None:
    page = visit({"width": 360, "height": 780}, "fr-FR", "dark")
    hits = search(page, "a castle")
    expect(hits).to_have_count(12, timeout=WAIT_MS)
    page.locator("#search_refine button").first.click()
    hits.first.locator(".pick").click()
    expect(page.locator("#search_hit")).to_be_visible(timeout=WAIT_MS)
    for tab in range(3):
        page.get_by_role("tab").nth(tab).click()
        page.wait_for_timeout(300)
        assert not is_too_wide(page)
    assert NARROW["width"] > 360


def test_a_link_asks_in_its_own_tab_only(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?q=a+planet&tab=search&k=12")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    page.wait_for_timeout(1500)
    expect(page).to_have_url(f"{app_url}?tab=search&q=a+planet")
    expect(page.get_by_test_id("toast-text")).to_have_count(0)
    search(page, "mountains")
    expect(page).to_have_url(re.compile("q=mountains"), timeout=WAIT_MS)
    page.go_back()
    expect(page.locator("#query textarea")).to_have_value("a planet", timeout=WAIT_MS)
    page.go_forward()
    expect(page.locator("#query textarea")).to_have_value("mountains", timeout=WAIT_MS)
    page.get_by_role("tab", name="Find similar").click()
    page.wait_for_timeout(500)
    expect(hits_of(page, "similar")).to_have_count(0)
    page.goto(f"{app_url}?tab=search")
    expect(page.locator("#query textarea")).to_be_visible(timeout=WAIT_MS)
    page.wait_for_timeout(1000)
    expect(hits_of(page, "search")).to_have_count(0)
    expect(page.get_by_test_id("toast-text")).to_have_count(0)


def test_a_page_belongs_to_the_answer_shown(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=search&q=a+planet&from=12")
    expect(hits_of(page, "search")).to_have_count(50, timeout=WAIT_MS)
    expect(hits_of(page, "search").first).to_be_visible()  # however weak
    page.locator("#query textarea").fill("mountains")  # and not asked
    page.locator("#search_next").click()
    expect(page).to_have_url(re.compile(r"q=a\+planet&from=6\d"), timeout=WAIT_MS)
    page.wait_for_timeout(LOOK_MS)  # the address is there before the hits
    page.locator("#search_previous").click()
    expect(page).to_have_url(re.compile(r"q=a\+planet&from=12"), timeout=WAIT_MS)


def test_what_a_link_holds_is_text(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(
        f"{app_url}?tab=similar&id=%3Ca+href%3Dhttp%3A%2F%2Felsewhere%3Eclick%3C%2Fa%3E%3Cimg+src%3Dhttp%3A%2F%2Felsewhere%2Fx.png%3E"
    )
    toast = page.get_by_test_id("toast-text").first
    expect(toast).to_contain_text("<a href=http://elsewhere>click</a>", timeout=WAIT_MS)
    expect(toast.locator("a, img")).to_have_count(0)
    page.goto(f"{app_url}?tab=search&q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&part=1:text:%3Cb%3Ebold%3C%2Fb%3E")
    page.locator("#search_refine button").first.click()
    expect(page.locator("#search_terms .shown")).to_have_text("<b>bold</b>", timeout=WAIT_MS)


def test_quick_marks_all_count_and_the_focus_stays(visit: Open) -> None:
    page = visit()
    hits = search(page, "a dog")
    expect(hits).to_have_count(12, timeout=WAIT_MS)
    page.locator("#search_refine button").first.click()
    page.evaluate(
        "[...document.querySelectorAll('.card .actions')].slice(0, 3).forEach(one => one.children[0].click())"
    )
    chips = page.locator("#search_terms li")
    expect(chips).to_have_count(3, timeout=WAIT_MS)
    weight = chips.nth(1).locator("input")
    weight.focus()
    page.keyboard.press("ArrowUp")
    expect(page).to_have_url(re.compile(r"part=1\.1%3Aitem"), timeout=WAIT_MS)
    assert page.evaluate("document.activeElement.type") == "number"


def test_the_map_shows_where_the_hits_of_a_link_lie(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=search&q=a+planet")
    expect(hits_of(page, "search")).to_have_count(12, timeout=WAIT_MS)
    page.wait_for_timeout(1000)
    page.locator("#overview button").first.click()
    canvas = page.locator("#atlas canvas")
    expect(canvas).to_be_visible(timeout=60_000)
    expect(page.locator("#atlas .atlas-key")).to_be_visible(timeout=WAIT_MS)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#atlas .atlas-card img")).to_be_visible(timeout=WAIT_MS)
    page.keyboard.press("Enter")
    expect(page.locator("#map_hit")).to_contain_text("subject", timeout=WAIT_MS)
    page.locator("#map_hit_similar").click()
    expect(page).to_have_url(re.compile("tab=similar&id="), timeout=WAIT_MS)
    expect(hits_of(page, "similar")).to_have_count(12, timeout=WAIT_MS)
