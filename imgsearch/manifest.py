"""The identity card of a bundle: manifest.json, read and verified without any heavy library."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgsearch.errors import BundleError

FORMAT_VERSION = 2  # 1 had no revision
FILE_NAME = "manifest.json"
MAX_DIGEST_BYTES = 256 * 2**20  # larger files are not hashed when a bundle is opened


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and SHA-256 (hex) of a file."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds and which encoder made it."""

    encoder: str  # model_id
    precision: str  # of the encoder's forward pass
    dim: int
    num_items: int
    source: str  # the folder the pictures came from, relative to the bundle
    created: str  # ISO 8601, UTC
    files: Mapping[str, FileDigest]  # every other file of the bundle
    revision: str = ""  # the commit of the encoder's weights
    format_version: int = FORMAT_VERSION

    def to_text(self) -> str:
        """The text of manifest.json: the fields, then the digest of all that stands before it."""
        fields = asdict(self)
        return _render(fields | {"digest": _digest(fields)})

    @classmethod
    def from_text(cls, text: str) -> "Manifest":
        """Raises ValueError where `text` is not what `to_text` wrote, to the letter; BundleError for a newer format."""
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError("not a manifest")
        version = fields.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise BundleError(
                f"it has format {version}, this imgsearch reads up to {FORMAT_VERSION}. Update imgsearch."
            )
        digest = fields.pop("digest", None)
        if digest != _digest(fields) or text != _render(fields | {"digest": digest}):
            raise ValueError("the digest does not match")
        try:
            files = {name: FileDigest(**entry) for name, entry in fields.pop("files").items()}
            return cls(**fields, files=files)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the fields are not those of a manifest") from error


def read_manifest(bundle: Path) -> Manifest:
    """Read a bundle's manifest and check its files' sizes, and digests up to MAX_DIGEST_BYTES.

    Raises BundleError where the bundle is missing, damaged or of a newer format.
    """
    if not (bundle / FILE_NAME).is_file():
        raise BundleError(f"There is no bundle at {bundle}. Build one: python -m imgsearch build FOLDER --out {bundle}")
    try:
        manifest = _parse(bundle)
    except BundleError as error:
        raise BundleError(f"The bundle {bundle} cannot be opened: {error}") from None
    except (OSError, ValueError) as error:
        raise _damaged(bundle, FILE_NAME) from error
    for name, digest in manifest.files.items():
        path = bundle / name
        if Path(name).name != name or not path.is_file() or path.stat().st_size != digest.num_bytes:
            raise _damaged(bundle, name)
        if digest.num_bytes <= MAX_DIGEST_BYTES and digest_file(path) != digest:
            raise _damaged(bundle, name)
    return manifest


def is_bundle(folder: Path) -> bool:
    """Whether `folder` holds the files of a bundle and nothing else; they may be damaged, the manifest may not."""
    try:
        return {path.name for path in folder.iterdir()} <= {FILE_NAME, *_parse(folder).files}
    except (BundleError, OSError, ValueError):
        return False


def digest_file(path: Path) -> FileDigest:
    """Size and SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileDigest(path.stat().st_size, sha256)


def _parse(bundle: Path) -> Manifest:
    return Manifest.from_text((bundle / FILE_NAME).read_bytes().decode())


def _damaged(bundle: Path, name: str) -> BundleError:
    return BundleError(f"The bundle {bundle} is damaged: {name} is not as it was written. Build it again.")


def _render(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(_render(fields).encode()).hexdigest()
