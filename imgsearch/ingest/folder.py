"""A folder of pictures, walked: a stream of undecoded `Picture`, and of `Skip` for all that is left out."""

import csv
import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imgsearch.errors import InputError, PictureError
from imgsearch.index.bundle import is_bundle
from imgsearch.records import Picture, Skip

METADATA = ("metadata.csv", "metadata.jsonl")
MAX_PICTURE_BYTES = 256 * 2**20


class Folder:
    """A folder of pictures, walked with its subfolders in the order of their paths.

    A `metadata.csv` or `metadata.jsonl` (columns `file_name`, `caption` and any others) describes the files beside and
    below it. Which file is a picture is decided by decoding it, not by its name. Hidden files, links that lead out
    of the folder and rows without a file stand in `skips`: nothing is lost unreported.
    """

    split = ""
    options: Mapping[str, str] = MappingProxyType({})
    is_lazy = True  # reading opens no file: `Picture.read` does

    def __init__(self, path: Path, name: str = "", revision: str = "", licence: str = "") -> None:
        """`name` says where it came from, if not from there, at which commit and under which licence.

        Raises InputError where `path` is not a folder or a metadata file cannot be read.
        """
        if not path.is_dir():
            raise InputError("{path} is not a folder. Give a folder of pictures.", path=path)
        self._root = path.resolve()
        self.name, self.revision, self.licence = name or str(self._root), revision, licence
        if not _is_utf8(str(self._root)):
            raise InputError("The path of {folder!r} is not UTF-8. Rename the folder.", folder=path.name)
        self.skips: list[Skip] = []  # what is left out before any file is read
        self._rows: dict[str, str] = {}  # the row of a file's id, as JSON: it takes little more than its text
        for file in self._walk(self._root, self.skips):
            if file.name in METADATA:
                self._read_metadata(file)
        described: set[str] = set()
        self.num_entries, listing = 0, hashlib.sha256()
        for id in map(self._id, self._files()):
            self.num_entries += 1
            listing.update(f"{id}\n".encode())
            if id in self._rows:
                described.add(id)
        self.listing = listing.hexdigest()
        unmatched = sorted(self._rows.keys() - described)
        self.skips += [Skip(id, "listed in the metadata, but there is no such file") for id in unmatched]

    def read(self, start: int = 0, state: str = "") -> Iterator[Picture | Skip]:
        """The files from number `start` on, as pictures that are not read yet. `state` tells nothing here."""
        return map(self._picture, islice(self._files(), start, None))

    def state(self) -> str:
        """Nothing: the number of entries read is enough to go on."""
        return ""

    def _files(self) -> Iterator[Path]:
        return (file for file in self._walk(self._root, []) if file.name not in METADATA)

    def _id(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _walk(self, folder: Path, skips: list[Skip]) -> Iterator[Path]:
        """The files below a folder; what is left out is added to `skips`."""

        def skip(path: Path, reason: str) -> None:
            skips.append(Skip(self._id(path).encode(errors="backslashreplace").decode(), reason))

        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            return skip(folder, f"cannot be read: {error.strerror}")
        for path in paths:
            if reason := self._reason_to_skip(path):
                skip(path, reason)
            elif path.is_dir():
                yield from self._walk(path, skips)
            else:
                yield path

    def _reason_to_skip(self, path: Path) -> str:
        """Why a path is left out before it is read; "" for no reason."""
        if path.name.startswith("."):
            return "hidden"
        if not _is_utf8(path.name):
            return "its name is not UTF-8"
        try:
            return self._kind_to_skip(path)
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _kind_to_skip(self, path: Path) -> str:
        if path.is_symlink():
            try:
                target = path.resolve(strict=True)
            except (OSError, RuntimeError):
                return "a link to nowhere"
            if target.is_dir() or not target.is_relative_to(self._root):
                return "a link to a folder or out of the folder"
        if path.is_dir():
            return "a bundle" if is_bundle(path) else ""
        return "" if path.is_file() else "not a regular file"

    def _read_metadata(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = _csv_rows(file, path) if path.suffix == ".csv" else _json_rows(file)
                for number, row, is_cut in rows:
                    self._add_row(path, f"{self._id(path)}, row {number}", row, is_cut)
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise InputError(
                "{path} cannot be read: {error}. Save it again, in UTF-8.", path=path, error=error
            ) from error

    def _add_row(self, metadata: Path, where: str, row: dict[str, str], is_cut: bool) -> None:
        name = row.pop("file_name", "")
        id = posixpath.normpath(posixpath.join(metadata.parent.relative_to(self._root).as_posix(), name))
        if is_cut:
            self.skips.append(Skip(where, "more cells than the header; the rest of it is left out"))
        if not name:
            self.skips.append(Skip(where, "no file_name"))
        elif id in self._rows:
            self.skips.append(Skip(where, f"a second row for {id}; the first one counts"))
        else:
            self._rows[id] = json.dumps({column: text for column, text in row.items() if column}, ensure_ascii=False)

    def _picture(self, path: Path) -> Picture | Skip:
        id = self._id(path)
        try:
            facts = path.stat()
        except OSError as error:
            return Skip(id, f"cannot be read: {error.strerror}")
        columns = json.loads(self._rows.get(id, "{}"))
        stamp = f"{facts.st_size}:{facts.st_mtime_ns}"
        return Picture(id, partial(_read, path), columns.pop("caption", ""), columns, stamp)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise PictureError("larger than {max_mb} MB", max_mb=MAX_PICTURE_BYTES // 2**20)
        return path.read_bytes()
    except OSError as error:
        raise PictureError("cannot be read: {reason}", reason=error.strerror) from error


def _csv_rows(file: Any, path: Path) -> Iterator[tuple[int, dict[str, str], bool]]:
    """Number, cells by column, and whether there are more cells than columns."""
    rows = csv.reader(file)
    names = [name.strip() for name in next(rows, [])]
    if "file_name" not in names:
        raise InputError("{path} has no column file_name. Add one with the pictures' paths beside it.", path=path)
    if len(set(names)) < len(names):
        raise InputError("{path} has two columns of the same name. Rename one.", path=path)
    for number, cells in enumerate(rows, start=2):
        if cells:
            yield number, dict(zip(names, cells, strict=False)), len(cells) > len(names)


def _json_rows(file: Any) -> Iterator[tuple[int, dict[str, str], bool]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            texts = {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
            # Lone surrogates, which JSON can spell, are no text that could be stored.
            yield number, {name: text.encode(errors="replace").decode() for name, text in texts.items()}, False


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)  # how Python spells other bytes
