"""Walk a folder of pictures: yield undecoded `Picture`, and report everything that is left out as `Skip`."""

import csv
import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from imgsearch.errors import InputError, PictureError
from imgsearch.index.bundle import is_bundle
from imgsearch.ingest.source import START, Position
from imgsearch.records import Picture, Skip
from imgsearch.text import without_surrogates

METADATA = ("metadata.csv", "metadata.jsonl")
EXCESS = "\0"  # stands for the name of cells beyond the header
MAX_PICTURE_BYTES = 256 * 2**20


class Folder:
    """A folder of pictures, walked with its subfolders in the order of their paths.

    A `metadata.csv` or `metadata.jsonl` (columns `file_name`, `caption` and any others) describes the files beside and
    below it. A file is a picture if it can be decoded, whatever its name. Hidden files, links that lead out of the
    folder and metadata without a file are listed in `skips`, so that nothing is lost unreported.
    """

    split = ""
    options: Mapping[str, str] = MappingProxyType({})
    is_lazy = True  # reading opens no file: `Picture.read` does

    def __init__(self, path: Path, name: str = "", revision: str = "", licence: str = "") -> None:
        """Read the metadata. `name`, `revision` and `licence` describe a folder that was downloaded from the hub.

        Raise InputError if `path` is not a folder or a metadata file cannot be read.
        """
        if not path.is_dir():
            raise InputError("{path} is not a folder. Give a folder of pictures.", path=path)
        self._root = path.resolve()
        self.name, self.revision, self.licence = name or str(self._root), revision, licence
        if without_surrogates(str(self._root)) != str(self._root):
            raise InputError("The path of {folder!r} is not UTF-8. Rename the folder.", folder=path.name)
        self.skips: list[Skip] = []  # left out before any picture is read
        self._records: dict[str, str] = {}  # metadata by file id, as JSON: a dict would take several times the memory
        for file in self._walk(self._root, self.skips):
            if file.name in METADATA:
                self._read_metadata(file)
        described: set[str] = set()
        listing = hashlib.sha256()
        self.num_entries: int | None = 0
        for file_id in map(self._id, self._files()):
            self.num_entries += 1
            listing.update(f"{file_id}\n".encode())
            if file_id in self._records:
                described.add(file_id)
        self.listing = listing.hexdigest()
        unmatched = sorted(self._records.keys() - described)
        self.skips += [Skip(file_id, "listed in the metadata, but there is no such file") for file_id in unmatched]

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        """Yield the files from `start` on as pictures that are not read yet."""
        return map(self._picture, islice(self._files(), start.index, None))

    def state(self) -> str:
        """Return "": the index of an entry is enough to go on."""
        return ""

    def _files(self) -> Iterator[Path]:
        return (file for file in self._walk(self._root, []) if file.name not in METADATA)

    def _id(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _walk(self, folder: Path, skips: list[Skip]) -> Iterator[Path]:
        """Yield the files below a folder, and add what is left out to `skips`."""

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
        """Return why a path is left out before it is read; "" if it is not."""
        if path.name.startswith("."):
            return "hidden"
        if without_surrogates(path.name) != path.name:
            return "its name is not UTF-8"
        try:
            if path.is_symlink():
                target = Path(os.path.realpath(path))  # `resolve` raises on link loops
                if not target.exists():
                    return "a link to nowhere"
                if target.is_dir() or not target.is_relative_to(self._root):
                    return "a link to a folder or out of the folder"
            if path.is_dir():
                return "a bundle" if is_bundle(path) else ""
            return "" if path.is_file() else "not a regular file"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _read_metadata(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for number, record in _read_csv(file, path) if path.suffix == ".csv" else _read_json_lines(file):
                    self._add_record(path, f"{self._id(path)}, line {number}", record)
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise InputError(
                "{path} cannot be read: {error}. Save it again, in UTF-8.", path=path, error=error
            ) from error

    def _add_record(self, metadata: Path, where: str, record: dict[str, str]) -> None:
        name = record.pop("file_name", "")
        key = posixpath.normpath(posixpath.join(metadata.parent.relative_to(self._root).as_posix(), name))
        if record.pop(EXCESS, ""):
            self.skips.append(Skip(where, "more cells than the header; the rest of it is left out"))
        if not name:
            self.skips.append(Skip(where, "no file_name"))
        elif key in self._records:
            self.skips.append(Skip(where, f"a second row for {key}; the first one counts"))
        else:
            self._records[key] = json.dumps({name: text for name, text in record.items() if name}, ensure_ascii=False)

    def _picture(self, path: Path) -> Picture | Skip:
        file_id = self._id(path)
        try:
            status = path.stat()
        except OSError as error:
            return Skip(file_id, f"cannot be read: {error.strerror}")
        columns = json.loads(self._records.get(file_id, "{}"))
        stamp = f"{status.st_size}:{status.st_mtime_ns}"
        return Picture(file_id, partial(_read, path), columns.pop("caption", ""), columns, stamp)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise PictureError("larger than {max_mb} MB", max_mb=MAX_PICTURE_BYTES // 2**20)
        return path.read_bytes()
    except OSError as error:
        raise PictureError("cannot be read: {reason}", reason=error.strerror) from error


def _read_csv(file: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number of each record, and its cells by column; cells beyond the header are its EXCESS."""
    reader = csv.DictReader(file, restkey=EXCESS)
    names = [name.strip() for name in reader.fieldnames or ()]
    if "file_name" not in names:
        raise InputError("{path} has no column file_name. Add one with the pictures' paths beside it.", path=path)
    if len(set(names)) < len(names):
        raise InputError("{path} has two columns of the same name. Rename one.", path=path)
    reader.fieldnames = names
    for record in reader:
        yield reader.line_num, {name: cell for name, cell in record.items() if cell is not None}


def _read_json_lines(file: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"line {number} is not a JSON object")
            texts = {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in record.items()}
            yield number, {name: without_surrogates(text) for name, text in texts.items()}
