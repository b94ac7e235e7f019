"""`PageState`: what a visitor asks, as the address of the page holds it; a link to it opens the same answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlencode

from imgsearch.search.query import MAX_PARTS, Box, Part

Tab = Literal["describe", "similar", "search"]
NavigationRequest = tuple[str, float]
"""A link to follow, and when it was asked for; 0 for never."""
TABS: tuple[Tab, ...] = ("describe", "similar", "search")
NUM_HITS, MAX_HITS = 12, 50  # of a page: what is asked for at first, and at most
KEYS = ("tab", "q", "id", "u", "box", "part", "where", "k", "from", "fold", "in")
MAX_LINK = 32_000  # characters


@dataclass(frozen=True)
class QueryTerm:
    """A part of a query beside its main one: a text, an item by its id, or an upload by its token."""

    kind: Literal["text", "item", "upload"]
    value: str
    weight: float = 1.0


@dataclass(frozen=True)
class PageState:
    """One state of the page. In `similar` and `describe` the picture is an item's or an upload, which has a token."""

    tab: Tab = "describe"
    text: str = ""
    item: str = ""
    upload: str = ""
    box: str = ""  # "left, top, right, bottom" in percent
    terms: tuple[QueryTerm, ...] = ()
    where: tuple[str, ...] = ()
    k: int = NUM_HITS
    start: int = 0  # hits before the first one shown
    fold: bool = True
    collection: str = ""

    @property
    def size(self) -> int:
        """How many hits its page holds."""
        return MAX_HITS if self.start else self.k

    def to_link(self) -> str:
        """The query of an address, "?tab=...", without what is as at first."""
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
        return "?" + urlencode({name: value for name, value in values.items() if value}, doseq=True, errors="replace")

    @classmethod
    def from_link(cls, link: str) -> "PageState":
        """What `to_link` wrote; anything else that may stand in an address counts as not said."""
        values = parse_qs(link[:MAX_LINK].removeprefix("?"), errors="replace")
        one = {name: found[0] for name, found in values.items()}
        terms = [term for text in values.get("part", [])[:MAX_PARTS] if (term := _term(text))]
        return cls(
            tab=tab_of(one.get("tab", "")),
            text=one.get("q", ""),
            item=one.get("id", ""),
            upload=one.get("u", ""),
            box=one.get("box", ""),
            terms=tuple(terms),
            where=tuple(values.get("where", [])[:MAX_PARTS]),
            k=min(max(_number(one.get("k", ""), NUM_HITS), 1), MAX_HITS),
            start=_number(one.get("from", ""), 0),
            fold=one.get("fold") != "0",
            collection=one.get("in", ""),
        )


@dataclass(frozen=True)
class Uploads:
    """The pictures that a visitor has uploaded, by the tokens that stand for them in links: no one else's."""

    paths: Mapping[str, str] = field(default_factory=dict)

    def remember(self, path: str) -> tuple["Uploads", str]:
        """With one more, and its token: the name of the folder it was put in, a digest of its content."""
        token = Path(path).parent.name[:16]
        return Uploads({**self.paths, token: path}), token

    def path(self, token: str) -> Path | None:
        """Where it lies; None where it is not this visitor's, or is deleted by now."""
        path = self.paths.get(token)
        return Path(path) if path and Path(path).is_file() else None


def tab_of(name: str) -> Tab:
    """The tab of that name, else the first one."""
    return next((tab for tab in TABS if tab == name), TABS[0])


def to_query_parts(terms: Sequence[QueryTerm], uploads: Uploads) -> list[Part]:
    """The terms as parts of a query, less the uploads that are gone."""
    parts = []
    for term in terms:
        if term.kind == "text":
            parts.append(Part(text=term.value, weight=term.weight))
        elif term.kind == "item":
            parts.append(Part(item=term.value, weight=term.weight))
        elif path := uploads.path(term.value):
            parts.append(Part(image=path, name=path.name, weight=term.weight))
    return parts


def parse_box(text: str) -> Box | None:
    """The box of "left, top, right, bottom" in percent; None for an empty text. Raises ValueError."""
    if not text.strip():
        return None
    numbers = text.replace("%", " ").replace(";", " ").replace(",", " ").split()
    left, top, right, bottom = (float(number) / 100 for number in numbers)
    return left, top, right, bottom


def _term(text: str) -> QueryTerm | None:
    weight, _, rest = text.partition(":")
    kind, _, value = rest.partition(":")
    try:
        number = float(weight)
    except ValueError:
        return None
    if not isfinite(number) or not value:
        return None
    return next((QueryTerm(known, value, number) for known in ("text", "item", "upload") if known == kind), None)


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default
