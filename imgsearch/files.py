"""Files that are whole or not there."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path


def write_atomic(file: Path, data: bytes) -> None:
    """Write a file, or replace it, at once for all who read it in this moment. Raises OSError, and leaves nothing."""
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
        try:
            part.write(data)
            part.close()
            Path(part.name).replace(file)
        except OSError:
            Path(part.name).unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and SHA-256 (hex) of a file."""

    num_bytes: int
    sha256: str


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file. Raises OSError; ValueError where it is none, or larger."""
    size = path.stat().st_size
    if not path.is_file() or size > max_bytes:
        raise ValueError(f"{path.name} is no file of at most {max_bytes:,} bytes")
    with path.open("rb") as file:
        return file.read(size)  # what the system makes while it is read has no size, and may have no end


def digest_file(path: Path) -> FileDigest:
    """Size and SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileDigest(path.stat().st_size, sha256)
