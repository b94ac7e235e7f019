"""Make what a command answers, its fields for --json and its lines for people, and the bar of its progress."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeAlias

from tqdm import tqdm

from imgsearch.records import Skip

NUM_SKIPS = 20  # skips to print
Output: TypeAlias = tuple[dict[str, Any], Iterable[str]]
"""The fields that a command prints with --json, and the lines that it prints without."""


def figure_lines(fields: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield one figure per line; nested figures are indented under their common name."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from figure_lines(value, f"{indent}    ")
        else:
            yield f"{indent + name:42}{value}"


def with_skips(fields: dict[str, Any], line: str, skips: Sequence[Skip]) -> Output:
    """Return what a command did and what it left out."""
    skipped = {"skipped": [asdict(skip) for skip in skips]} if skips else {}
    return fields | skipped, [line, *skip_lines(skips, "Left out")]


def skip_lines(skips: Sequence[Skip], what: str, rest: str = "") -> Iterator[str]:
    """Yield what was left out, and why; of many the number, and where the rest is."""
    for skip in skips[:NUM_SKIPS]:
        yield f"{'Note' if skip.is_note else what}: {skip.picture}: {skip.reason}"
    if len(skips) > NUM_SKIPS:
        yield f"and {len(skips) - NUM_SKIPS} more{rest}."


@contextmanager
def progress_bar(unit: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on stderr, with an estimate of the end. What is yielded takes the numbers done and expected."""
    with tqdm(unit=unit, total=total, file=sys.stderr) as bar:

        def on_progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_progress
