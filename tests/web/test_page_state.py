"""Links: what is written into an address comes back from it, and what anyone else writes there does no harm."""

import random
from dataclasses import replace
from math import isfinite
from pathlib import Path
from urllib.parse import quote

import pytest

from imgsearch.search.query import MAX_PARTS, Part
from imgsearch.web.page_state import (
    MAX_HITS,
    MAX_LINK,
    NUM_HITS,
    TABS,
    PageState,
    QueryTerm,
    parse_box,
    to_query_parts,
    token_of,
)

CHARACTERS = "ab:=&?#%+;,.~/\\\"'<>{}\n\t\r\0 é犬\u0301\u202e\ufeff👩‍👩‍👧"
KINDS = ("text", "item", "upload")


def random_text(rng: random.Random, least: int = 0) -> str:
    return "".join(rng.choices(CHARACTERS, k=rng.randint(least, 12)))


def random_asked(rng: random.Random) -> PageState:
    """Any state that the page can be in."""
    terms = [
        QueryTerm(rng.choice(KINDS), random_text(rng, 1), rng.choice((-1, 1)) * rng.randint(1, 100) / 10)
        for _ in range(rng.choice((0, 0, 1, 3)))
    ]
    return PageState(
        tab=rng.choice(TABS),
        text=random_text(rng).strip(),
        item=random_text(rng),
        upload=random_text(rng),
        box=rng.choice(("", "0, 12.5, 100, 50", random_text(rng))),
        terms=tuple(terms),
        where=tuple(random_text(rng, 1) for _ in range(rng.choice((0, 0, 1, 3)))),
        sort=random_text(rng),
        k=rng.randint(1, MAX_HITS),
        start=rng.choice((0, 12, rng.randint(0, 10**8))),
        fold=rng.random() < 0.5,
        collection=random_text(rng),
    )


def check_sound(asked: PageState) -> None:
    """A state that the page can be in."""
    assert asked.tab in TABS
    assert 1 <= asked.k <= MAX_HITS and 0 <= asked.start < 10**9
    assert len(asked.terms) <= MAX_PARTS and len(asked.where) <= MAX_PARTS
    assert all(term.kind in KINDS and term.value and isfinite(term.weight) for term in asked.terms)
    for text in (asked.text, asked.item, asked.upload, asked.box, asked.sort, asked.collection, *asked.where):
        text.encode()
        assert len(text) <= MAX_LINK


def test_a_link_says_all_that_was_asked() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        asked = random_asked(rng)
        link = asked.to_link()
        assert link.isascii() and link.isprintable() and link.startswith("?") and "#" not in link
        assert PageState.from_link(link) == asked
        assert PageState.from_link(link.removeprefix("?")) == asked


def test_a_link_says_no_more_than_what_is_not_as_at_first() -> None:
    assert PageState().to_link() == "?tab=search"
    assert PageState("search", text=" two dogs ").to_link() == "?tab=search&q=two+dogs"
    asked = PageState(
        "search",
        terms=(QueryTerm("text", "snow: deep", -1.5),),
        where=("year:1990..", "a=b&c"),
        sort="-taken",
        k=20,
        fold=False,
    )
    assert asked.to_link() == (
        "?tab=search&part=-1.5%3Atext%3Asnow%3A+deep&where=year%3A1990..&where=a%3Db%26c&sort=-taken&k=20&fold=0"
    )


def test_a_text_that_is_no_unicode_does_no_harm() -> None:
    asked = PageState("search", text="dog \udcff", terms=(QueryTerm("text", "\ud800"),), where=("a=\udfff",))
    found = PageState.from_link(asked.to_link())
    check_sound(found)
    assert found.text == "dog ?" and found.terms == (QueryTerm("text", "?"),)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("", PageState()),
        ("?", PageState()),
        ("?tab=SIMILAR&tab=similar", PageState()),
        ("?tab=../etc", PageState()),
        ("?open=a.jpg", PageState()),
        ("?tab=search&q=a&q=b", PageState("search", text="a")),
        ("?tab=search&q=%FF%FE", PageState("search", text="\ufffd\ufffd")),
        ("?tab=search&q=%E4%B", PageState("search", text="\ufffd%B")),
        ("?k=-3", PageState()),
        ("?k=0", PageState(k=1)),
        ("?k=1e3", PageState()),
        ("?k=51", PageState(k=MAX_HITS)),
        ("?k=" + "9" * 5000, PageState()),
        ("?k=٣&from=²", PageState()),
        ("?from=-1", PageState()),
        ("?from=1.5", PageState()),
        ("?fold=no&fold=0", PageState()),
        ("?part=", PageState()),
        ("?part=1:text", PageState()),
        ("?part=1:text:", PageState()),
        ("?part=1:sound:x", PageState()),
        ("?part=one:text:x", PageState()),
        ("?part=nan:text:x", PageState()),
        ("?part=-inf:text:x&part=1e999:text:x", PageState()),
        ("?part=2:text:a:b&part=x", PageState(terms=(QueryTerm("text", "a:b", 2),))),
        ("?utm_source=x&__theme=dark&Q=x", PageState()),
    ],
)
def test_what_is_not_understood_counts_as_not_said(link: str, expected: PageState) -> None:
    assert PageState.from_link(link) == expected


def test_nonsense_gives_a_sound_state() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        link = list(random_asked(rng).to_link())
        for _ in range(rng.randint(1, 20)):
            link[rng.randrange(len(link)) :] = [*rng.choices("%&=;:?\0é9", k=2), *link[rng.randrange(len(link)) :]]
        check_sound(PageState.from_link("".join(link)))
    for name in ("part=1:text:x", "where=a=b", "q=x", "%"):
        check_sound(PageState.from_link("&".join([name] * 10_000)))
    check_sound(PageState.from_link("q=" + quote("犬" * 10_000)))


def test_the_first_hits_are_as_many_as_asked_for_and_what_follows_is_full() -> None:
    assert PageState().size == NUM_HITS and PageState(k=5).size == 5
    assert replace(PageState(k=5), start=5).size == MAX_HITS


def test_what_is_asked_can_be_taken_away() -> None:
    terms, where = (QueryTerm("item", "b.jpg", -1), QueryTerm("text", "snow")), ("subject=space",)
    state = PageState("similar", item="a.jpg", box="0, 0, 50, 50", terms=terms, where=where, start=24)
    assert state.has_main and state.items == {"a.jpg", "b.jpg"}
    assert state.without_main() == PageState("search", terms=terms, where=where)
    assert not state.without_main().has_main and not PageState(text=" ").has_main


def test_an_upload_is_found_by_its_token_where_the_visitor_names_it(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    picture = tmp_path / f"{token}fedcba9876543210" / "dog.jpg"
    assert token_of(picture) == token
    terms = (
        QueryTerm("upload", token, -1),
        QueryTerm("text", "snow"),
        QueryTerm("item", "a.jpg", 2),
        QueryTerm("upload", token[:-1]),
    )
    state = PageState("similar", upload=token, box="0 0 50 50", terms=terms)
    assert to_query_parts(state, {token: picture}) == [
        Part(image=picture, name="dog.jpg", box=(0, 0, 0.5, 0.5)),
        Part(image=picture, name="dog.jpg", weight=-1),
        Part("snow"),
        Part(item="a.jpg", weight=2),
    ]
    # Another visitor, with the same link.
    assert to_query_parts(state, {}) == [Part("snow"), Part(item="a.jpg", weight=2)]


def test_a_box_is_read_as_people_write_it() -> None:
    for text in ("10, 20, 30, 40", "10,20,30,40", " 10 20 30 40 ", "10%; 20%; 30%; 40%", "10 %, 2e1 %, 30. 40\n"):
        assert parse_box(text) == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert parse_box("") is None and parse_box(" \n") is None
    for text in ("10", "10, 20, 30", "1, 2, 3, 4, 5", "a, b, c, d", ",", "0x10 0 0 0"):
        with pytest.raises(ValueError, match="."):
            parse_box(text)
