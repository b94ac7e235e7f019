"""Read the test queries about the example photos, by kind, from `data/queries.tsv`."""

from dataclasses import dataclass
from pathlib import Path

QUERIES = Path(__file__).parents[1] / "data" / "queries.tsv"


@dataclass(frozen=True)
class CalibrationQuery:
    """A query as people type it.

    Kinds: "absent" (no example photo shows this or anything similar), "absent-caption" (the same, worded like a
    caption), "real-but-absent" (another animal, food, vehicle ... than on the photos), "half-absurd" (something from a
    photo in an absurd scene), "typo" (about a photo, with a typing mistake) and "french" (about a photo, in French).
    """

    kind: str
    text: str
    picture: str = ""  # the id of the photo that a typo or French query is about


def read_queries(kind: str) -> list[CalibrationQuery]:
    """Return the queries of a kind in the order of the file."""
    lines = [line.split("\t") for line in QUERIES.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [CalibrationQuery(*fields) for fields in lines if fields[0] == kind]
