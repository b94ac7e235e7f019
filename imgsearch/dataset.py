"""Where pictures come from: a stream of undecoded `Picture`, and of `Skip` for all that is left out."""

import csv
from collections.abc import Iterator
from pathlib import Path

from imgsearch.errors import InputError
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
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                self.skips.append(Skip(self._id(path), "hidden"))
            elif path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(self._root)):
                self.skips.append(Skip(self._id(path), "a link to a folder or out of the folder"))
            elif path.is_dir():
                self._walk(path)
            elif path.name == METADATA:
                self._read_metadata(path)
            elif path.is_file():
                self._files.append(path)
            else:
                self.skips.append(Skip(self._id(path), "not a regular file"))

    def _read_metadata(self, path: Path) -> None:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restkey="", restval="")
                names, rows = reader.fieldnames or (), list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} cannot be read: {error}. Save it as CSV in UTF-8.") from error
        if "file_name" not in names:
            raise InputError(f"{path} has no column file_name. Add one with the pictures' paths beside it.")
        for row in rows:
            id = (path.parent.relative_to(self.path) / row.pop("file_name")).as_posix()
            if id in self._rows:
                self.skips.append(Skip(id, f"a second row in {METADATA}; the first one counts"))
                continue
            self._rows[id] = {name: text for name, text in row.items() if name and isinstance(text, str)}

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
