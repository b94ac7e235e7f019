"""Lance tables of made-up items, by the real engine."""

from pathlib import Path

from imgsearch.index.index import Index
from imgsearch.index.lance import LanceIndex
from imgsearch.index.lance_export import export_table
from imgsearch.index.manifest import Provenance
from imgsearch.search.words import stems


def ignore(done: int, total: int) -> None:
    """Take no notice of progress."""


def as_table(index: Index, folder: Path) -> LanceIndex:
    """The same items and vectors, exported from a bundle."""
    index.save(folder / "bundle")
    export_table(folder / "bundle", folder / "table.lance", stems, ignore)
    return LanceIndex(folder / "table.lance")


def as_kind(kind: str, index: Index, folder: Path) -> Index:
    """The index itself, or as a table."""
    assert kind in ("bundle", "table") and isinstance(index.provenance, Provenance)
    return as_table(index, folder) if kind == "table" else index
