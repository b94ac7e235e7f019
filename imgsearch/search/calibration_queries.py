"""Queries for the example photos, by kind: `data/queries.tsv`."""

from dataclasses import dataclass
from pathlib import Path

QUERIES = Path(__file__).parents[1] / "data" / "queries.tsv"


@dataclass(frozen=True)
class CalibrationQuery:
    """A text as people type it.

    Kinds: "absent" (nothing of the kind is among the example photos, and nothing akin), "real-but-absent" (another
    animal, food, vehicle ... than those there are), "half-absurd" (something of a photo in an absurd part), "typo" and
    "french" (of a photo).
    """

    kind: str
    text: str
    picture: str = ""  # the id of the photo that a typo or French query is about


def read_queries(kind: str) -> list[CalibrationQuery]:
    """The queries of a kind, in the order of the file."""
    lines = [line.split("\t") for line in QUERIES.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [CalibrationQuery(*fields) for fields in lines if fields[0] == kind]
