"""manifest.json: what a bundle holds and which encoder made it. Read and checked without importing a heavy library."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from imgsearch.environment import is_from_elsewhere
from imgsearch.errors import BundleError, Message
from imgsearch.files import FileDigest, digest_file, read_at_most
from imgsearch.models.clip import HF_HUB_PREFIX, LOCAL_DIR_PREFIX
from imgsearch.models.encoder import STARTER_IDS, Encoder
from imgsearch.models.registry import ModelRef, resolve

# Format 1 had no revision; 2 had no digests in file names and few facts about the source; 3 had columns as JSON.
FORMAT_VERSION = 4
FOREIGN = (LOCAL_DIR_PREFIX, HF_HUB_PREFIX)  # a stranger's bundle may choose no local folder and no free repository
FILE_NAME = "manifest.json"
MADE_BY = ("encoder", "revision", "precision", "preprocess", "vectors")  # must be equal for vectors to be comparable
MAX_DIGEST_BYTES = 256 * 2**20  # larger files are not hashed when a bundle is opened
MAX_MANIFEST_BYTES = 2**20
HF_PREFIX = "hf://"  # of a source that is not a path
LIBRARIES = ("torch", "open_clip_torch", "transformers", "timm", "faiss-cpu", "pyarrow", "pillow", "numpy", "datasets")
STRICT = ConfigDict(strict=True, extra="forbid")
T = TypeVar("T")
Text = Annotated[str, Field(max_length=4096)]  # the longest path on Linux (PATH_MAX)
Part = Annotated[str, Field(pattern=r"^([0-9]{1,9}/[0-9]{1,9})?$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$")]  # no folder: it lies in the bundle


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Provenance:
    """The origin of vectors: the encoder, the pictures, and how the vectors are stored."""

    encoder: Text  # model_id
    revision: Text = ""  # commit of the encoder's weights
    precision: Text = "float32"  # of the encoder's forward pass
    preprocess: Text = ""  # how a picture is prepared for the encoder
    vectors: Literal["float16", "float32"] = "float16"  # how they are stored
    thumbnails: bool = True  # True if the items have thumbnails
    source: Text = ""  # of the pictures: a path, in a manifest relative to the bundle, or hf://datasets/...
    source_revision: Text = ""  # commit of a dataset, or digest of its files
    split: Text = ""
    licence: Text = ""
    part: Part = ""  # "2/3" for a part of a divided build (--shard 2/3)
    division: Text = ""  # digest of what all parts of a divided build have in common

    def difference(self, other: "Provenance") -> str:
        """Return the first field that makes the vectors of both incomparable; "" if they can be compared."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in MADE_BY)
        # Format 2 did not store `preprocess`.
        return next((name for name, a, b in pairs if a != b and (name != "preprocess" or (a and b))), "")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Manifest(Provenance):
    """The contents of manifest.json: the provenance, and the files of a bundle with their digests."""

    dim: Annotated[int, Field(ge=1, le=2**16)]
    num_items: Annotated[int, Field(ge=0, lt=2**63)]
    created: Text  # ISO 8601, UTC
    files: Annotated[dict[FileName, FileDigest], Field(max_length=16)]  # all data files
    libraries: dict[Text, Text] = Field(default_factory=dict)  # versions of those used in the build
    format_version: Annotated[int, Field(ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION

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
        new = {"source": source, "created": created, "libraries": libraries, "format_version": FORMAT_VERSION}
        return cls(**vars(provenance) | new | {"dim": dim, "num_items": num_items, "files": {}})

    def at(self, bundle: Path) -> "Manifest":
        """Return the manifest with its source as an absolute path, if it is a path relative to `bundle`.

        A path in a bundle from elsewhere is of the machine that built it. Here it means something else: it is left out.
        """
        if is_from_elsewhere(bundle):
            return replace(self, source="")
        is_path = self.source and not self.source.startswith(HF_PREFIX)
        return replace(self, source=os.path.normpath(bundle.resolve() / self.source)) if is_path else self

    @classmethod
    def from_text(cls, text: str) -> "Manifest":
        """Parse what `to_text` wrote. Raise ValueError if any letter differs; BundleError if the format is newer."""
        values = OBJECT.validate_json(text)
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
        manifest = MANIFEST.validate_json(_render(values))
        if Path(manifest.source).is_absolute():
            raise ValueError("the source is not relative to the bundle")
        return manifest


OBJECT, MANIFEST = TypeAdapter(dict[str, Any]), TypeAdapter(Manifest)


def read_manifest(bundle: Path) -> Manifest:
    """Read the manifest of a bundle, and check that its files exist and have the right size.

    Raise BundleError if the bundle is missing, damaged, not readable for this user or of a newer format.
    """
    return open_bundle(bundle, lambda manifest: manifest)


def open_bundle(bundle: Path, read: Callable[[Manifest], T]) -> T:
    """Return `read(read_manifest(bundle))`. If the bundle is replaced during that, read the new one."""
    manifest = None
    try:
        if not (bundle / FILE_NAME).is_file():
            build = Message("Build one: python -m imgsearch build FOLDER --out {bundle}", bundle=bundle)
            raise BundleError("There is no bundle at {bundle}. {build}", bundle=bundle, build=build)
        manifest = parse_manifest(bundle)
        for name, digest in manifest.files.items():
            if not _is_own(bundle, name) or (bundle / name).stat().st_size != digest.num_bytes:
                raise _damaged(bundle, name)
        return read(manifest)
    except (BundleError, OSError, ValueError) as error:
        if manifest and named_files(bundle) != set(manifest.files):
            return open_bundle(bundle, read)
        if isinstance(error, BundleError):
            raise
        raise (_closed(bundle, error) if isinstance(error, PermissionError) else _damaged(bundle)) from error


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
        return set(parse_manifest(folder).files)
    except (BundleError, OSError, ValueError):
        return set()


def parse_manifest(bundle: Path) -> Manifest:
    """Read the manifest of a bundle, whose files may be missing. Raise OSError, and as `Manifest.from_text` does."""
    return Manifest.from_text(read_at_most(bundle / FILE_NAME, MAX_MANIFEST_BYTES).decode())


def _is_own(bundle: Path, name: str) -> bool:
    """Return True if the file lies in the bundle, or in the hub cache's folder of files that its bundles link to."""
    file, folder = (Path(os.path.realpath(path)) for path in (bundle / name, bundle))  # `resolve` raises on link loops
    blobs = {parent / "blobs" for parent in folder.parents}
    return file.is_file() and (file.parent == folder or not blobs.isdisjoint(file.parents))


def _damaged(bundle: Path, name: str = FILE_NAME) -> BundleError:
    template = "The bundle {bundle} is damaged: {name} is not as it was written. Build it again."
    return BundleError(template, bundle=bundle, name=name)


def _closed(bundle: Path, error: OSError) -> BundleError:
    template = "The bundle {bundle} cannot be read: {reason}. See who may read its files."
    return BundleError(template, bundle=bundle, reason=error.strerror)


def _render(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_render(values).encode()).hexdigest()


def provenance_of(encoder: Encoder, **fields: Any) -> Provenance:
    """Return the provenance of vectors of this encoder; `fields` sets the other fields of `Provenance`."""
    own = {name: getattr(encoder, name) for name in ("revision", "precision", "preprocess")}
    return Provenance(encoder=encoder.model_id, **own, **fields)


def encoder_of(manifest: Manifest, bundle: Path, spec: str) -> ModelRef:
    """Return the encoder to search a bundle with. Raise BundleError if `spec` is another than the bundle's own."""
    own = ModelRef(manifest.encoder, manifest.revision)
    if spec == "auto":
        if is_from_elsewhere(bundle) and own.model_id.startswith(FOREIGN):
            raise BundleError(
                "The bundle {bundle} wants the model {own}, which it may not choose by itself. Give --encoder "
                "{own} if you trust it.",
                bundle=bundle,
                own=own,
            )
        return own
    asked = resolve("encoder", spec)
    is_same = asked.model_id == own.model_id or {asked.model_id, own.model_id} <= set(STARTER_IDS)
    if not is_same or (asked.revision and asked.revision != own.revision):
        raise BundleError(
            "{bundle} was made by the encoder {own}, but {wanted} is asked for. Leave out --encoder, or make it again.",
            bundle=bundle,
            own=own,
            wanted=asked,
        )
    return own
