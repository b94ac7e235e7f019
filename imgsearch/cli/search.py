"""The commands that search a bundle: search, similar, duplicates."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgsearch.cli.output import Output, progress_bar
from imgsearch.config import FlagParser, Settings
from imgsearch.engine import Engine
from imgsearch.errors import InputError
from imgsearch.models.registry import STARTER
from imgsearch.records import SearchResult
from imgsearch.search.query import Box, Part
from imgsearch.text import sanitise_line

PICTURE_SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm"}
PICTURE_SUFFIXES |= {".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}


def add_search_flags(command: FlagParser) -> None:
    """Add the flags of `search`."""
    command.add_argument("text", metavar="TEXT")
    _add_query_flags(command)


def add_similar_flags(command: FlagParser) -> None:
    """Add the flags of `similar`."""
    command.add_argument("image", type=picture_path, metavar="IMAGE|ID")
    box = "only this part of the picture, in percent of its sides"
    command.add_argument("--box", type=_to_box, metavar="LEFT,TOP,RIGHT,BOTTOM", help=box)
    _add_query_flags(command)


def search(arguments: argparse.Namespace, settings: Settings) -> Output:
    """Search by text."""
    return _run_query(Part(text=arguments.text), arguments, settings)


def similar(arguments: argparse.Namespace, settings: Settings) -> Output:
    """Find pictures similar to a file, or to one of the collection."""
    return _run_query(Part(image=arguments.image, name=str(arguments.image), box=arguments.box), arguments, settings)


def duplicates(arguments: argparse.Namespace, settings: Settings) -> Output:
    """List the groups of pictures that are nearly the same."""
    from imgsearch.search.duplicates import near_duplicate_groups

    threshold = arguments.threshold
    if threshold is not None and not -1 <= threshold <= 1:
        raise InputError("--threshold is {threshold:g}. Give a cosine, from -1 to 1.", threshold=threshold)
    searcher = open_engine(settings).searcher
    if threshold is None:
        searcher.derived.calibrate()
        if not searcher.derived.calibration:
            raise InputError("The threshold of this collection could not be measured. Give --threshold, such as 0.95.")
        threshold = searcher.derived.calibration.near_duplicate
    with progress_bar(" pictures") as on_progress:
        groups = near_duplicate_groups(searcher.index, threshold, on_progress)
    return {"threshold": threshold, "groups": groups}, map("  ".join, groups)


def open_engine(settings: Settings, captioner: str = STARTER) -> Engine:
    """Return the engine for the settings, with their only bundle; by default without a captioner."""
    options = {"words": not settings.no_words, "exact": settings.exact}
    return Engine.open(settings.bundle, settings.encoder, captioner, settings.precision, **options)


def print_problems(engine: Engine) -> None:
    """Print to stderr what was requested but is not available."""
    for problem in engine.status.problems:
        print(sanitise_line(f"imgsearch: {problem}"), file=sys.stderr)


def _add_query_flags(command: FlagParser) -> None:
    add = command.add_argument
    parts: dict[str, Any] = {"action": _AddPart, "type": _part, "dest": "parts", "default": [], "metavar": "TEXT|IMAGE"}
    add("--plus", **parts, help="more like this text or picture; may be given several times")
    add("--minus", **parts, help="less like this text or picture; may be given several times")
    add("--weight", action=_Weigh, type=_to_weight, metavar="W", help="of the part that stands before it (default: 1)")
    where = "column=value, column~text or column:from..to; may be given several times"
    add("--where", action="append", default=[], metavar="CONDITION", help=where)
    sort = "a column, such as year, or -year for the highest first (default: the best first)"
    add("--sort", default="", metavar="COLUMN", help=sort)
    add("-k", type=int, default=12, help="number of hits (default: 12)")
    add("--start", type=int, default=0, metavar="N", help="leave out the N best (default: 0)")
    add("--unfolded", action="store_true", help="show near-duplicates one by one")
    add("--csv", action="store_true", help="print CSV")


class _AddPart(argparse.Action):
    """Appends a part to the query; --minus weighs it -1."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, value: Any, option: str | None = None) -> None:
        weight = -1.0 if option == "--minus" else 1.0
        namespace.parts = [*namespace.parts, replace(value, weight=weight)]


class _Weigh(argparse.Action):
    """Sets the weight of the part given before it; without one, of the query itself."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, value: Any, option: str | None = None) -> None:
        if not namespace.parts:
            namespace.weight = value
            return
        *others, last = namespace.parts
        namespace.parts = [*others, replace(last, weight=last.weight * value)]


def _run_query(first: Part, arguments: argparse.Namespace, settings: Settings) -> Output:
    from imgsearch.index.filters import Condition

    first = first if arguments.weight is None else replace(first, weight=arguments.weight)
    conditions = [Condition.parse(text) for text in arguments.where]
    engine = open_engine(settings)
    if isinstance(first.image, Path) and not first.image.exists():
        with suppress(InputError):  # else the search will report that there is no such file
            first = replace(first, image=None, item=engine.index.item_by_id(first.name).id)
    parts: Sequence[Part] = [first, *arguments.parts]
    fold, sort = not arguments.unfolded, arguments.sort
    result = engine.query(parts, arguments.k, start=arguments.start, conditions=conditions, fold=fold, sort=sort)
    print_problems(engine)
    if arguments.csv and not arguments.json:
        print(result.to_csv(), end="")
        return {}, ()
    return result.to_json(), _result_lines(result, is_sorted=bool(sort))


def _result_lines(result: SearchResult, *, is_sorted: bool) -> Iterator[str]:
    """Yield a line for each hit; what is said about them goes to stderr."""
    if result.cut:
        print(sanitise_line(f"The model did not read the end: {result.cut}"), file=sys.stderr)
    if result.language:
        print(f"The query seems to be in another language ({result.language}) than the model's.", file=sys.stderr)
    if not result.hits:
        print("There are no more pictures, or none that meets the conditions.", file=sys.stderr)
    elif not result.has_match:
        print("Nothing in this collection matches; the nearest pictures are:", file=sys.stderr)
    num_likely = sum(hit.is_likely for hit in result.hits)
    for place, hit in enumerate(result.hits):
        if is_sorted and 0 < place == num_likely:
            print("Less likely:", file=sys.stderr)
        copies = f"  (+{len(hit.near_duplicates)} near-duplicates)" if hit.near_duplicates else ""
        yield f"{hit.rank:4}  {hit.score:6.3f}  {hit.strength or '':6}  {hit.item.id}  {hit.item.any_caption}{copies}"


def picture_path(text: str) -> Path:
    """Parse the path of a picture. Raise argparse.ArgumentTypeError, with a message for the user, for an address."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is an address. Nothing is fetched: download the picture first")
    return Path(text)


def _part(text: str) -> Part:
    """Parse a part of a query: a picture if there is such a file, or if it is called like one, else a text."""
    has_file = os.path.isfile(text)  # noqa: PTH113 a text may be longer than a path can be
    is_picture = has_file or Path(text).suffix.lower() in PICTURE_SUFFIXES
    return Part(image=picture_path(text), name=text) if is_picture else Part(text=text)


def _to_weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not weight > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a weight, such as 0.5")
    return weight


def _to_box(text: str) -> Box:
    try:
        left, top, right, bottom = (float(number) / 100 for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LEFT,TOP,RIGHT,BOTTOM, such as 25,0,75,50") from None
    return left, top, right, bottom
