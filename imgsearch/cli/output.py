"""Print the results of commands, as JSON or line by line, and their progress."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from imgsearch.records import Skip
from imgsearch.text import json_text, sanitise_line

NUM_SKIPS = 20  # skips to print


def print_json(value: dict[str, Any]) -> None:
    """Print a value as indented JSON."""
    print(json_text(value))


def print_figures(fields: Mapping[str, Any], indent: str = "") -> None:
    """Print one figure per line; nested figures are indented under their common name."""
    for name, value in fields.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            print_figures(value, f"{indent}    ")
        else:
            print(f"{indent + name:42}{value}")


def print_done(arguments: argparse.Namespace, fields: dict[str, Any], line: str, skips: Sequence[Skip] = ()) -> None:
    """Print what a command did and what it left out: a line, or the fields as JSON."""
    if arguments.json:
        print_json(fields | ({"skipped": [asdict(skip) for skip in skips]} if skips else {}))
        return
    print(sanitise_line(line))
    print_skips(skips, "Left out", "")


def print_skips(skips: Sequence[Skip], what: str, rest: str) -> None:
    """Print what was left out, and why; of many the number, and where the rest is."""
    for skip in skips[:NUM_SKIPS]:
        print(sanitise_line(f"{'Note' if skip.is_note else what}: {skip.picture}: {skip.reason}"))
    if len(skips) > NUM_SKIPS:
        print(f"and {len(skips) - NUM_SKIPS} more{rest}.")


@contextmanager
def progress_bar(unit: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on stderr, with an estimate of the end. What is yielded takes the numbers done and expected."""
    with tqdm(unit=unit, total=total, file=sys.stderr) as bar:

        def on_progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_progress
