"""manifest.json: what a bundle holds and which encoder made it. Read and checked without importing a heavy library."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from imgsearch.errors import BundleError, Message
from imgsearch.files import FileDigest, digest_file, read_at_most
from imgsearch.models.encoder import Encoder

# Format 1 had no revision; 2 had no digests in file names and few facts about the source; 3 had columns as JSON.
FORMAT_VERSION = 4
FILE_NAME = "manifest.json"
MADE_BY = ("encoder", "revision", "precision", "preprocess", "vectors")  # must be equal for vectors to be comparable
MAX_TEXT = 4096  # characters of a field: the longest path on Linux (PATH_MAX)
MAX_DIGEST_BYTES = 256 * 2**20  # larger files are not hashed when a bundle is opened
MAX_MANIFEST_BYTES = 2**20
MAX_FILES, MAX_DIM = 16, 2**16
VECTOR_DTYPES = ("float16", "float32")  # how vectors can be stored
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")  # of a file, without a folder: it lies in the bundle itself
SHA256 = re.compile(r"[0-9a-f]{64}")
PART = re.compile(r"([0-9]{1,9}/[0-9]{1,9})?")
HF_PREFIX = "hf://"  # of a source that is not a path
LIBRARIES = ("torch", "open_clip_torch", "transformers", "timm", "faiss-cpu", "pyarrow", "pillow", "numpy", "datasets")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of vectors: the encoder, the pictures, and how the vectors are stored."""

    encoder: str  # model_id
    revision: str = ""  # commit of the encoder's weights
    precision: str = "float32"  # of the encoder's forward pass
    preprocess: str = ""  # how a picture is prepared for the encoder
    vectors: str = "float16"  # storage type: "float16" or "float32"
    thumbnails: bool = True  # True if the items have thumbnails
    source: str = ""  # of the pictures: a path, in a manifest relative to the bundle, or hf://datasets/...
    source_revision: str = ""  # commit of a dataset, or digest of its files
    split: str = ""
    licence: str = ""
    part: str = ""  # "2/3" for a part of a divided build (--shard 2/3)
    division: str = ""  # digest of what all parts of a divided build have in common

    def provenance_fields(self) -> dict[str, Any]:
        """Return the fields of `Provenance` alone, without those of a subclass."""
        return {entry.name: getattr(self, entry.name) for entry in fields(Provenance)}

    def difference(self, other: "Provenance") -> str:
        """Return the first field that makes the vectors of both incomparable; "" if they can be compared."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in MADE_BY)
        # Format 2 did not store `preprocess`.
        return next((name for name, a, b in pairs if a != b and (name != "preprocess" or (a and b))), "")


@dataclass(frozen=True, kw_only=True)
class Manifest(Provenance):
    """The contents of manifest.json: the provenance, and the files of a bundle with their digests."""

    dim: int
    num_items: int
    created: str  # ISO 8601, UTC
    files: Mapping[str, FileDigest]  # all data files, by name
    libraries: Mapping[str, str] = field(default_factory=dict)  # versions of those used in the build
    format_version: int = FORMAT_VERSION

    def file(self, suffix: str) -> str:
        """Return the name of the file with that suffix. Raise ValueError if there is not exactly one."""
        names = [name for name in self.files if name.endswith(suffix)]
        if len(names) != 1:
            raise ValueError(f"{len(names)} files {suffix}")
        return names[0]

    def to_text(self) -> str:
        """Return the text of manifest.json: the fields, then a digest of them."""
        values = asdict(self)
        return _render(values | {"digest": _digest(values)})

    @classmethod
    def of(cls, provenance: Provenance, bundle: Path, dim: int, num_items: int) -> "Manifest":
        """Return a new manifest for a bundle that is written now; its files are added later."""
        is_path = provenance.source and not provenance.source.startswith(HF_PREFIX)
        source = Path(os.path.relpath(provenance.source, bundle.resolve())).as_posix() if is_path else provenance.source
        created = datetime.now(UTC).isoformat(timespec="seconds")
        libraries = {name: version(name) for name in LIBRARIES}
        values = {"source": source, "created": created, "libraries": libraries}
        return cls(**provenance.provenance_fields() | values, dim=dim, num_items=num_items, files={})

    def at(self, bundle: Path) -> "Manifest":
        """Return the manifest with its source as an absolute path, if it is a path relative to `bundle`."""
        is_path = self.source and not self.source.startswith(HF_PREFIX)
        return replace(self, source=os.path.normpath(bundle.resolve() / self.source)) if is_path else self

    @classmethod
    def from_text(cls, text: str) -> "Manifest":
        """Parse what `to_text` wrote. Raise ValueError if any letter differs; BundleError if the format is newer."""
        try:
            return cls._from_text(text)
        except RecursionError as error:
            raise ValueError("it is too deep") from error

    @classmethod
    def _from_text(cls, text: str) -> "Manifest":
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("not a manifest")
        number = values.get("format_version")
        if isinstance(number, int) and FORMAT_VERSION < number < 10**9:
            raise BundleError(
                "The bundle has format {number}, this imgsearch reads up to {newest}. Update imgsearch.",
                number=number,
                newest=FORMAT_VERSION,
            )
        digest = values.pop("digest", None)
        if digest != _digest(values) or text != _render(values | {"digest": digest}):
            raise ValueError("the digest does not match")
        try:
            files = {name: FileDigest(**entry) for name, entry in values.pop("files").items()}
            manifest = cls(**values, files=files)
            is_sound = manifest._is_sound()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("the fields are not those of a manifest") from error
        if not is_sound:
            raise ValueError("a field of the manifest is of another kind")
        return manifest

    def _is_sound(self) -> bool:
        """Return True if every field has a valid value. Raise TypeError or AttributeError if a type is wrong."""
        texts = [value for name, value in self.provenance_fields().items() if name != "thumbnails"]
        texts += [self.created, *self.libraries, *self.libraries.values()]
        numbers = [self.dim, self.num_items, self.format_version, *(digest.num_bytes for digest in self.files.values())]
        return (
            all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts)
            and all(type(number) is int and 0 <= number < 2**63 for number in numbers)  # True is an int, too
            and isinstance(self.thumbnails, bool)
            and self.vectors in VECTOR_DTYPES
            and 1 <= self.dim <= MAX_DIM
            and 1 <= self.format_version <= FORMAT_VERSION
            and PART.fullmatch(self.part) is not None
            and not Path(self.source).is_absolute()
            and len(self.files) <= MAX_FILES
            and all(NAME.fullmatch(name) and SHA256.fullmatch(digest.sha256) for name, digest in self.files.items())
        )


def read_manifest(bundle: Path) -> Manifest:
    """Read the manifest of a bundle, and check that its files exist and have the right size.

    Raise BundleError if the bundle is missing, damaged, not readable for this user or of a newer format.
    """
    return retry_if_replaced(bundle, _read)


def retry_if_replaced(bundle: Path, read: Callable[[Path], T]) -> T:
    """Return `read(bundle)`. If it fails because the bundle was replaced during the call, read the new bundle."""
    names = named_files(bundle)
    try:
        return read(bundle)
    except BundleError:
        if named_files(bundle) != names:
            return retry_if_replaced(bundle, read)
        raise


def _read(bundle: Path) -> Manifest:
    try:
        if not (bundle / FILE_NAME).is_file():
            build = Message("Build one: python -m imgsearch build FOLDER --out {bundle}", bundle=bundle)
            raise BundleError("There is no bundle at {bundle}. {build}", bundle=bundle, build=build)
        manifest = _parse(bundle)
        for name, digest in manifest.files.items():
            if not _is_own(bundle, name) or (bundle / name).stat().st_size != digest.num_bytes:
                raise _damaged(bundle, name)
    except PermissionError as error:
        raise _closed(bundle, error) from error
    except (OSError, ValueError) as error:
        raise _damaged(bundle, FILE_NAME) from error
    return manifest


def check_digests(bundle: Path, manifest: Manifest, max_bytes: float = MAX_DIGEST_BYTES) -> None:
    """Raise BundleError if a file of at most `max_bytes` has changed since it was written."""
    for name, digest in manifest.files.items():
        try:
            is_whole = digest.num_bytes > max_bytes or digest_file(bundle / name) == digest
        except OSError as error:
            raise _closed(bundle, error) from error
        if not is_whole:
            raise _damaged(bundle, name)


def named_files(folder: Path) -> set[str]:
    """Return the names of the files in a folder's manifest; none if it has no valid manifest."""
    try:
        return set(_parse(folder).files)
    except (BundleError, OSError, ValueError):
        return set()


def _parse(bundle: Path) -> Manifest:
    return Manifest.from_text(read_at_most(bundle / FILE_NAME, MAX_MANIFEST_BYTES).decode())


def _is_own(bundle: Path, name: str) -> bool:
    """Return True if the file lies in the bundle, or in the hub cache's folder of files that its bundles link to."""
    file, folder = (Path(os.path.realpath(path)) for path in (bundle / name, bundle))  # `resolve` raises on link loops
    return file.is_file() and file.parent in (folder, *(parent / "blobs" for parent in folder.parents))


def _damaged(bundle: Path, name: str) -> BundleError:
    return BundleError(
        "The bundle {bundle} is damaged: {name} is not as it was written. Build it again.", bundle=bundle, name=name
    )


def _closed(bundle: Path, error: OSError) -> BundleError:
    return BundleError(
        "The bundle {bundle} cannot be read: {reason}. See who may read its files.",
        bundle=bundle,
        reason=error.strerror,
    )


def _render(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_render(values).encode()).hexdigest()


def provenance_of(encoder: Encoder, **fields: Any) -> Provenance:
    """Return the provenance of vectors of this encoder; `fields` sets the other fields of `Provenance`."""
    return Provenance(
        encoder=encoder.model_id,
        revision=encoder.revision,
        precision=encoder.precision,
        preprocess=encoder.preprocess,
        **fields,
    )
