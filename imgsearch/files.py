"""Read, write and digest files. A file is written atomically, so that a reader never sees a part of it."""

import hashlib
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"


def write_atomic(file: Path, data: bytes) -> None:
    """Write or replace a file in one step: a reader sees the old or the new one. On OSError leave no partial file."""
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
        try:
            part.write(data)
            part.close()
            Path(part.name).replace(file)
        except OSError:
            Path(part.name).unlink(missing_ok=True)
            raise


def cache_path(folder: Path, name: str, *key_parts: str) -> Path:
    """Return the file of a cache, called `name` and a key, for what depends on every text in `key_parts`."""
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()
    stem, _, suffix = name.partition(".")
    return folder / f"{stem}-{key[:16]}.{suffix}"


def write_cache(file: Path, data: bytes) -> None:
    """Write a file of a cache atomically. Do nothing if its folder cannot be written to: it is only a cache."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and SHA-256 (hex) of a file."""

    num_bytes: int
    sha256: str


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file. Raise ValueError if it is not one or is larger, OSError if unreadable."""
    size = path.stat().st_size
    if not path.is_file() or size > max_bytes:
        raise ValueError(f"{path.name} is no file of at most {max_bytes:,} bytes")
    with path.open("rb") as file:
        return file.read(size)  # a file that the system generates (/proc) has size 0, and may never end


def read_table(name: str) -> list[list[str]]:
    """Return the rows of a table that comes with the package: cells between tabs, without the comments (#)."""
    lines = (DATA / name).read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def digest_file(path: Path) -> FileDigest:
    """Return the size and the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileDigest(path.stat().st_size, sha256)
