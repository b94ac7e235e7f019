"""Where pictures come from: a stream of undecoded `Picture`, and of `Skip` for all that is left out."""

import csv
import posixpath
from collections.abc import Iterator
from pathlib import Path

from imgsearch.errors import InputError
from imgsearch.manifest import is_bundle
from imgsearch.records import Picture, Skip

METADATA = "metadata.csv"
MAX_PICTURE_BYTES = 256 * 2**20
Row = dict[str, str]


class Folder:
    """A folder of pictures, walked with its subfolders in the order of their paths.

    A `metadata.csv` (columns `file_name`, `caption` and any others) describes the files beside and below it.
    Which file is a picture is decided by decoding it, not by its name. Hidden files, links that lead out
    of the folder and rows without a file stand in `skips`: nothing is lost unreported.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputError where `path` is not a folder or a metadata.csv cannot be read."""
        if not path.is_dir():
            raise InputError(f"{path} is not a folder. Give a folder of pictures.")
        if not _is_utf8(str(path.resolve())):
            raise InputError(f"The path of {path.name!r} is not UTF-8. Rename the folder.")
        self.path = path
        self.skips: list[Skip] = []  # what is left out before any file is read
        self._root = path.resolve()
        self._files: list[Path] = []
        self._rows: dict[str, Row] = {}
        self._walk(path)
        unmatched = self._rows.keys() - {self._id(file) for file in self._files}
        self.skips += [Skip(id, f"listed in {METADATA}, but there is no such file") for id in sorted(unmatched)]

    def __len__(self) -> int:
        """Number of files to read; some may turn out not to be pictures."""
        return len(self._files)

    def __iter__(self) -> Iterator[Picture | Skip]:
        """Each file as a `Picture`, or as a `Skip` where it cannot be read."""
        return map(self._read, self._files)

    def _id(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _walk(self, folder: Path) -> None:
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            self._skip(folder, f"cannot be read: {error.strerror}")
            return
        for path in paths:
            if reason := self._reason_to_skip(path):
                self._skip(path, reason)
            elif path.is_dir():
                self._walk(path)
            elif path.name == METADATA:
                self._read_metadata(path)
            else:
                self._files.append(path)

    def _reason_to_skip(self, path: Path) -> str:
        """Why a path is left out before it is read; "" for no reason."""
        if path.name.startswith("."):
            return "hidden"
        if not _is_utf8(path.name):
            return "its name is not UTF-8"
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

    def _skip(self, path: Path, reason: str) -> None:
        self.skips.append(Skip(self._id(path).encode(errors="backslashreplace").decode(), reason))

    def _read_metadata(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                header, *rows = list(csv.reader(file)) or [[]]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} cannot be read: {error}. Save it as CSV in UTF-8.") from error
        names = [name.strip() for name in header]
        if "file_name" not in names:
            raise InputError(f"{path} has no column file_name. Add one with the pictures' paths beside it.")
        if len(set(names)) < len(names):
            raise InputError(f"{path} has two columns of the same name. Rename one.")
        for number, cells in enumerate(rows, start=2):
            if cells:
                self._add_row(path, number, dict(zip(names, cells, strict=False)), len(cells) > len(names))

    def _add_row(self, metadata: Path, number: int, row: Row, is_cut: bool) -> None:
        where = f"{self._id(metadata)}, row {number}"
        name = row.pop("file_name", "")
        id = posixpath.normpath(posixpath.join(metadata.parent.relative_to(self.path).as_posix(), name))
        if is_cut:
            self.skips.append(Skip(where, "more cells than the header; the rest of it is left out"))
        if not name:
            self.skips.append(Skip(where, "no file_name"))
        elif id in self._rows:
            self.skips.append(Skip(where, f"a second row for {id}; the first one counts"))
        else:
            self._rows[id] = {column: text for column, text in row.items() if column}

    def _read(self, file: Path) -> Picture | Skip:
        id = self._id(file)
        try:
            if file.stat().st_size > MAX_PICTURE_BYTES:
                return Skip(id, f"larger than {MAX_PICTURE_BYTES // 2**20} MB")
            data = file.read_bytes()
        except OSError as error:
            return Skip(id, f"cannot be read: {error.strerror}")
        columns = dict(self._rows.get(id, {}))
        return Picture(id, data, columns.pop("caption", ""), columns)


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)  # how Python spells other bytes
