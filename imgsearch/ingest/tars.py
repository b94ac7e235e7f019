"""Read tar files as bytes: members of one name, such as 01.jpg and 01.txt, are a row, as in WebDataset."""

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any

from datasets import Image, Json, List, Value

from imgsearch.errors import InputError
from imgsearch.files import LFS_POINTER, POINTER_START
from imgsearch.images import is_picture
from imgsearch.ingest.columns import NOTE, ColumnMapping, DatasetOptions, Row
from imgsearch.ingest.folder import MAX_PICTURE_BYTES
from imgsearch.ingest.source import START, Position
from imgsearch.records import Skip
from imgsearch.text import decode_text, without_surrogates

# The dots of 22.05.jpg belong to its name, those of 01.seg.png to its ending, which WebDataset calls a field.
MEMBER = re.compile(r"((?:.*/)?[^/]+?)\.([^\W\d]\w*(?:\.[^\W\d]\w*)*)", re.DOTALL)
TEXT, JSON = Value("string"), Json()
KINDS: dict[str, Any] = {  # of fields, by their last part
    **dict.fromkeys(("txt", "text", "caption", "transcript"), TEXT),
    **dict.fromkeys(("cls", "cls2", "index", "inx", "id"), Value("int64")),
    **dict.fromkeys(("json", "jsn"), JSON),
    **dict.fromkeys(
        ("jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif"), Image()
    ),
}
MODES = {b"\x1f\x8b": "r:gz", b"BZh": "r:bz2", b"\xfd7zXZ": "r:xz"}
DAMAGE = (tarfile.TarError, EOFError, ValueError, OverflowError, zlib.error, LZMAError)
ANY_PICTURE = "image"  # the column of a row's picture, whatever its ending
HEAD = 64  # bytes that tell a picture
NUM_LOOKED_AT = 20  # rows that tell which columns there are


class Tars:
    """The rows of local tar files."""

    num_rows: int | None = None

    def __init__(self, files: Sequence[Path], options: DatasetOptions) -> None:
        """Find the columns in the first rows. Raise InputError if there is none."""
        self._files, self._options = files, options
        self.skips: list[Skip] = []
        self.features: dict[str, Any] = {}
        entries = list(islice(self.rows(ColumnMapping({}, "", "", (), ""), START), NUM_LOOKED_AT))
        rows = [row for row in entries if not isinstance(row, str)]
        if not rows:
            raise InputError(
                "There is no picture in it: {reasons}.", reasons="; ".join(map(str, entries[:3])) or "no file"
            )
        for field, value in (item for row in rows for item in row.items() if item[0] != NOTE):
            self.features[field] = _merge(self.features.get(field), _feature(field, value))
        if not options.image_column:
            self.features = {f: kind for f, kind in self.features.items() if kind != Image() or f == ANY_PICTURE}
        if not any(_kind(field) in (TEXT, JSON) for field in self.features):
            self.features["txt"] = TEXT  # it may come later
        self.state = ""

    def rows(self, columns: ColumnMapping, start: Position) -> Iterator[Row | str]:
        """Yield the rows from `start` on, and in place of a row that is lost the reason."""
        first, before = json.loads(start.state) if start.state.startswith("[") else (0, 0)
        for number, file in enumerate(self._files[first:], first):
            with file.open("rb") as stream:
                self.state = json.dumps([number, before])
                tar, rows, problems = _open_tar(stream)
                for key, members in islice(rows.items(), max(0, start.index - before), None):
                    yield self._row(tar, key, members, columns.caption)
                before += len(rows)
                yield from islice((f"{file.name}: {text}" for text in problems), max(0, start.index - before), None)
                before += len(problems)

    def _row(self, tar: Any, key: str, members: Mapping[str, tarfile.TarInfo], caption: str) -> Row | str:
        """Read what may be used of a row. Return what is wrong with it if there is no picture."""
        row: dict[str, Any] = {"__key__": key}
        notes = []
        for field, member in members.items():
            try:
                content = tar.extractfile(member)
                row[field] = content.read(HEAD)
                if _kind(field) or is_picture(row[field]):
                    row[field] += content.read(MAX_PICTURE_BYTES)
                if _kind(field) == JSON:
                    row[field] = json.loads(decode_text(row[field])[0])
            except (*DAMAGE, RecursionError):
                notes.append(f"{without_surrogates(member.name)} is damaged or cut off")
                row.pop(field, None)
        pictures = [field for field in row if field in members and _kind(field) in (Image(), None)]
        pictures = [field for field in pictures if is_picture(row[field])] or [f for f in pictures if _kind(f)]
        picture = self._options.image_column or next(iter(sorted(pictures, key=lambda field: "." in field)), "")
        if picture not in row:
            return "; ".join(notes) or f"there is no picture beside {', '.join(members)}"
        notes += [f"{field} beside it is left out" for field in pictures if field != picture]
        if (
            self._options.caption_column is None and caption.split(".")[0] not in row
        ):  # the only text, whatever its ending
            texts = [row[field] for field in row if _kind(field) == TEXT] or [
                value["caption"] for value in row.values() if isinstance(value, dict) and "caption" in value
            ]
            row[caption] = texts[0] if len(texts) == 1 else None
        return {**row, self._options.image_column or ANY_PICTURE: row[picture], NOTE: "; ".join(notes)}


def _open_tar(stream: IO[bytes]) -> tuple[Any, dict[str, dict[str, tarfile.TarInfo]], list[str]]:
    """Return a tar, its members by name and field, and what is lost of it."""
    rows: dict[str, dict[str, tarfile.TarInfo]] = {}
    problems: list[str] = []
    tar: Any = None
    last, end = "its beginning", 0
    head = stream.read(len(POINTER_START))
    stream.seek(0)
    mode: Any = next((mode for magic, mode in MODES.items() if head.startswith(magic)), "r:")
    try:
        tar = tarfile.open(fileobj=stream, mode=mode, ignore_zeros=True)  # noqa: SIM115 zeros: go on after damage
        while member := tar.next():
            if not _is_blank(tar.fileobj, end, member.offset):
                problems.append(f"damaged after {last}")
            last, end = without_surrogates(member.name), tar.offset
            match = MEMBER.fullmatch(last)
            key, field = match.groups() if match else (last, "")
            is_hidden = last.rpartition("/")[2].startswith(".")
            if is_hidden or not member.isfile():
                problems += [] if member.isdir() else [f"{last} is {'hidden' if is_hidden else 'a link, or no file'}"]
            elif rows.setdefault(key, {}).setdefault(field, member) is not member:
                problems.append(f"{last} is there twice; the first one counts")
        if not _is_blank(tar.fileobj, end, None):
            problems.append(f"cut off or damaged after {last}")
    except DAMAGE:
        problems.append(LFS_POINTER if head == POINTER_START else f"cut off or damaged at {last}")
    return tar, rows, problems


def _is_blank(file: IO[bytes], start: int, end: int | None) -> bool:
    """Return True if there are only zeros from start to end; if `end` is None, to the end of the file, at least one."""
    if start != end:
        file.seek(start)
    is_blank = end is not None
    while (size := 2**20 if end is None else min(2**20, end - start)) and (chunk := file.read(size)):
        if chunk.strip(b"\0") and chunk[156:157] != b"g":  # a header of the whole tar, such as git writes
            return False
        start, is_blank = start + len(chunk), True
    return is_blank


def _kind(field: str) -> Any:
    """Return the type of a field by the last part of its name; None if only its bytes tell it."""
    return KINDS.get(field.rpartition(".")[2].lower())


def _feature(field: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _feature("", inner) for name, inner in value.items()}
    if isinstance(value, list):
        return List(_feature("", value[0]) if value else Value("null"))
    if isinstance(value, bytes):
        return Image() if is_picture(value) or field == ANY_PICTURE else _kind(field) or Value("binary")
    return Value("null" if value is None else "string" if isinstance(value, str) else "float64")


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: _merge(old.get(name), kind) for name, kind in new.items()}
    return new if old in (None, Value("null")) else old
