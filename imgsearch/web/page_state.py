"""`PageState`: what a visitor asked, in the form that the page's address holds. A link to it opens the same result."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlencode

from imgsearch.search.query import MAX_PARTS, Box, Part

Tab = Literal["describe", "similar", "search"]
NavigationRequest = tuple[str, float]
"""A link to open and the time of the request (`time.time`; 0 before the first): the same link twice is a change too."""
Run = tuple[float, int]
"""When a query was asked for (`time.time`), so that each time is a change, and how many hits to leave out."""
NOT_RUN: Run = (0.0, 0)
TABS: tuple[Tab, ...] = ("describe", "similar", "search")
NUM_HITS, MAX_HITS = 12, 50  # hits per page: default and maximum
KEYS = ("tab", "q", "id", "u", "box", "part", "where", "k", "from", "fold", "in")
MAX_LINK = 32_000  # characters
MAX_UPLOADS = 100  # of a visitor that links can open


@dataclass(frozen=True)
class QueryTerm:
    """A part of a query besides the main one: a text, the id of an item, or the token of an upload."""

    kind: Literal["text", "item", "upload"]
    value: str
    weight: float = 1.0


@dataclass(frozen=True)
class PageState:
    """One state of the page. In `similar` and `describe` the picture is `item` (an id) or `upload` (a token)."""

    tab: Tab = "describe"
    text: str = ""
    item: str = ""
    upload: str = ""
    box: str = ""  # "left, top, right, bottom" in percent
    terms: tuple[QueryTerm, ...] = ()
    where: tuple[str, ...] = ()
    k: int = NUM_HITS
    start: int = 0  # number of hits on the pages before
    fold: bool = True
    collection: str = ""

    @property
    def size(self) -> int:
        """Return how many hits the page asks for: k on the first page, MAX_HITS on the later ones."""
        return MAX_HITS if self.start else self.k

    def to_link(self) -> str:
        """Return the state as the query string of an address, "?tab=...", without the fields that have defaults."""
        values: dict[str, str | list[str]] = {
            "tab": self.tab,
            "q": self.text.strip(),
            "id": self.item,
            "u": self.upload,
            "box": self.box,
            "part": [f"{term.weight:g}:{term.kind}:{term.value}" for term in self.terms],
            "where": list(self.where),
            "k": str(self.k) if self.k != NUM_HITS else "",
            "from": str(self.start) if self.start else "",
            "fold": "" if self.fold else "0",
            "in": self.collection,
        }
        link = urlencode({name: value for name, value in values.items() if value}, doseq=True, errors="replace")
        return f"?{link}"[:MAX_LINK]

    @classmethod
    def from_link(cls, link: str) -> "PageState":
        """Read what `to_link` wrote. Ignore anything else that an address may hold: never raise."""
        values = parse_qs(link[:MAX_LINK].removeprefix("?"), errors="replace")
        first = {name: texts[0] for name, texts in values.items()}
        terms = [term for text in values.get("part", [])[:MAX_PARTS] if (term := _term(text))]
        return cls(
            tab=tab_of(first.get("tab", "")),
            text=first.get("q", ""),
            item=first.get("id", ""),
            upload=first.get("u", ""),
            box=first.get("box", ""),
            terms=tuple(terms),
            where=tuple(values.get("where", [])[:MAX_PARTS]),
            k=min(max(_non_negative_int(first.get("k", ""), NUM_HITS), 1), MAX_HITS),
            start=_non_negative_int(first.get("from", ""), 0),
            fold=first.get("fold") != "0",
            collection=first.get("in", ""),
        )


@dataclass(frozen=True)
class Uploads:
    """The pictures of one visitor by their tokens, which stand for them in links; others cannot open them."""

    paths: Mapping[str, str] = field(default_factory=dict)

    def remember(self, path: str) -> tuple["Uploads", str]:
        """Return a copy with one more upload, and its token: from the name of its folder, a digest of the content."""
        token = Path(path).parent.name[:16]
        return Uploads(dict([*({**self.paths, token: path}).items()][-MAX_UPLOADS:])), token

    def path(self, token: str) -> Path | None:
        """Return the path of an upload; None if it is not this visitor's or has been deleted."""
        path = self.paths.get(token)
        return Path(path) if path and Path(path).is_file() else None


def tab_of(name: str) -> Tab:
    """Return the tab with this name; the first one if there is no such tab."""
    return next((tab for tab in TABS if tab == name), TABS[0])


def new_run(start: int = 0) -> Run:
    """Return a value that runs the query again."""
    return time.time(), start


def to_query_parts(state: PageState, uploads: Uploads) -> list[Part]:
    """Return the parts of a query, the main one first; leave out uploads that have been deleted.

    Raise ValueError if the box is none.
    """
    main = Part(text=state.text) if state.text.strip() else None
    if state.item or state.upload:
        picture = QueryTerm("item", state.item) if state.item else QueryTerm("upload", state.upload)
        main = _part(picture, uploads, parse_box(state.box))
    return [part for part in (main, *(_part(term, uploads) for term in state.terms)) if part]


def _part(term: QueryTerm, uploads: Uploads, box: Box | None = None) -> Part | None:
    """Return the term as a part of a query; None for an upload that has been deleted."""
    if term.kind == "text":
        return Part(text=term.value, weight=term.weight)
    if term.kind == "item":
        return Part(item=term.value, weight=term.weight, box=box)
    path = uploads.path(term.value)
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
