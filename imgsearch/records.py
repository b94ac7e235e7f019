"""The records that travel between the modules: frozen, with what the command line prints of them as JSON."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from imgsearch.text import sanitise_text

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
INNER_FORMULA = re.compile(r"([;\t\r\n][\s\"']*)(?=[=+\-@＝＋－＠])")  # where these part cells, as in French Excel
FORMULA = re.compile(r"[\t\r\n]|[\s\"']*[=+\-@＝＋－＠]")  # the wide ones count where Japanese is written
Strength = Literal["strong", "fair", "weak"]  # of a hit, judged for the encoder and the collection


@dataclass(frozen=True)
class Picture:
    """Undecoded input of a build."""

    id: str  # a folder's: the path relative to it, with "/"; a dataset's: SPLIT/row number
    read: Callable[[], bytes]  # raises PictureError
    caption: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)  # the rest of its metadata row
    stamp: str = ""  # of a file: an equal one means that it was not changed; "" where only the bytes can tell


@dataclass(frozen=True)
class Skip:
    """A picture (or another file) that is not indexed, and why."""

    picture: str
    reason: str


@dataclass(frozen=True)
class Item:
    """An indexed picture."""

    id: str
    caption: str
    columns: Mapping[str, str]
    sha256: str  # hex digest of the picture's bytes
    thumbnail: bytes = field(repr=False)  # WebP; empty where the bundle keeps none
    stamp: str = ""  # of the picture


@dataclass(frozen=True)
class Hit:
    """An item found, its rank (from 1) and its score (cosine, -1..1)."""

    rank: int
    item: Item
    score: float
    strength: Strength | None = None  # None where it is not judged
    row: int = -1  # of the item
    near_duplicates: tuple[str, ...] = ()  # ids of the items folded into it

    def to_json(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "id": self.item.id,
            "score": round(self.score, 4),
            "strength": self.strength,
            "caption": self.item.caption,
            "columns": dict(self.item.columns),
            "near_duplicates": list(self.near_duplicates),
        }


@dataclass(frozen=True)
class SearchResult:
    """The hits of one query, best first, and the seconds it took."""

    query: str
    hits: list[Hit]
    seconds: float
    cut: str = ""  # the end of a text that the model did not read
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds of each
    start: int = 0  # the rank after which the hits begin
    following: int | None = None  # the start of the next page; None where there are no more
    bounds: tuple[float, float] | None = None  # the scores from which a hit is fair and strong
    sample: Sequence[float] = field(default=(), repr=False)  # the query's scores over a fixed sample of the items
    language: str = ""  # of the query, where the encoder does not understand it

    @property
    def has_match(self) -> bool:
        """Whether the best hit is more than weak, or not judged; of a later page nothing is said."""
        return self.start > 0 or (bool(self.hits) and self.hits[0].strength != "weak")

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
        """The hits as CSV with a line of names: rank, id, score, strength, caption, near-duplicates, the columns.

        No cell is a formula to a spreadsheet (OWASP, "CSV Injection"): such a text gets an apostrophe before it; and
        a stand-in is put for each character that is not seen.
        """
        fixed = ["rank", "id", "score", "strength", "caption", "near_duplicates"]
        names = list(dict.fromkeys(name for hit in self.hits for name in hit.item.columns))
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([*fixed, *(_cell(f"{name}_" if name in fixed else name) for name in names)])
        for hit in self.hits:
            copies = " ".join(hit.near_duplicates)
            texts = [hit.strength or "", hit.item.caption, copies, *(hit.item.columns.get(name, "") for name in names)]
            writer.writerow([hit.rank, _cell(hit.item.id), round(hit.score, 4), *map(_cell, texts)])
        return text.getvalue()


@dataclass(frozen=True)
class Tag:
    """A word of the vocabulary with its score, 0..1.

    A thing's is its share of the evidence for all things (a kind's holds its members'), a scene's its share of its
    group, a colour's its share of the pixels that count.
    """

    tag: str
    score: float
    group: str


@dataclass(frozen=True)
class Description:
    """One sentence about a picture, its tags (things, scenes, colours; each best first) and the seconds it took."""

    caption: str
    tags: list[Tag]
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"caption": self.caption, "tags": [{"tag": t.tag, "score": round(t.score, 4)} for t in self.tags]}


@dataclass(frozen=True)
class BuildReport:
    """What a build did, over all the runs that it took."""

    num_items: int = 0
    num_encoded: int = 0  # less than num_items where vectors of earlier work were taken over
    num_duplicates: int = 0  # items whose picture is, byte by byte, that of an earlier item
    skipped: list[Skip] = field(default_factory=list)
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds of each, added up over the workers
    changes: Mapping[str, int] = field(default_factory=dict)  # of an update: added, changed, renamed, removed

    def __add__(self, other: "BuildReport") -> "BuildReport":
        """The report of two parts of a collection."""
        names = {**self.stages, **other.stages}
        return BuildReport(
            self.num_items + other.num_items,
            self.num_encoded + other.num_encoded,
            self.num_duplicates + other.num_duplicates,
            self.skipped + other.skipped,
            self.seconds + other.seconds,
            {name: self.stages.get(name, 0) + other.stages.get(name, 0) for name in names},
        )

    def to_json(self) -> dict[str, Any]:
        rate = self.num_items / self.seconds if self.seconds else 0.0
        stages = {name: round(seconds, 2) for name, seconds in self.stages.items()}
        return asdict(self) | {"seconds": round(self.seconds, 2), "stages": stages, "pictures_per_s": round(rate, 1)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "BuildReport":
        """What `to_json` gave."""
        skipped = [Skip(str(skip["picture"]), str(skip["reason"])) for skip in fields["skipped"]]
        return cls(**{name: value for name, value in fields.items() if name != "pictures_per_s"} | {"skipped": skipped})


@dataclass(frozen=True)
class Progress:
    """How far a step is: "fetch" counts the bytes of a model's files, "encode" the pictures of a collection,
    "read" the words of the vocabulary; "load" counts nothing.
    """

    step: str
    model_id: str
    done: int
    total: int


@dataclass(frozen=True)
class Status:
    """What answers now."""

    encoder: str  # model_id; "" while the first one loads
    captioner: str  # model_id; "" for the describer's sentences
    takes_questions: bool  # whether the captioner does
    num_items: int | None  # of the collection; None where it cannot be searched
    problems: list[str]  # what was wanted and is not there, in sentences
    progress: Progress | None  # of what is under way
    is_complete: bool  # nothing more will change


def _cell(text: str) -> str:
    if NUMBER.fullmatch(text):  # -33.9 is no formula
        return text
    text = text[:1] + INNER_FORMULA.sub(r"\1'", text[1:])
    return sanitise_text(f"'{text}" if FORMULA.match(text) else text)
