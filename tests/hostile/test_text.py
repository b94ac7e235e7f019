"""Captions, columns, file names and names of collections are text: letters in page, terminal and exports."""

import csv
import io
import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gradio_client import Client
from playwright.sync_api import BrowserContext, Locator, Page, expect

from imgsearch.index.index import Index
from imgsearch.records import Hit, Item, SearchResult
from imgsearch.text import json_text, sanitise_line, truncate
from imgsearch.web.page_state import NUM_HITS, PageState
from tests.helpers.app import running_app
from tests.helpers.commands import Run
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.hostile_bundles import with_texts
from tests.helpers.pages import WAIT_MS, WIDE, act, chips_of, open_hit, search, tiles_of

MARKUP = [
    "<script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "[a link](http://evil.example/a) ![a picture](http://evil.example/b.png) <http://evil.example>",
    "{{ window.hacked = 1 }} ${window.hacked = 1} {0} {} %s {value}",
    '__i18n__{"__type__": "translation_metadata", "key": "close"}',
    "'\"></textarea></style></dl><svg onload=window.hacked=1><a href=javascript:window.hacked=1>click</a>",
    "&lt;b onclick=window.hacked=1&gt; &#60;i&#62;",
]
UNSEEN = [
    "\u202egnp.\u202c \u200fright\u200e to left \u2066isolated\u2069",
    "\x1b[31mred\x1b[0m \x07bell \x00nul \x7f \x9b31m \x1b]0;title\x07",
    "two\nlines\r\nand a\ttab \u2028 \u2029 \ufeff \u00ad \u061c",
]
FORMULAS = ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", ' "=1"', "＝1+1"]
NUMBERS = ["-33.9", "+5", "1e-5", "7"]
TEXTS = [*MARKUP, *UNSEEN, *FORMULAS]
HIDDEN = "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff]"
LONG = "long words " * 10_000  # 110 kB
NAME = "<img src=x onerror='window.hacked=1'>\u202e{{name}}"


def strange_item(row: int, item: Item) -> Item:
    """An item of hostile texts: the first is the longest, the second has a thousand columns."""
    text = TEXTS[row % len(TEXTS)]
    columns = {
        "group": MARKUP[row % len(MARKUP)],
        text: text,
        "number": NUMBERS[row % len(NUMBERS)],
        "caption_fr": f"fr {text}",
    }
    if row == 1:
        columns |= {f"{text} {number}": f"value {number}" for number in range(1000)}
    id = item.id if row == 2 else f"{row}/{text}.jpg".replace("\0", "")
    return replace(item, id=id, caption=LONG if row == 0 else text, columns=columns)


@pytest.fixture(scope="module")
def strange(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photos' vectors by the starter encoder, with hostile texts, in a folder of a hostile name."""
    bundle = tmp_path_factory.mktemp("strange") / NAME
    shutil.copytree(starter_bundle, bundle)
    with_texts(bundle, strange_item)
    return bundle


@pytest.fixture(scope="module")
def url(strange: Path, starter_bundle: Path) -> Iterator[str]:
    with running_app("--index", str(strange), "--index", str(starter_bundle), "--captioner", "starter") as (url, _):
        yield url


@pytest.fixture
def open_page(new_context: Callable[..., BrowserContext], url: str) -> Iterator[Callable[[str], Page]]:
    """Opens the app; nothing of the collection may run, be made an element of, or be fetched."""
    pages: list[Page] = []
    said: list[str] = []
    outside: list[str] = []

    def open_page(locale: str) -> Page:
        page = new_context(viewport=WIDE, locale=locale).new_page()
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: outside.append(request.url))
        page.goto(url)
        expect(page.locator("#banner")).to_contain_text(str(NUM_EXAMPLES), timeout=60_000)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        check_letters(page)
    assert not said
    assert not [each for each in outside if not each.startswith((url, "data:", "blob:"))]


def check_letters(page: Page) -> None:
    """No script of the collection has run, none of its tags is an element, no unseen character is in the text."""
    assert page.evaluate("window.hacked") is None
    assert (
        page.locator('[onerror], [onclick], [onload], img[src="x"], a[href*="evil"], a[href^="javascript"]').count()
        == 0
    )
    assert page.evaluate("[...document.scripts].filter((one) => one.text.startsWith('window.hacked')).length") == 0
    assert not re.search(HIDDEN, page.locator("body").inner_text())
    labels = page.evaluate("[...document.querySelectorAll('[aria-label], [title]')].map((e) => e.ariaLabel + e.title)")
    assert not re.search(HIDDEN, "".join(labels))


def pick(page: Page, text: str) -> Locator:
    """Open the first hit; its data is to say a text. The dialog."""
    dialog = open_hit(page, 0)
    expect(dialog.locator("dl")).to_contain_text(text, timeout=WAIT_MS)
    return dialog


def letters(text: str) -> str:
    """A text as a page shows it."""
    return " ".join(sanitise_line(text).split())


@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_cards_show_letters(open_page: Callable[[str], Page], locale: str) -> None:
    page = open_page(locale)
    cards = search(page, "an animal")
    expect(cards.nth(20)).to_be_attached(timeout=WAIT_MS)
    known = {truncate(("fr " if locale == "fr-FR" else "") + text, 300) for text in TEXTS} | {truncate(LONG, 300)}
    shown = cards.locator(".caption").evaluate_all("(all) => all.map((each) => each.textContent)")
    assert set(shown) <= known and len(set(shown)) > 3


def test_the_data_of_a_hit_shows_letters(open_page: Callable[[str], Page], url: str) -> None:
    page = open_page("en-US")
    for text in MARKUP[:4]:
        ask(page, url, f"group={text}")
        expect(tiles_of(page).first).to_be_attached(timeout=WAIT_MS)
        pick(page, letters(text))
        check_letters(page)


def ask(page: Page, url: str, where: str, text: str = "an animal") -> None:
    """Open the link of a search with a filter."""
    page.goto(f"{url}{PageState('search', text=text, where=(where,)).to_link()}")


def test_long_texts_and_many_columns_are_cut(open_page: Callable[[str], Page], url: str) -> None:
    page = open_page("en-US")
    ask(page, url, "caption~long words long words")
    tiles = tiles_of(page)
    expect(tiles).to_have_count(1, timeout=WAIT_MS)
    assert len(tiles.locator(".caption").text_content() or "") <= 301
    dialog = pick(page, "number")
    expect(dialog.locator("h2")).to_contain_text("…")
    assert len(dialog.text_content() or "") < 10_000
    ask(page, url, f"id=1/{MARKUP[1]}.jpg")
    expect(tiles).to_have_count(1, timeout=WAIT_MS)
    assert pick(page, "value 7").locator("dt").count() <= 101


def test_chips_and_filters_show_letters_and_filter(open_page: Callable[[str], Page]) -> None:
    page = open_page("en-US")
    tiles, chips = search(page, "an animal"), chips_of(page)
    page.locator("#wall .bar button[aria-expanded]").click()
    values = page.locator("#wall .filters fieldset", has_text="group").locator("button")
    expect(values).to_have_count(len(MARKUP))
    shown = {letters(re.sub(r"\d+$", "", text)) for text in values.all_text_contents()}
    assert shown == {letters(truncate(text, 100)) for text in MARKUP}
    values.filter(has_text="&lt;b").click()
    expect(chips.last).to_contain_text("&lt;b onclick", timeout=WAIT_MS)
    caption = tiles.first.locator(".caption").text_content() or ""
    act(tiles.first, 2)
    expect(chips).to_have_count(3, timeout=WAIT_MS)
    expect(chips.nth(1)).to_contain_text(letters(caption))


def test_the_banner_and_the_choice_of_collections_show_letters(open_page: Callable[[str], Page]) -> None:
    page = open_page("en-US")
    expect(page.locator("#banner")).to_contain_text(sanitise_line(NAME))
    choice = page.locator("#collection input")
    assert choice.input_value() == sanitise_line(NAME)
    choice.click()
    options = page.get_by_role("listbox").get_by_role("option")
    expect(options).to_have_count(2)
    expect(options.first).to_contain_text(sanitise_line(NAME))


@pytest.mark.parametrize("locale", ["en-US", "fr-FR"])
def test_the_map_shows_letters(open_page: Callable[[str], Page], locale: str) -> None:
    page = open_page(locale)
    page.locator("#wall .views button").last.click()
    expect(page.locator(".atlas canvas")).to_have_attribute("aria-label", re.compile("263"), timeout=4 * WAIT_MS)
    page.locator(".atlas canvas").press("ArrowRight")
    card = page.locator(".atlas-card p")
    expect(card).to_be_visible(timeout=WAIT_MS)
    texts = [LONG, *TEXTS]
    known = {truncate(("fr " if locale == "fr-FR" else "") + text, 300) for text in texts} | {truncate(LONG, 300)}
    assert card.text_content() in known
    page.locator(".atlas canvas").press("Enter")
    expect(page.locator("dialog[open] dl")).to_contain_text("group", timeout=WAIT_MS)


def test_an_item_that_leads_on_shows_letters(open_page: Callable[[str], Page], url: str) -> None:
    page = open_page("en-US")
    ask(page, url, f"group={MARKUP[0]}")
    tiles = tiles_of(page)
    expect(tiles.first).to_be_visible(timeout=WAIT_MS)
    caption = tiles.first.locator(".caption").text_content() or ""
    act(tiles.first, 0)
    expect(page).to_have_url(re.compile("tab=similar"))
    expect(chips_of(page)).to_contain_text([letters(caption)], timeout=WAIT_MS)


def test_what_went_wrong_is_said_in_letters(open_page: Callable[[str], Page], url: str) -> None:
    page = open_page("en-US")
    ask(page, url, f"{MARKUP[1]}\u202e=1")
    expect(page.locator("#wall .error")).to_contain_text("no column", timeout=WAIT_MS)
    expect(page.locator("#wall .error")).to_contain_text("<img src=x")


def test_exports_are_safe_and_say_the_same(url: str, open_page: Callable[[str], Page]) -> None:
    page = open_page("en-US")
    search(page, "an animal")
    paths = []
    for name in ("CSV", "JSON"):
        with page.expect_download() as started:
            page.get_by_role("button", name=name).click()
        paths.append(Path(started.value.path()))
    check_csv(paths[0].read_text("utf-8"))
    text = paths[1].read_text("utf-8")
    answer = Client(url, verbose=False).predict("an animal", NUM_HITS, NAME, api_name="/search")[0]
    assert [hit["id"] for hit in json.loads(text)["hits"]] == [hit["id"] for hit in answer["hits"]]
    check_terminal(text)


def check_csv(text: str) -> None:
    """No cell is a formula, and numbers are numbers."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == NUM_HITS + 1 and len({len(row) for row in rows}) == 1
    number = rows[0].index("number")
    for row in rows[1:]:
        float(row[0]), float(row[2]), float(row[number])
        assert not any(re.match(r"[\s\"']*[=+\-@＝]", cell) and not is_number(cell) for cell in row if cell[:1] != "'")
    assert not any(unicodedata.category(sign) in ("Cf", "Cs") for sign in text)


def is_number(cell: str) -> bool:
    try:
        return float(cell) == float(cell)
    except ValueError:
        return False


def check_terminal(text: str) -> None:
    """Nothing in it steers a terminal, or is not seen."""
    assert text and not any(
        unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in text if sign not in "\n\u200c\u200d"
    )


def test_a_terminal_shows_letters(strange: Path, run: Run) -> None:
    command = ("search", "an animal", "--index", str(strange), "-k", "50", "--unfolded")
    lines = run(*command).out
    check_terminal(lines)
    assert len(lines.splitlines()) == 50
    check_terminal(run(*command, "--csv").out.replace("\r", "").replace("\t", ""))
    answer = run(*command, "--json")
    check_terminal(answer.out)
    captions = {item.caption for item in map(Index.load(strange).item, range(NUM_EXAMPLES))}
    assert {hit["caption"] for hit in answer.answer()["hits"]} <= captions


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["lines", "json"])
def test_other_commands_show_letters(
    strange: Path, examples: Path, tmp_path: Path, more: tuple[str, ...], run: Run
) -> None:
    picture = tmp_path / "\x1b[2J\u202e.jpg"
    shutil.copy(examples / "skimage" / "coffee.jpg", picture)
    for arguments in (
        ("info", "--index", str(strange)),
        ("duplicates", "--index", str(strange), "--threshold", "0.8"),
        ("similar", str(picture), "--index", str(strange)),
        ("describe", str(picture)),
    ):
        done = run(*arguments, *more)
        assert done.code == 0, done.err
        check_terminal(done.out)


def test_error_lines_show_letters(strange: Path, tmp_path: Path, run: Run) -> None:
    for arguments in (
        ("describe", str(tmp_path / "\x1b[2J\u202enone.jpg")),
        ("search", "an animal", "--index", str(tmp_path / "\x1b[2Jnone")),
        ("search", "an animal", "--index", str(strange), "--where", "\x1b[2J\u202e=1"),
    ):
        check_terminal(run(*arguments).refusal())


def test_a_build_of_strange_names_shows_letters(examples: Path, tmp_path: Path, tiny: Path, run: Run) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        name = f"{number} {text}.jpg".replace("/", "").replace("\0", "")
        shutil.copy(examples / "stamps" / "food-fruit-kiwi.jpg", folder / name)
        (folder / f"not a picture {name}").write_text("none")
    done = run("build", folder, "--out", tmp_path / "\x1b[2Jbundle", "--encoder", f"local-dir:{tiny}/clip")
    assert done.code == 0, done.err
    check_terminal(done.out)
    assert f"{len(TEXTS)} pictures indexed" in done.out and done.out.count("Not indexed") == len(TEXTS)
    report = (tmp_path / "\x1b[2Jbundle" / "report.json").read_text("utf-8")
    check_terminal(report)
    assert len(json.loads(report)["skipped"]) == len(TEXTS)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_any_cell_is_a_text(text: str) -> None:
    item = Item(text, text, {text: text}, "", b"")
    rows = list(csv.reader(io.StringIO(answer_of(item).to_csv(), newline="")))
    assert rows[0][6] == rows[1][6] == rows[1][1] == rows[1][4] == f"'{text}"


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_stays_a_number(text: str) -> None:
    rows = list(csv.reader(io.StringIO(answer_of(Item("a", "", {"n": text}, "", b"")).to_csv())))
    assert rows[1][2] == "-0.25" and rows[1][6] == text


def answer_of(item: Item) -> SearchResult:
    return SearchResult("", [Hit(1, item, -0.25)], 0.0)


def test_plain_keeps_what_is_seen() -> None:
    for text in (
        "Un été à 20 °C, 3\u202f000 m",
        "日本語\u3000の写真",
        "مرحبا",
        "👩\u200d🌾 می\u200cخواهم",
        "naïve – “ok” …",
    ):
        assert sanitise_line(text) == text == json.loads(json_text(text))
    assert [sanitise_line(text) for text in ("a\nb\t\r\nc", "\x1b[1m\u202e\ud800", "\u2028")] == [
        "a b c",
        "�[1m��",
        "�",
    ]
    assert (truncate("abc", 3), truncate("abcd", 3)) == ("abc", "abc…")
    assert json.loads(json_text(UNSEEN)) == UNSEEN and json_text("\U000e0041\x9b") == '"\\udb40\\udc41\\u009b"'
