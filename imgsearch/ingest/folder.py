"""Walk a folder of pictures: yield undecoded `Picture`, and report everything that is left out as `Skip`."""

import hashlib
import json
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

from imgsearch.errors import InputError, PictureError
from imgsearch.files import LFS_POINTER, POINTER_START
from imgsearch.index.bundle import is_bundle
from imgsearch.ingest.metadata import CAPTION, METADATA, read_lines, read_metadata
from imgsearch.ingest.source import START, Position
from imgsearch.records import Picture, Skip
from imgsearch.text import without_surrogates

MAX_PICTURE_BYTES, MAX_CAPTION_BYTES = 256 * 2**20, 2**20  # of a file
SYSTEM_FOLDERS = (  # in lower case: of Synology and QNAP, Windows, Linux, macOS
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin", "recycler", "found.000"),
    *("system volume information", "lost+found", "__macosx", "network trash folder", "temporary items"),
)
SYSTEM_REASON = "a folder of the system, with thumbnails, deleted files or the like"
HUB_REASON = "of the hub's cache: its files are read by their names in snapshots"
OTHER_KINDS = {  # by the ending, or by the whole name of a file without one
    "a table, not a picture. Captions are read from metadata.csv and metadata.jsonl": "csv tsv json jsonl xls xlsx ods",
    "a text, not a picture": "txt md rst rtf htm html xml log pdf doc docx odt license licence readme copying notice",
    "a video or a sound, not a picture": "mov mp4 m4v avi mkv webm mpg mpeg mts 3gp wmv mp3 m4a wav aac flac ogg",
    "the notes of another program, not a picture": "xmp aae ini db yaml yml toml lock",
    "an archive, not a picture. Unpack it": "zip 7z rar gz tgz bz2 xz",
    "a dataset, not a picture. Build it by itself": "parquet arrow tar",
}
_KIND_OF = {ending: kind for kind, endings in OTHER_KINDS.items() for ending in endings.split()}


class Folder:
    """A folder of pictures, walked once with its subfolders, in the order of their paths.

    A `metadata.csv` or `metadata.jsonl` (columns `file_name`, `caption` and any others) describes the files beside and
    below it; the nearest one counts. A text beside a picture (a.txt of a.jpg) is its caption if it has no other. A file
    is a picture if it can be decoded, whatever its name. Hidden files, folders of systems, links that lead out of the
    folder and metadata without a file are listed in `skips`, so that nothing is lost unreported.
    """

    split = ""
    is_lazy = True  # reading opens no file: `Picture.read` does
    group_ends: Sequence[int] = ()
    files: Sequence["Folder"] = ()

    def __init__(
        self, path: Path, name: str = "", revision: str = "", licence: str = "", caption_column: str | None = None
    ) -> None:
        """Read the metadata. `name`, `revision` and `licence` describe a folder that was downloaded from the hub.

        `caption_column`: see `read_metadata`. Raise InputError if `path` is not a folder or metadata cannot be read.
        """
        if not path.is_dir():
            raise InputError("{path} is not a folder. Give a folder of pictures.", path=path)
        self._root = path.resolve()
        self.name, self.revision, self.licence = name or str(self._root), revision, licence
        if without_surrogates(str(self._root)) != str(self._root):
            raise InputError("The path of {folder!r} is not UTF-8. Rename the folder.", folder=path.name)
        self.options: Mapping[str, str] = {} if caption_column is None else {"caption_column": caption_column}
        parents = [self._root, *self._root.parents]  # the hub's cache has links from snapshots to blobs
        self._targets = [self._root, *(path.with_name("blobs") for path in parents if path.name == "snapshots")]
        self.skips: list[Skip] = []  # left out before any picture is read
        self._records: dict[str, str] = {}  # metadata by file id, as JSON: a dict would take several times the memory
        files = list(self._walk(""))
        metadata, texts = [name for name in files if posixpath.basename(name) in METADATA], _texts_beside(files)
        used = {*metadata, *texts.values()}
        self._ids = [file_id for file_id in files if file_id not in used]
        self.num_entries: int | None = len(self._ids)
        self.listing = hashlib.sha256("".join(f"{file_id}\n" for file_id in self._ids).encode()).hexdigest()
        for file_id in sorted(metadata, key=lambda file_id: -file_id.count("/")):
            self._read_metadata(file_id, caption_column)
        self._match(path)
        for file_id, text_id in texts.items() if caption_column != "" else ():
            self._read_text(file_id, text_id)

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        """Yield the files from `start` on as pictures that are not read yet."""
        return map(self._picture, self._ids[start.index :])

    def state(self) -> str:
        """Return "": the index of an entry is enough to go on."""
        return ""

    def _walk(self, folder: str) -> Iterator[str]:
        """Yield the id of each file below a folder; add what is left out to `skips`."""
        try:
            with os.scandir(self._root / folder) as found:
                entries = sorted(found, key=attrgetter("name"))
        except OSError as error:
            self._skip(folder.rstrip("/") or ".", f"cannot be read: {error.strerror}")
            return
        for entry in entries:
            if reason := self._reason_to_skip(entry):
                self._skip(folder + entry.name, reason)
            elif entry.is_dir():
                yield from self._walk(f"{folder}{entry.name}/")
            else:
                yield folder + entry.name

    def _skip(self, file_id: str, reason: str) -> None:
        name = file_id.encode(errors="backslashreplace").decode()
        self.skips.append(Skip(name, reason, reason in (SYSTEM_REASON, HUB_REASON)))

    def _reason_to_skip(self, entry: os.DirEntry[str]) -> str:
        """Return why an entry is left out before it is read; "" if it is not."""
        if entry.name.startswith("."):
            return "hidden"
        if without_surrogates(entry.name) != entry.name:
            return "its name is not UTF-8"
        try:
            if entry.is_symlink():
                target = Path(os.path.realpath(entry.path))  # `resolve` raises on link loops
                if not target.exists():
                    return "a link to nowhere"
                if target.is_dir() or not any(map(target.is_relative_to, self._targets)):
                    return "a link to a folder or out of the folder"
            if entry.is_dir():
                if entry.name.lower() in SYSTEM_FOLDERS:
                    return SYSTEM_REASON
                if entry.name == "blobs" and Path(entry.path).with_name("snapshots").is_dir():
                    return HUB_REASON
                return "a bundle" if is_bundle(Path(entry.path)) else ""
            return "" if entry.is_file() else "not a regular file"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _tell(self, file_id: str, line: int, reason: str, is_note: bool = False) -> None:
        self.skips.append(Skip(f"{file_id}, line {line}", reason, is_note))

    def _read_metadata(self, metadata_id: str, caption_column: str | None) -> None:
        tell = partial(self._tell, metadata_id)
        for line, name, texts in read_metadata(self._root / metadata_id, caption_column, tell):
            key = posixpath.normpath(posixpath.join(posixpath.dirname(metadata_id), name))
            if not name:
                tell(line, "no file_name")
            elif key in self._records:
                tell(line, f"a second row for {key}; the nearer or the first one counts")
            else:
                self._record(key, texts)

    def _record(self, key: str, texts: Mapping[str, str]) -> None:
        text = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
        self._records[key] = without_surrogates(text)

    def _match(self, path: Path) -> None:
        """Put the ids of their files in the place of paths as another system or program writes them."""
        missing = set(self._records).difference(self._ids)
        roots = [f"{folder.as_posix()}/" for folder in (self._root, path.absolute())]
        roots += [unicodedata.normalize("NFC", root) for root in roots]
        for is_composed in (False, True):
            tidy = partial(_tidy, roots=roots, is_composed=is_composed)
            by_path = {tidy(key): key for key in sorted(missing, reverse=True)}
            for file_id in self._ids if by_path else ():
                if file_id not in self._records and (key := by_path.pop(tidy(file_id), None)):
                    self._records[file_id] = self._records.pop(key)
                    missing.remove(key)
        for key in sorted(missing):
            del self._records[key]
            self.skips.append(Skip(key, "listed in the metadata, but there is no such file, or it has another row"))

    def _read_text(self, file_id: str, text_id: str) -> None:
        """Take the text beside a picture as its caption, unless it has one."""
        texts, path = json.loads(self._records.get(file_id, "{}")), self._root / text_id
        if texts.get(CAPTION):
            return
        try:
            if path.stat().st_size > MAX_CAPTION_BYTES:
                raise ValueError("it is too long")
            caption = "".join(read_lines(path, partial(self._tell, text_id))).strip()
            self._record(file_id, texts | {CAPTION: caption})
        except (OSError, ValueError) as error:
            self.skips.append(Skip(text_id, f"no caption of its picture: {error}"))

    def _picture(self, file_id: str) -> Picture | Skip:
        path = self._root / file_id
        try:
            status = path.stat()
        except OSError as error:
            return Skip(file_id, f"cannot be read: {error.strerror}")
        columns = json.loads(self._records.get(file_id, "{}"))
        stamp = f"{status.st_size}:{status.st_mtime_ns}"
        return Picture(file_id, partial(_read, path), columns.pop(CAPTION, ""), columns, stamp)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise PictureError("larger than {max_mb} MB", max_mb=MAX_PICTURE_BYTES // 2**20)
        data = path.read_bytes()
    except OSError as error:
        raise PictureError("cannot be read: {reason}", reason=error.strerror) from error
    if data.startswith(POINTER_START):
        raise PictureError(LFS_POINTER)
    return data


def other_kind(name: str) -> str:
    """Return what a file that is no picture is by its name; "" if the name does not say it."""
    return _KIND_OF.get(name.rpartition("/")[2].rpartition(".")[2].lower(), "")


def _texts_beside(files: Sequence[str]) -> dict[str, str]:
    """Return the text beside each picture that has one of the same name: a.txt of a.jpg."""

    def stem(file_id: str) -> tuple[str, str]:
        folder, name = posixpath.split(posixpath.splitext(file_id)[0])
        return folder, unicodedata.normalize("NFC", name)

    texts = {stem(file_id): file_id for file_id in files if file_id.lower().endswith(".txt")}
    pictures = (file_id for file_id in files if not other_kind(file_id)) if texts else ()
    return {file_id: texts[stem(file_id)] for file_id in pictures if stem(file_id) in texts}


def _tidy(path: str, roots: Sequence[str], is_composed: bool) -> str:
    r"""Return a path with "/" for "\\", without spaces around its parts, and relative to the folder that it names."""
    path = posixpath.normpath("/".join(part.strip() for part in path.replace("\\", "/").split("/")))
    path = unicodedata.normalize("NFC", path) if is_composed else path
    return path.removeprefix(next(filter(path.startswith, roots), ""))
