"""`PageState`: what a visitor asked, in the form that the page's address holds. A link to it opens the same answer."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs, urlencode

from imgsearch.search.query import MAX_PARTS, Box, Part

Tab = Literal["search", "similar", "describe"]
PICTURE_TABS: tuple[Tab, ...] = ("similar", "describe")
TABS: tuple[Tab, ...] = ("search", *PICTURE_TABS)
NUM_HITS, MAX_HITS = 24, 50  # hits per page: default and maximum
MAX_LINK = 32_000  # characters
Uploads: TypeAlias = Mapping[str, Path]
"""The pictures that a visitor uploaded, by their tokens, which stand for them in links; others cannot open them."""


@dataclass(frozen=True)
class QueryTerm:
    """A part of a query besides the main one: a text, the id of an item, or the token of an upload."""

    kind: Literal["text", "item", "upload"]
    value: str
    weight: float = 1.0


@dataclass(frozen=True)
class PageState:
    """One state of the page. In `similar` and `describe` the picture is `item` (an id) or `upload` (a token)."""

    tab: Tab = "search"
    text: str = ""
    item: str = ""
    upload: str = ""
    box: str = ""  # "left, top, right, bottom" in percent
    terms: tuple[QueryTerm, ...] = ()
    where: tuple[str, ...] = ()
    sort: str = ""  # a column, with "-" before it for the highest first
    k: int = NUM_HITS
    start: int = 0  # number of hits on the pages before
    fold: bool = True
    collection: str = ""

    @property
    def size(self) -> int:
        """Return how many hits the page asks for: k on the first page, MAX_HITS on the later ones."""
        return MAX_HITS if self.start else self.k

    @property
    def has_main(self) -> bool:
        """Return whether there is a main part: a text or a picture."""
        return bool(self.text.strip() or self.item or self.upload)

    @property
    def items(self) -> set[str]:
        """Return the ids of the items that are parts of the query."""
        return {self.item, *(term.value for term in self.terms if term.kind == "item")} - {""}

    def without_main(self) -> "PageState":
        """Return the state without its main part."""
        return replace(self, tab="search", text="", item="", upload="", box="", start=0)

    def to_link(self) -> str:
        """Return the state as the query string of an address, "?tab=...", without the fields that have defaults."""
        texts = vars(self) | {
            "text": self.text.strip(),
            "terms": [f"{term.weight:g}:{term.kind}:{term.value}" for term in self.terms],
            "k": self.k if self.k != NUM_HITS else "",
            "fold": "" if self.fold else "0",
        }
        values = {key: texts[name] for name, key in KEYS.items() if texts[name]}
        return "?" + urlencode(values, doseq=True, errors="replace")

    @classmethod
    def from_link(cls, link: str) -> "PageState":
        """Read what `to_link` wrote. Ignore anything else that an address may hold: never raise."""
        values = parse_qs(link[:MAX_LINK].removeprefix("?"), errors="replace")
        first = {name: values[key][0] for name, key in KEYS.items() if key in values}
        terms = (_term(text) for text in values.get("part", [])[:MAX_PARTS])
        read: dict[str, Any] = {
            "tab": next((tab for tab in TABS if tab == first.get("tab")), TABS[0]),
            "terms": tuple(term for term in terms if term),
            "where": tuple(values.get("where", [])[:MAX_PARTS]),
            "k": min(max(_non_negative_int(first.get("k", ""), NUM_HITS), 1), MAX_HITS),
            "start": _non_negative_int(first.get("start", ""), 0),
            "fold": first.get("fold") != "0",
        }
        return cls(**first | read)


SHORT = {"text": "q", "item": "id", "upload": "u", "terms": "part", "start": "from", "collection": "in"}
KEYS = {each.name: SHORT.get(each.name, each.name) for each in fields(PageState)}  # of the fields in links


def token_of(path: Path) -> str:
    """Return the token of an upload: the beginning of its folder's name, a digest of the content."""
    return path.parent.name[:16]


def to_query_parts(state: PageState, uploads: Uploads) -> list[Part]:
    """Return the parts of a query, the main one first; leave out uploads that are not this visitor's or are deleted.

    Raise ValueError if the box is none.
    """
    main = Part(text=state.text) if state.text.strip() else None
    if state.item or state.upload:
        picture = QueryTerm("item", state.item) if state.item else QueryTerm("upload", state.upload)
        main = _part(picture, uploads, parse_box(state.box))
    return [part for part in (main, *(_part(term, uploads) for term in state.terms)) if part]


def _part(term: QueryTerm, uploads: Uploads, box: Box | None = None) -> Part | None:
    """Return the term as a part of a query; None for an upload that is not there."""
    if term.kind == "text":
        return Part(text=term.value, weight=term.weight)
    if term.kind == "item":
        return Part(item=term.value, weight=term.weight, box=box)
    path = uploads.get(term.value)
    return Part(image=path, name=path.name, weight=term.weight, box=box) if path else None


def parse_box(text: str) -> Box | None:
    """Parse "left, top, right, bottom" in percent; return None for an empty text. Raise ValueError if it is no box."""
    if not text.strip():
        return None
    edges = text.replace("%", " ").replace(";", " ").replace(",", " ").split()
    left, top, right, bottom = (float(edge) / 100 for edge in edges)
    return left, top, right, bottom


def _term(text: str) -> QueryTerm | None:
    match text.split(":", 2):
        case [number, ("text" | "item" | "upload") as kind, value] if value:
            with suppress(ValueError):
                weight = float(number)
                return QueryTerm(kind, value, weight) if isfinite(weight) else None
    return None


def _non_negative_int(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default
