"""The records that the modules exchange: frozen dataclasses, with the JSON and CSV that users get of them."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from imgsearch.errors import Message
from imgsearch.text import sanitise_text

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
# A semicolon, tab or line break separates cells in French Excel, say. A run of blanks and quotes is read only once.
INNER_FORMULA = re.compile(r"(?<![\s\"';])((?:[^\S\t\r\n]|[\"'])*+[;\t\r\n][\s\"';]*+)(?=[=+\-@＝＋－＠])")
FORMULA = re.compile(r"[\t\r\n]|[\s\"']*[=+\-@＝＋－＠]")  # Japanese programs accept the full-width signs
Strength = Literal["strong", "fair", "weak"]  # of a hit, judged for the encoder and the collection
# The columns that the app itself fills; a user's own column of the name wins.
TAKEN = "taken"  # ISO local time at which a picture was taken
TEXT_IN_PICTURE = "text_in_picture"  # what is written in it
FIGURES = (TAKEN, "width", "height")  # columns that are no words, nor offered as filters
WORDS_IN = ("caption", "picture", "column")  # where an item holds the words of a query
MAX_ALIKE = 10  # notes of one reason that a report lists one by one
GENERATED_CAPTION, CAPTIONED_BY = "generated_caption", "captioned_by"  # by a model, and the id of that model


@dataclass(frozen=True)
class Picture:
    """A picture to be indexed, not decoded yet."""

    id: str  # in a folder: the path relative to it, with "/"; in a dataset: SPLIT/row number
    read: Callable[[], bytes]  # raises PictureError
    caption: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)  # the rest of its metadata record
    stamp: str = ""  # of a file: if it is equal, the file is unchanged; "" if only the bytes can tell
    note: str = ""  # what is lost beside the picture, for the report


@dataclass(frozen=True)
class Skip:
    """A picture (or another file) that is not indexed, and why."""

    picture: str
    reason: str
    is_note: bool = False  # True: no picture is lost by it


@dataclass(frozen=True)
class Item:
    """An indexed picture."""

    id: str
    caption: str
    columns: Mapping[str, str]
    sha256: str  # hex digest of the picture's bytes
    thumbnail: bytes = field(repr=False)  # WebP; empty if the bundle keeps none
    stamp: str = ""  # of the picture

    @property
    def generated_caption(self) -> str:
        """The caption that a model wrote; "" if none did."""
        return self.columns.get(GENERATED_CAPTION, "")

    @property
    def any_caption(self) -> str:
        """The caption that a person wrote or else a model; "" if none did."""
        return self.caption or self.generated_caption


@dataclass(frozen=True)
class Hit:
    """An item of a result with its rank (from 1) and its score (cosine, -1..1)."""

    rank: int
    item: Item
    score: float
    strength: Strength | None = None  # None if it is not judged
    row: int = -1  # of the item in the index
    near_duplicates: tuple[str, ...] = ()  # ids of the items folded into it
    words: float = 0.0  # share of the query's words that its caption and columns hold, 0..1
    is_likely: bool = True  # False if it stands below the line "less likely"
    reasons: tuple[str, ...] = ()  # for it: "look", WORDS_IN, "colour", "part:" with the one that counted most

    def to_json(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "id": self.item.id,
            "score": round(self.score, 4),
            "strength": self.strength,
            "words": round(self.words, 1),
            "reasons": list(self.reasons),
            "caption": self.item.caption,
            "columns": dict(self.item.columns),
            "near_duplicates": list(self.near_duplicates),
        }


@dataclass(frozen=True)
class SearchResult:
    """The hits of one query, best first or sorted by a column, and the seconds it took."""

    query: str
    hits: list[Hit]
    seconds: float
    cut: str = ""  # the end of the text, which the model did not read
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds of each stage
    start: int = 0  # the number of hits before the first one here
    following: int | None = None  # the start of the next page; None on the last page
    bounds: tuple[float, float] | None = None  # the lowest scores of a fair and of a strong hit
    language: str = ""  # of the query, if the encoder does not understand it

    @property
    def has_match(self) -> bool:
        """True unless all hits are weak. Always true on a later page."""
        return self.start > 0 or any(hit.is_likely for hit in self.hits)

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "seconds": round(self.seconds, 4),
            "stages": {name: round(seconds, 4) for name, seconds in self.stages.items()},
            "cut": self.cut,
            "language": self.language,
            "has_match": self.has_match,
            "bounds": [round(bound, 4) for bound in self.bounds] if self.bounds else None,
            "start": self.start,
            "following": self.following,
            "hits": [hit.to_json() for hit in self.hits],
        }

    def to_csv(self) -> str:
        """Return the hits as CSV with a header: rank, id, score, strength, caption, near-duplicates, the columns.

        A text that would be a formula gets an apostrophe (OWASP, "CSV Injection"); invisible characters are replaced.
        """
        fixed = ["rank", "id", "score", "strength", "caption", "near_duplicates"]
        names = list(dict.fromkeys(name for hit in self.hits for name in hit.item.columns))
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([*fixed, *(csv_cell(f"{name}_" if name in fixed else name) for name in names)])
        for hit in self.hits:
            copies = " ".join(hit.near_duplicates)
            texts = [hit.strength or "", hit.item.caption, copies, *(hit.item.columns.get(name, "") for name in names)]
            writer.writerow([hit.rank, csv_cell(hit.item.id), round(hit.score, 4), *map(csv_cell, texts)])
        return text.getvalue()


@dataclass(frozen=True)
class Tag:
    """A word of the vocabulary with its score, 0..1.

    Things: share of the evidence for all things (a category includes its members). Scenes: share within their group.
    Colours: share of the foreground pixels.
    """

    tag: str
    score: float
    group: str


@dataclass(frozen=True)
class Description:
    """A text about a picture, its tags (things, then scenes, then colours; best first) and the seconds it took."""

    caption: str
    tags: list[Tag]
    query: str  # a text to search for similar pictures with: the caption, or what it names
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"caption": self.caption, "tags": [{"tag": t.tag, "score": round(t.score, 4)} for t in self.tags]}


@dataclass(frozen=True)
class BuildReport:
    """The report of a build, summed over all its runs."""

    num_items: int = 0
    num_encoded: int = 0  # fewer than num_items if vectors of earlier work were reused
    num_duplicates: int = 0  # items whose file has the same bytes as that of an earlier item
    skipped: list[Skip] = field(default_factory=list)
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds of each, summed over the workers
    changes: Mapping[str, int] = field(default_factory=dict)  # of an update: added, changed, renamed, removed

    def __add__(self, other: "BuildReport") -> "BuildReport":
        """Return the report of two parts of a collection together."""
        names = {**self.stages, **other.stages}
        return BuildReport(
            self.num_items + other.num_items,
            self.num_encoded + other.num_encoded,
            self.num_duplicates + other.num_duplicates,
            self.skipped + other.skipped,
            self.seconds + other.seconds,
            {name: self.stages.get(name, 0) + other.stages.get(name, 0) for name in names},
        )

    def shortened(self) -> "BuildReport":
        """Return the report with only the first of more than MAX_ALIKE notes of one reason, and their number."""
        left, skipped = Counter(skip.reason for skip in self.skipped if skip.is_note), list[Skip]()
        for skip in self.skipped:
            count = left[skip.reason] if skip.is_note else 1
            if count > MAX_ALIKE:
                left[skip.reason] = 0
                skipped.append(Skip(f"{skip.picture} and {count - 1} more", skip.reason, True))
            elif count:
                skipped.append(skip)
        return replace(self, skipped=skipped)

    def to_json(self) -> dict[str, Any]:
        rate = self.num_items / self.seconds if self.seconds else 0.0
        stages = {name: round(seconds, 2) for name, seconds in self.stages.items()}
        return asdict(self) | {"seconds": round(self.seconds, 2), "stages": stages, "pictures_per_s": round(rate, 1)}


@dataclass(frozen=True)
class Progress:
    """The progress of a step: "fetch" counts bytes, "encode" pictures, "read" vocabulary words, "load" nothing."""

    step: str
    model_id: str
    done: int
    total: int


@dataclass(frozen=True)
class Status:
    """The models that answer now, and the loading under way."""

    encoder: str  # model_id; "" while the first one loads
    captioner: str  # model_id; "" for the describer's sentences
    takes_questions: bool  # True if the captioner answers questions
    num_items: int | None  # of the collection; None if it cannot be searched
    recall: float | None  # share of the nearest pictures that are found; None if all are
    problems: list[Message]  # sentences about what was requested and is not available
    progress: Progress | None  # of the step under way
    is_complete: bool  # nothing more will change


def csv_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula, without invisible characters."""
    if NUMBER.fullmatch(text):  # -33.9 is no formula
        return text
    text = text[:1] + INNER_FORMULA.sub(r"\1'", text[1:])
    return sanitise_text(f"'{text}" if FORMULA.match(text) else text)
