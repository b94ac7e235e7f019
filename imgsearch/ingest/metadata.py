"""Read metadata as people write it: CSV and JSON Lines of any separator and encoding, with captions of any name."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any

from imgsearch.errors import InputError
from imgsearch.files import LFS_POINTER, POINTER_START
from imgsearch.text import without_surrogates

METADATA = ("metadata.csv", "metadata.jsonl")
CAPTION_NAMES = ("caption", "text", "prompt", "description")  # of the column of captions, the likeliest first
CAPTION = ""  # the caption's key in the texts of a row: no column has an empty name
NUM_SAMPLED = 1000  # rows by which the column of captions is found
SEPARATORS = ",;\t|"
SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?', re.IGNORECASE)  # Excel's own first line
NOT_UTF8 = re.compile("[\udc80-\udcff]+")  # the bytes that Python keeps as "surrogateescape"
NO_CAPTION = re.compile(r"[-+\d\s.,:/%TZ]*|\w+://\S*|true|false|nan|null|none", re.IGNORECASE)  # a number, a date, ...

Tell = Callable[[int, str, bool], None]  # gets a line, what is wrong there, and True if no row is lost by it
Row = tuple[int, dict[str, Any]]  # the number of its line, and its values by column


def read_metadata(path: Path, caption_column: str | None, tell: Tell) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield the line of each row, the name of its file, and its texts by column; the caption as CAPTION.

    `caption_column`: "" for no captions; None to find it by its name or, if it is the only one with texts, by these.
    Raise InputError if the file cannot be read or has no such column.
    """
    try:
        rows = (_read_csv if path.suffix == ".csv" else _read_json_lines)(path, tell)
        sample = list(islice(rows, NUM_SAMPLED))
        column = _find_caption_column(path, [record for _, record in sample], caption_column, tell)
        for number, record in chain(sample, rows):
            texts = {name: to_text(value) for name, value in record.items() if name and name != column}
            texts[CAPTION] = to_text(_flatten(record).get(column)) if column else ""
            yield number, without_surrogates(texts.pop("file_name", "")), texts
    except (OSError, ValueError) as error:
        raise InputError("{path} cannot be read: {reason}.", path=path, reason=error) from error


def read_lines(path: Path, tell: Tell) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, UTF-16 or, which is told, Windows-1252. Raise OSError or ValueError."""
    with path.open("rb") as file:
        start = file.read(len(POINTER_START))
    is_utf16, is_told = start.startswith((b"\xff\xfe", b"\xfe\xff")), False
    if start == POINTER_START or (b"\0" in start and not is_utf16):
        raise ValueError(LFS_POINTER if start == POINTER_START else "it is not a text in UTF-8 or UTF-16")
    encoding, errors = ("utf-16", "replace") if is_utf16 else ("utf-8-sig", "surrogateescape")
    with path.open(encoding=encoding, errors=errors, newline="") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.isascii() and NOT_UTF8.search(line):
                if not is_told:
                    tell(number, "not UTF-8, so read as Windows-1252. If letters are wrong, save it in UTF-8", True)
                    is_told = True
                line = NOT_UTF8.sub(lambda run: run[0].encode(errors=errors).decode("cp1252", "replace"), line)
            yield line


def to_text(value: Any) -> str:
    """Return a value of a table as text: None and NaN as "", bytes as UTF-8, lists and the like as JSON."""
    if value is None or value != value:
        return ""
    if isinstance(value, int | float | list | dict):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=to_text)
    elif isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by column, of a list the first one; those within a value as COLUMN.NAME."""
    values = {name: next(iter(value), None) if isinstance(value, list) else value for name, value in record.items()}
    objects = [(name, value) for name, value in values.items() if isinstance(value, dict)]
    return values | {f"{name}.{inner}": value for name, outer in objects for inner, value in outer.items()}


def _find_caption_column(path: Path, records: list[dict[str, Any]], wanted: str | None, tell: Tell) -> str:
    values = [pair for record in records for pair in _flatten(record).items() if pair[0] != "file_name"]
    names = dict.fromkeys(name for name, _ in values)
    if wanted and records and wanted not in names:
        listed = ", ".join(names) or "none"
        raise InputError("{path} has no column {wanted!r}. It has: {listed}.", path=path, wanted=wanted, listed=listed)
    if wanted is not None:
        return wanted
    texts = dict.fromkeys(name for name, text in values if isinstance(text, str) and not NO_CAPTION.fullmatch(text))
    found = [name for name in texts if any(name in record for record in records)] or list(texts)
    named = [name for wanted in CAPTION_NAMES for name in names if name.casefold() == wanted]
    if not named and len(found) > 1:
        tell(1, f"no column of captions. Choose with --caption-column: {', '.join(found)}", True)
    return named[0] if named else "".join(found) if len(found) == 1 else ""


def _read_csv(path: Path, tell: Tell) -> Iterator[Row]:
    lines = read_lines(path, tell)
    header = next(lines, "")
    match = SEPARATOR_LINE.fullmatch(header.strip("\r\n "))
    header, line = (next(lines, ""), 2) if match else (header, 1)
    columns = {mark: [name.strip() for name in _cells(header, mark)] for mark in (match[1] if match else SEPARATORS)}
    separator = max(columns, key=lambda mark: ("file_name" in columns[mark], len(columns[mark])))
    names = columns[separator]
    found = f"line {line}, separated by {separator!r}, names {', '.join(names) or 'nothing'}"
    if "file_name" not in names:
        raise ValueError(f"it has no column file_name ({found}). Add one with the paths of the pictures")
    if any(names.count(name) > 1 for name in names if name):
        raise ValueError(f"two columns have the same name ({found}). Rename one")
    for number, cells in _read_rows(lines, line + 1, separator, tell):
        if any(cells[len(names) :]):
            tell(number, "more cells than the header; the rest of it is left out", False)
        if cells:
            yield number, dict(zip(names, cells, strict=False))


def _read_rows(lines: Iterator[str], number: int, separator: str, tell: Tell) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row. A quotation mark that is not closed spoils its own line only."""
    while True:
        lines, ahead = tee(lines)
        reader, num_read = csv.reader(ahead, delimiter=separator, strict=True), 0
        with suppress(csv.Error):
            for cells in reader:
                yield number, cells
                num_lines = len(list(islice(lines, reader.line_num - num_read)))
                number, num_read = number + num_lines, reader.line_num
            return
        cells = _cells(next(lines), separator)
        tell(number, "a quotation mark without its pair, or a cell that is too long", bool(cells))
        yield number, cells
        number += 1


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
    except csv.Error:  # more characters than `csv.field_size_limit`
        return []


def _read_json_lines(path: Path, tell: Tell) -> Iterator[Row]:
    num_rows, reason = 0, ""
    for number, line in enumerate(read_lines(path, tell), start=1):
        try:
            if line.strip():
                if not isinstance(record := json.loads(line), dict):
                    raise ValueError("not an object")
                yield number, record
                num_rows += 1
        except (ValueError, RecursionError) as error:
            reason = f"no JSON: {str(error).replace('line 1 ', '')}"
            tell(number, reason, False)
    if reason and not num_rows:
        raise ValueError(f"its lines are {reason}")
