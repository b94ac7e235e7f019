"""Read tar files as bytes: members of one name, such as 01.jpg and 01.txt, are a row, as in WebDataset."""

import io
import json
import os
import re
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import islice
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any

from datasets import Image, Json, List, Value
from pydantic import NonNegativeInt, TypeAdapter

from imgsearch.downloads import RemoteFile
from imgsearch.environment import cache_folder
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
PICTURES = "jpg jpeg jpe png webp gif bmp tif tiff avif heic heif"
KINDS: dict[str, Any] = {  # of fields, by their last part
    **dict.fromkeys(("txt", "text", "caption", "transcript"), TEXT),
    **dict.fromkeys(("cls", "cls2", "index", "inx", "id"), Value("int64")),
    **dict.fromkeys(("json", "jsn"), JSON),
    **dict.fromkeys(PICTURES.split(), Image()),
}
MODES = {b"\x1f\x8b": "r:gz", b"BZh": "r:bz2", b"\xfd7zXZ": "r:xz"}
DAMAGE = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError, zlib.error, LZMAError)
ANY_PICTURE = "image"  # the column of a row's picture, whatever its ending
HEAD = 64  # bytes that tell a picture
NUM_LOOKED_AT = 20  # rows that tell which columns there are
STATE = TypeAdapter(tuple[NonNegativeInt, NonNegativeInt])  # of a `Position`: tars, and rows in them, before this one
HEAD_BYTES = STREAM_BYTES = 2**23  # of a streamed tar: looked at for its columns; fetched by one request


class Tars:
    """The rows of tar files."""

    num_rows: int | None = None
    group_ends: Sequence[int] = ()

    def __init__(self, files: Sequence[str], options: DatasetOptions, fetch: Callable[[str], str] | None = str) -> None:
        """Find the columns in the first rows. Raise InputError if there is none.

        `fetch`: return a file's path here; None: stream files of the hub, each of which numbers rows of its own.
        """
        self._files, self._options, self._is_streamed = files, options, not fetch
        self.skips: list[Skip] = []
        self.features: dict[str, Any] = {}
        whole = lru_cache(1)(lambda file: _open_tar((fetch or _stream)(file)))  # one is looked into, then read
        ways: list[Callable[[str], Any]] = [whole] if fetch else [_open_head, whole]
        for self._open_tar in ways:
            entries = list(islice(self.rows(ColumnMapping({}, "", "", (), ""), START), NUM_LOOKED_AT))
            if rows := [row for row in entries if not isinstance(row, str)]:
                break
        else:
            reasons = "; ".join(map(str, entries[:3])) or "it is empty"
            raise InputError("{file} holds no picture: {reasons}.", file=Path(files[0]).name, reasons=reasons)
        self._open_tar = whole
        for field, value in (item for row in rows for item in row.items() if item[0] != NOTE):
            self.features[field] = _merge(self.features.get(field), _feature(field, value))
        if not options.image_column:
            self.features = {f: kind for f, kind in self.features.items() if kind != Image() or f == ANY_PICTURE}
        if all(sum(_kind(field) == TEXT for field in row) < 2 for row in rows):  # one text, but of several endings
            texts = [field for field in self.features if _kind(field) == TEXT and field not in options.columns]
            self.features = {f: kind for f, kind in self.features.items() if f not in texts[1:]}
        if not any(_kind(field) in (TEXT, JSON) for field in self.features):
            self.features["txt"] = TEXT  # it may come later
        self.state = ""

    def rows(self, columns: ColumnMapping, start: Position) -> Iterator[Row | str]:
        """Yield the rows from `start` on, and in place of a row that is lost the reason."""
        first, before = STATE.validate_json(start.state if start.state.startswith("[") else "[0, 0]")
        for number, file in enumerate(self._files[first:], first):
            self.state = json.dumps([number, before])
            self._file, self._before = file, before
            tar, rows, problems = self._open_tar(file)
            for members in islice(rows, max(0, start.index - before), None):
                yield self._row(tar, members, columns.caption)
            before += len(rows)
            lost = (f"{Path(file).name}: {problem}" for problem in problems)
            yield from islice(lost, max(0, start.index - before), None)
            before += len(problems)

    def key(self, number: int) -> str:
        """Return the id of the last row, the one of that number, within its split."""
        return f"{self._file.split('/', 5)[5]}/{number - self._before}" if self._is_streamed else str(number)

    @property
    def files(self) -> "list[Tars]":
        """Each file as a table of its own, if they are streamed."""
        tables = [copy(self) for _ in self._files] if self._is_streamed else []
        for table, file in zip(tables, self._files, strict=False):
            table._files = [file]
        return tables

    def _row(self, tar: Any, members: Mapping[str, tarfile.TarInfo], caption: str) -> Row | str:
        """Read what may be used of a row. Return what is wrong with it if there is no picture."""
        row: dict[str, Any] = {}
        names = {field: without_surrogates(member.name) for field, member in members.items()}
        notes = []
        for field, name in names.items():
            try:
                data = _read(tar.fileobj, members[field], MAX_PICTURE_BYTES + 1 if _kind(field) else HEAD)
                if not _kind(field) and is_picture(data):
                    data = _read(tar.fileobj, members[field], MAX_PICTURE_BYTES + 1)
                if _kind(field) == JSON:
                    text, problem = decode_text(data)
                    data = json.loads(text)
                    notes += [f"{name} is {problem}"] if problem else []
                row[field] = data
            except DAMAGE:
                notes.append(f"{name} is damaged or cut off")
        likely = [field for field in row if _kind(field) in (Image(), None)]
        pictures = [field for field in likely if is_picture(row[field])] or [*filter(_kind, likely)]
        picture = self._options.image_column or min(pictures, key=lambda field: "." in field, default="")
        if picture not in row or not pictures:
            return "; ".join(notes) or f"no picture is among {', '.join(names.values())}"
        if not self._options.image_column:
            notes += [f"{names[field]} beside it is left out" for field in pictures if field != picture]
        if self._options.caption_column is None and caption and caption.split(".")[0] not in row:
            texts = [data for field, data in row.items() if _kind(field) == TEXT]  # the only one, whatever its ending
            texts = texts or [data["caption"] for data in row.values() if isinstance(data, dict) and "caption" in data]
            row[caption] = texts[0] if len(texts) == 1 else None
        column = self._options.image_column or ANY_PICTURE
        return {**row, column: row[picture], "__key__": _split(names[picture])[0], NOTE: "; ".join(notes)}


def _read(file: IO[bytes], member: tarfile.TarInfo, max_bytes: int) -> bytes:
    file.seek(member.offset_data)
    data = file.read(min(member.size, max_bytes))
    if len(data) < min(member.size, max_bytes):
        raise EOFError
    return data


def _split(name: str) -> tuple[str, str]:
    """Split the name of a member into that of its row and its field."""
    match = MEMBER.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def _stream(url: str, max_bytes: int = sys.maxsize) -> int:
    """Fetch a file of the hub, or its beginning. Return a descriptor of a nameless copy, gone when it is closed."""
    remote: Any = RemoteFile(url)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        while data := remote.read(min(STREAM_BYTES, max_bytes - file.tell())):
            file.write(data)
        file.seek(0)
        return os.dup(file.fileno())


def _open_head(url: str) -> tuple[Any, list[dict[str, tarfile.TarInfo]], list[str]]:
    """Return the beginning of a tar as if it was cut."""
    return _open_tar(_stream(url, HEAD_BYTES))


def _open_tar(file: str | int) -> tuple[Any, list[dict[str, tarfile.TarInfo]], list[str]]:
    """Return a tar, the members of each row by field, and what is lost of it."""
    rows: dict[str, dict[str, tarfile.TarInfo]] = {}
    problems: list[str] = []
    tar: Any = None
    last, end, head = "its beginning", 0, b""
    try:
        stream = io.FileIO(file)
        head = stream.read(len(POINTER_START))
        stream.seek(0)
        mode: Any = next((mode for magic, mode in MODES.items() if head.startswith(magic)), "r:")
        tar = tarfile.open(fileobj=stream, mode=mode, ignore_zeros=True)  # noqa: SIM115 zeros: go on after damage
        while member := tar.next():
            if not _is_blank(tar.fileobj, end, member.offset):
                problems.append(f"damaged after {last}")
            last, end = without_surrogates(member.name), tar.offset
            key, field = _split(last)
            is_hidden = last.rpartition("/")[2].startswith(".")
            if is_hidden or not member.isfile():
                problems += [] if member.isdir() else [f"{last} is {'hidden' if is_hidden else 'a link, or no file'}"]
            elif rows.setdefault(key, {}).setdefault(field, member) is not member:
                problems.append(f"{last} is there twice; the first one counts")
        if not _is_blank(tar.fileobj, end, None):
            problems.append(f"damaged or cut off after {last}")
    except DAMAGE:
        problems.append(LFS_POINTER if head == POINTER_START else f"damaged or cut off at {last}")
    return tar, list(rows.values()), problems


def _is_blank(file: IO[bytes], start: int, end: int | None) -> bool:
    """Return True if there are only zeros from start to end; if `end` is None, to the end of the file, at least one."""
    if start != end:
        file.seek(start)
    is_blank = end is not None
    while (size := 2**20 if end is None else max(0, min(2**20, end - start))) and (chunk := file.read(size)):
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
        return _kind(field) or (Image() if field == ANY_PICTURE or is_picture(value) else Value("binary"))
    return Value("null" if value is None else "string" if isinstance(value, str) else "float64")


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: _merge(old.get(name), kind) for name, kind in new.items()}
    return new if old in (None, Value("null")) else old
