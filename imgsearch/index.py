"""`Index`: exact inner-product search over unit vectors, and the items they belong to. Saved as a bundle."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.errors import BundleError, InputError
from imgsearch.manifest import FILE_NAME, Manifest, digest_file, is_bundle, read_manifest
from imgsearch.records import Hit, Item
from imgsearch.vectors import Embeddings, check_unit

VECTORS = "vectors.faiss"
ITEMS = "items.arrow"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("columns", pa.string()),  # a JSON object of texts
        ("sha256", pa.string()),
        ("thumbnail", pa.binary()),
    ]
)


class Index:
    """Immutable: row i of the vectors is item i.

    Vectors are kept in half precision (FAISS ScalarQuantizer QT_fp16): exact search, scores within 1e-3.
    """

    def __init__(
        self,
        vectors: faiss.Index,
        table: pa.Table,
        *,
        encoder: str,
        source: Path,
        revision: str = "",
        precision: str = "float32",
    ) -> None:
        if vectors.ntotal != table.num_rows:
            raise ValueError(f"{vectors.ntotal} vectors, but {table.num_rows} items")
        self._vectors = vectors
        self._table = table
        self.encoder = encoder  # model_id of the encoder that made the vectors
        self.revision = revision  # the commit of its weights
        self.precision = precision  # of its forward pass
        self.source = source  # the folder the pictures came from

    @classmethod
    def from_rows(
        cls,
        rows: Embeddings,
        items: Sequence[Item],
        *,
        encoder: str,
        source: Path,
        revision: str = "",
        precision: str = "float32",
    ) -> "Index":
        """An index of `rows`, float32 (n, dim) of unit length, where rows[i] belongs to items[i]."""
        vectors = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        vectors.add(check_unit(rows, rows.shape[1]))
        columns = [
            [item.id for item in items],
            [item.caption for item in items],
            [json.dumps(dict(item.columns), ensure_ascii=False) for item in items],
            [item.sha256 for item in items],
            [item.thumbnail for item in items],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        return cls(vectors, table, encoder=encoder, source=source, revision=revision, precision=precision)

    def __len__(self) -> int:
        return int(self._vectors.ntotal)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._vectors.d)

    @property
    def rows(self) -> Embeddings:
        """All embeddings as stored, float32 (len, dim); unit rows to 1e-3."""
        return np.asarray(self._vectors.reconstruct_n(0, len(self)), dtype=np.float32)

    def item(self, row: int) -> Item:
        """The item at a row (0 <= row < len)."""
        fields = self._table.slice(row, 1).to_pylist()[0]
        return Item(**fields | {"columns": json.loads(fields["columns"])})

    def find(self, id: str) -> Item:
        """The item of that id. Raises InputError where there is none."""
        row = pc.index(self._table["id"], id).as_py()
        if row < 0:
            raise InputError(f"The collection has no picture {id!r}.")
        return self.item(row)

    def original(self, item: Item) -> bytes | None:
        """The bytes of an item's picture, as they were indexed; None where the file is gone or changed."""
        try:
            data = (self.source / item.id).read_bytes()
        except OSError:
            return None
        # The digest holds a bundle to the pictures it was built from: it cannot name another file.
        return data if hashlib.sha256(data).hexdigest() == item.sha256 else None

    def search(self, query: Embeddings, k: int) -> list[Hit]:
        """The k items of largest inner product with `query`, float32 (1, dim) of unit length, best first.

        Fewer where the index holds fewer. Score = inner product. Raises ValueError where k < 1 or the
        dimensions differ.
        """
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        scores, rows = self._vectors.search(check_unit(query, self.dim), min(k, len(self)))
        found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(rank, self.item(row), score) for rank, (row, score) in enumerate(found, start=1)]

    def save(self, bundle: Path) -> None:
        """Write the bundle: into a temporary sibling first, which then takes its place.

        An older bundle there is replaced; anything else is left alone. Raises InputError where it cannot be written.
        """
        check_target(bundle)
        target = bundle.resolve()
        sibling = target.with_name(f".{target.name}.{os.getpid()}.new")
        shutil.rmtree(sibling, ignore_errors=True)
        try:
            sibling.mkdir()
            self._write(sibling, target)
            _replace(sibling, target)
        except (OSError, RuntimeError) as error:  # FAISS raises the latter
            raise _cannot_write(bundle, error) from error
        finally:
            shutil.rmtree(sibling, ignore_errors=True)

    def _write(self, folder: Path, bundle: Path) -> None:
        faiss.write_index(self._vectors, str(folder / VECTORS))
        with pa.ipc.new_file(folder / ITEMS, SCHEMA) as writer:
            writer.write_table(self._table)
        manifest = Manifest(
            encoder=self.encoder,
            revision=self.revision,
            precision=self.precision,
            dim=self.dim,
            num_items=len(self),
            source=Path(os.path.relpath(self.source.resolve(), bundle)).as_posix(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            files={name: digest_file(folder / name) for name in (VECTORS, ITEMS)},
        )
        (folder / FILE_NAME).write_text(manifest.to_text(), "utf-8", newline="\n")
        for path in (*folder.iterdir(), folder):
            _sync(path)

    @classmethod
    def load(cls, bundle: Path) -> "Index":
        """Open a bundle after checking its digests; the items stay on disk, mapped into memory.

        Raises BundleError where it is missing, damaged or of a newer format.
        """
        manifest = read_manifest(bundle)
        try:
            vectors = faiss.read_index(str(bundle / VECTORS))
            table = pa.ipc.open_file(pa.memory_map(str(bundle / ITEMS))).read_all()
            if (vectors.d, vectors.ntotal) != (manifest.dim, manifest.num_items) or table.schema != SCHEMA:
                raise ValueError("the files do not fit the manifest")
            return cls(
                vectors,
                table,
                encoder=manifest.encoder,
                source=bundle / manifest.source,
                revision=manifest.revision,
                precision=manifest.precision,
            )
        except (RuntimeError, OSError, ValueError, pa.ArrowInvalid) as error:
            raise BundleError(f"The bundle {bundle} cannot be opened: {error}. Build it again.") from error


def check_target(bundle: Path) -> None:
    """Raise InputError where a bundle cannot be saved at that path, or would take the place of something else."""
    try:
        bundle.resolve().parent.mkdir(parents=True, exist_ok=True)
        is_free = not bundle.exists() or (bundle.is_dir() and not any(bundle.iterdir()))
    except (OSError, RuntimeError) as error:
        raise _cannot_write(bundle, error) from error
    if not is_free and not is_bundle(bundle):
        raise InputError(f"{bundle} exists and is not a bundle. Give another path.")


def _cannot_write(bundle: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InputError(f"{bundle} cannot be written: {reason}. Give another path, or make room.")


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(sibling: Path, bundle: Path) -> None:
    """Put `sibling` in the place of `bundle`; the old one is moved aside first, and back if that fails."""
    old = bundle.with_name(f".{bundle.name}.{os.getpid()}.old")
    if bundle.exists():
        bundle.rename(old)
    try:
        sibling.rename(bundle)
    except OSError:
        if old.exists():
            old.rename(bundle)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _sync(bundle.parent)
