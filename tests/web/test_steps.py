"""A visit in steps: one tab hands on to another, links, Back, chips, filters, more hits."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.helpers.pages import (
    NARROW,
    WAIT_MS,
    Open,
    act,
    answered,
    captions,
    chips_of,
    described,
    expect_first,
    expect_tab,
    is_too_wide,
    open_tab,
    search,
    tiles_of,
    upload,
)

LOOK_MS = 1500  # a person looks before the next step; two steps back within an answer may be one too few
EVIL = "%3Ca+href%3Dhttp%3A%2F%2Felsewhere%3Eclick%3C%2Fa%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E"


def test_a_hit_goes_on_to_similar_and_describe_and_back_undoes_each_step(visit: Open) -> None:
    page = visit()
    search(page, "a red fruit")
    expect(page).to_have_url(re.compile(r"\?tab=search&q=a\+red\+fruit$"))
    first = captions(page)[0]
    act(tiles_of(page).first, 0)
    expect(page).to_have_url(re.compile("tab=similar&id="), timeout=WAIT_MS)
    expect_tab(page, "similar")
    expect(page.locator("#similar_picture img")).to_be_visible()
    assert first not in captions(page)  # what is asked for is no hit
    second = captions(page)[0]
    act(tiles_of(page).nth(1), 1)
    expect(page).to_have_url(re.compile("tab=describe&id="), timeout=WAIT_MS)
    sentence = described(page)
    page.locator("#search_description").click()
    expect(page.locator("#query textarea")).not_to_have_value(re.compile("^(a red fruit)?$"), timeout=WAIT_MS)
    query = page.locator("#query textarea").input_value()
    assert query in sentence and query != sentence
    expect(page).to_have_url(re.compile(r"tab=search&q=\w"))
    page.go_back()
    expect(page).to_have_url(re.compile("tab=describe&id="))
    expect_tab(page, "describe")
    expect(page.locator("#sentence")).to_have_text(sentence, timeout=WAIT_MS)
    page.wait_for_timeout(LOOK_MS)
    page.go_back()
    expect_tab(page, "similar")
    expect_first(page, second)
    page.wait_for_timeout(LOOK_MS)
    page.go_back()
    expect_tab(page, "search")
    expect(page.locator("#query textarea")).to_have_value("a red fruit", timeout=WAIT_MS)
    expect_first(page, first)
    page.go_forward()
    expect_tab(page, "similar")


def test_parts_are_chips_that_come_off_again_and_a_link_shows_them(visit: Open, app_url: str) -> None:
    page = visit()
    search(page, "a castle")
    plain, chips = captions(page), chips_of(page)
    act(tiles_of(page).nth(1), 2)
    expect(chips).to_have_count(2, timeout=WAIT_MS)
    expect(chips.nth(1)).to_contain_text(f"More like this: {plain[1]}")
    expect(page).to_have_url(re.compile("part=1%3Aitem%3A"))
    answered(page)
    assert plain[1] not in captions(page)
    act(tiles_of(page).first, 3)
    expect(chips).to_have_count(3, timeout=WAIT_MS)
    expect(chips.nth(2)).to_contain_text("Less like this")
    answered(page)
    asked, hits = chips.all_text_contents(), captions(page)

    other = visit()
    other.goto(page.url)
    expect(chips_of(other)).to_have_text(asked, timeout=WAIT_MS)
    assert captions(other) == hits
    expect(other.locator("#query textarea")).to_have_value("a castle")
    for count in (2, 1):
        chips_of(other).last.get_by_role("button", name="Remove").click()
        expect(chips_of(other)).to_have_count(count, timeout=WAIT_MS)
    expect_first(other, plain[0])

    search(page, "a planet")  # starts afresh
    expect(chips).to_have_text([re.compile("a planet")])
    expect(page).to_have_url(f"{app_url}?tab=search&q=a+planet")
    act(tiles_of(page).first, 2)
    expect(chips).to_have_count(2, timeout=WAIT_MS)
    page.get_by_role("button", name="birds").click()
    expect(chips).to_have_text([re.compile("birds")], timeout=WAIT_MS)
    page.get_by_role("button", name="Clear").click()
    expect(chips).to_have_count(0, timeout=WAIT_MS)
    expect(page.locator("#query textarea")).to_have_value("", timeout=WAIT_MS)
    expect(page.locator("#wall .count")).to_have_text("The collection")


def test_filters_are_chips(visit: Open) -> None:
    page = visit()
    search(page, "a planet")
    page.locator("#wall .bar button[aria-expanded]").click()
    page.get_by_role("button", name=re.compile("^sport")).click()
    expect(chips_of(page)).to_have_text([re.compile("a planet"), re.compile("Subject: sport")], timeout=WAIT_MS)
    expect(page).to_have_url(re.compile("where=subject%3Dsport"))
    answered(page)
    assert any("ball" in caption for caption in captions(page))
    expect(page.get_by_role("button", name=re.compile("^sport"))).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Another filter").fill("no such column")
    page.get_by_label("Another filter").press("Enter")
    expect(page.locator("#wall .error")).to_contain_text("no such column", timeout=WAIT_MS)
    expect(page.get_by_label("Another filter")).to_be_visible()  # to be typed again
    chips_of(page).last.get_by_role("button").click()
    expect(chips_of(page)).to_have_count(2, timeout=WAIT_MS)
    expect(page.locator("#wall .error")).to_have_count(0)


def test_a_filter_may_be_typed_as_the_page_says_it(visit: Open) -> None:
    page = visit(locale="fr-FR")
    page.locator("#wall .bar button[aria-expanded]").click()
    field = page.locator("#wall .filters input[type=text]")
    field.fill("sujet=animaux")
    field.press("Enter")
    expect(chips_of(page)).to_have_count(1, timeout=WAIT_MS)
    answered(page)
    expect(page.locator(".error")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("^animaux"))).to_be_visible()
    assert len(captions(page)) == 12


def test_on_a_phone_all_filters_and_chips_are_within_the_window(visit: Open) -> None:
    page = visit(NARROW)
    search(page, "a bird")
    tile = tiles_of(page).nth(1)
    tile.locator(".pick").focus()
    tile.locator(".actions button").nth(2).dispatch_event("click")  # more like this: a long caption becomes a chip
    expect(chips_of(page)).to_have_count(2, timeout=WAIT_MS)
    toggle = page.locator("#wall .bar button[aria-expanded]")
    before = toggle.bounding_box()
    toggle.click()
    assert toggle.bounding_box() == before  # a second click closes them
    places = page.locator("#wall .filters :is(button, input), #wall .chips button, #wall .tile").all()
    rights = [place.evaluate("one => one.getBoundingClientRect().right") for place in places]
    assert len(rights) > 20 and max(rights) <= NARROW["width"]


def test_who_asks_from_below_sees_the_answer_from_its_beginning(visit: Open) -> None:
    page = visit()
    search(page, "a bird")
    address = page.url
    tile = tiles_of(page).nth(12)
    tile.scroll_into_view_if_needed()
    page.mouse.wheel(0, 600)
    page.wait_for_function("scrollY > 300")
    tiles_of(page).nth(14).locator(".pick").click()
    page.locator("dialog .actions button").first.click()
    expect_tab(page, "similar")
    page.wait_for_function("scrollY === 0")
    page.go_back()
    expect(page).to_have_url(address)
    expect_tab(page, "search")


def test_describe_without_a_picture_only_asks_for_one(visit: Open, app_url: str, examples: Path) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=describe")
    hint = page.locator("#description .hint")
    expect(hint).to_be_visible(timeout=WAIT_MS)
    expect(page.locator(".error")).to_have_count(0)
    upload(page, "describe", examples / "skimage" / "coffee.jpg")
    assert described(page)
    page.get_by_role("button", name="Clear").click()
    expect(hint).to_be_visible(timeout=WAIT_MS)
    expect_tab(page, "describe")
    expect(page.locator("#describe_picture img")).to_have_count(0)


def test_a_dropped_file_that_is_no_picture_is_refused(visit: Open) -> None:
    page = visit()
    drop = """() => { const data = new DataTransfer(); data.items.add(new File(['a'], 'a.txt', { type: 'text/plain' }));
      document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: data })); }"""
    page.evaluate(drop)
    expect(page.locator("#wall .error")).to_contain_text("That is no picture", timeout=WAIT_MS)


def test_more_hits_come_on_scroll_and_a_link_to_a_later_page_still_opens(visit: Open, app_url: str) -> None:
    page = visit()
    search(page, "an animal")
    expect(tiles_of(page).nth(23)).to_be_attached()
    names = tiles_of(page).locator(".caption").all_inner_texts()[:24]
    for _ in range(40):
        page.mouse.wheel(0, 600)
        if tiles_of(page).count() > 80:
            break
        page.wait_for_timeout(100)
    later = tiles_of(page).locator(".caption").all_inner_texts()
    assert len(later) > 80 and later[:24] == names and len(set(later)) == len(later)
    expect(page).to_have_url(f"{app_url}?tab=search&q=an+animal")
    page.goto(f"{app_url}?tab=search&q=an+animal&from=24")
    expect_first(page, later[24])


def test_hits_are_saved_as_csv_and_json(visit: Open) -> None:
    page = visit()
    search(page, "a planet")
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON").click()
    answer = json.loads(Path(saved.value.path()).read_text("utf-8"))
    assert answer["query"] == "a planet" and len(answer["hits"]) >= 24 and saved.value.suggested_filename
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    lines = Path(saved.value.path()).read_text("utf-8").splitlines()
    assert len(lines) >= 25 and lines[0].startswith("rank,id,score,strength,caption")


def zipped(page: Page) -> dict[str, bytes]:
    """The files of the zip that the page gives."""
    with page.expect_download() as saved:
        page.get_by_role("button", name="ZIP").click()
    with ZipFile(saved.value.path()) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_chosen_hits_are_taken_along(visit: Open, examples: Path) -> None:
    page = visit()
    search(page, "a planet")
    tiles, status, clear = (
        tiles_of(page),
        page.locator("#wall [role=status]"),
        page.get_by_role("button", name="Chosen"),
    )
    expect(tiles.nth(1).get_by_role("checkbox")).to_be_hidden()
    tiles.nth(1).hover()
    tiles.nth(1).get_by_role("checkbox").check()
    expect(status).to_have_text("Chosen: 1")
    page.mouse.move(0, 0)
    tiles.first.locator(".pick").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(status).to_have_text("Chosen: 2")
    expect(tiles.nth(2).get_by_role("checkbox")).to_be_checked()
    ids = [tiles.nth(number).locator(".pick").get_attribute("data-id") or "" for number in (1, 2)]
    captions_csv, *pictures = zipped(page).values()
    originals = [(examples / id).read_bytes() for id in ids]
    assert [sha256(data).hexdigest() for data in pictures] == [sha256(data).hexdigest() for data in originals]
    assert [line.split(",")[1] for line in captions_csv.decode().splitlines()[1:]] == ids
    clear.click()
    expect(clear).to_be_hidden()
    expect(tiles.first.locator(".pick")).to_be_focused()
    assert len(zipped(page)) == tiles.count() + 1
    tiles.first.hover()
    tiles.first.get_by_role("checkbox").check()
    search(page, "a cat")  # another question begins with nothing chosen
    expect(clear).to_be_hidden()


def test_a_finger_chooses_by_a_long_press(app_url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(viewport=NARROW, has_touch=True, is_mobile=True, locale="fr-FR").new_page()
    page.goto(app_url)
    tile = tiles_of(page).nth(1)
    tile.wait_for(timeout=60_000)
    tile.evaluate("one => one.dispatchEvent(new PointerEvent('contextmenu', { pointerType: 'touch' }))")
    target = tile.locator(".corner label")
    box = target.bounding_box()
    assert box and box["width"] >= 44 and box["height"] >= 44
    target.tap()
    expect(page.locator("#wall [role=status]")).to_have_text("Choisies : 1")
    expect(tiles_of(page).first.locator(".corner label")).to_be_visible()  # from now on a tap is enough
    assert not is_too_wide(page)


def test_an_upload_comes_back_and_is_no_one_elses(visit: Open, examples: Path) -> None:
    page = visit()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    expect_first(page, "espresso")
    expect(page).to_have_url(re.compile("tab=similar&u="))
    search(page, "birds")
    page.go_back()
    expect_first(page, "espresso")
    page.reload()
    expect_first(page, "espresso")
    expect(page.locator("#similar_picture img")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert "coffee.jpg" in Path(saved.value.path()).read_text("utf-8").splitlines()[1]
    stranger = visit()
    stranger.goto(page.url)
    expect(stranger.locator("#wall .error")).to_contain_text("not here any more", timeout=WAIT_MS)
    expect(tiles_of(stranger)).to_have_count(0)
    expect(stranger.locator("#similar_picture img")).to_have_count(0)


def test_only_a_part_of_the_picture(visit: Open, examples: Path) -> None:
    page = visit()
    upload(page, "similar", examples / "skimage" / "coffee.jpg")
    box = page.locator("#similar_picture img").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    expect(chips_of(page).last).to_contain_text("Part: 30", timeout=WAIT_MS)
    expect(page).to_have_url(re.compile("box="))
    expect(page.locator("#similar_picture .box")).to_be_visible()
    chips_of(page).last.get_by_role("button").click()
    expect(page.locator("#similar_picture .box")).to_have_count(0, timeout=WAIT_MS)
    expect(chips_of(page)).to_have_count(1)


def test_nothing_matches_is_said_above_the_nearest(visit: Open) -> None:
    page = visit()
    search(page, "quarterly tax report of a bank")
    expect(page.locator("#wall .notice")).to_contain_text("Nothing in this collection seems to match")
    expect(tiles_of(page).first).to_be_visible()
    expect(page.locator("#wall .mark, #wall .divider")).to_have_count(0)
    search(page, "ein rotes Auto")
    expect(page.locator("#wall .notice").first).to_contain_text("seems to be German")


def test_what_is_nearest_to_a_picture_is_always_shown(visit: Open, tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), (120, 120, 120)).save(tmp_path / "grey.png")
    page = visit()
    upload(page, "similar", tmp_path / "grey.png")
    expect(page.locator("#wall .notice")).to_contain_text("much like this picture")
    expect(tiles_of(page).first).to_be_visible()


@pytest.mark.parametrize(
    ("link", "tab", "chips"),
    [
        ("?q=a+planet&tab=search&k=12", "search", ["a planet"]),
        ("?tab=search&q=a+planet&part=-1:text:moon&where=subject%3Dspace", "search", ["a planet", "moon", "space"]),
        ("?tab=search&part=1.5:item:skimage%2Fchelsea.jpg", "search", ["cat"]),
        ("?tab=similar&id=skimage%2Fcoffee.jpg&box=10%2C+10%2C+60%2C+60", "similar", ["espresso", "10, 10, 60, 60"]),
        ("?tab=describe&id=skimage%2Fcoffee.jpg", "describe", ["espresso"]),
        ("?tab=search", "search", []),
    ],
)
def test_a_link_made_before_opens_what_it_opened(
    link: str, tab: str, chips: list[str], visit: Open, app_url: str
) -> None:
    page = visit()
    page.goto(app_url + link)
    expect_tab(page, tab)
    expect(chips_of(page)).to_have_count(len(chips), timeout=WAIT_MS)
    for number, text in enumerate(chips):
        expect(chips_of(page).nth(number)).to_contain_text(text)
    expect(tiles_of(page).first).to_be_visible(timeout=WAIT_MS)
    expect(page.locator(".error:visible")).to_have_count(0)
    for other in {"similar", "describe"} - {tab}:  # it asks nothing in other tabs
        open_tab(page, other)
        expect(page.locator(f"#{other}_picture img")).to_have_count(0)


def test_what_a_link_holds_is_text(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=similar&id={EVIL}")
    error = page.locator("#wall .error")
    expect(error).to_contain_text("<a href=http://elsewhere>click</a>", timeout=WAIT_MS)
    expect(error.locator("a, img")).to_have_count(0)
    page.goto(f"{app_url}?tab=search&q={EVIL}&part=1:text:%3Cb%3Ebold%3C%2Fb%3E&where={EVIL}")
    expect(chips_of(page).nth(1)).to_contain_text("<b>bold</b>", timeout=WAIT_MS)
    expect(page.locator("#wall .chips :is(a, b, img)")).to_have_count(0)


def test_the_map_shows_where_the_hits_of_a_link_lie_and_opens_them(visit: Open, app_url: str) -> None:
    page = visit()
    page.goto(f"{app_url}?tab=search&q=a+planet")
    expect_first(page, "planet")
    page.get_by_role("button", name="Map").click()
    canvas = page.locator("#atlas canvas")
    expect(canvas).to_be_visible(timeout=60_000)
    expect(tiles_of(page).first).to_be_hidden()
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#atlas .atlas-card img")).to_be_visible(timeout=WAIT_MS)
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_contain_text("Subject", timeout=WAIT_MS)
    page.locator("dialog").get_by_role("button", name="Find similar").click()
    expect(page).to_have_url(re.compile("tab=similar&id="), timeout=WAIT_MS)
    page.get_by_role("button", name="Grid").click()
    expect(tiles_of(page).first).to_be_visible(timeout=WAIT_MS)
