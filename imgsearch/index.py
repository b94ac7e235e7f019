"""`Index`: exact inner-product search over unit vectors, and the items they belong to. Saved as a bundle."""

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.bundle import install, writing
from imgsearch.errors import BundleError, InputError
from imgsearch.manifest import Card, Manifest, check_digests, read_manifest, steadily
from imgsearch.records import BuildReport, Hit, Item
from imgsearch.vectors import Embeddings, check_unit

HUB = "hf://"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("caption", pa.string()),
        ("columns", pa.string()),  # a JSON object of texts
        ("sha256", pa.string()),
        ("thumbnail", pa.binary()),
        ("stamp", pa.string()),  # since format 3
    ]
)
LIBRARIES = ("torch", "open_clip_torch", "transformers", "timm", "faiss-cpu", "pyarrow", "pillow", "numpy", "datasets")


class Piece(NamedTuple):
    """Some rows of an index, with their items."""

    rows: Embeddings
    batch: pa.RecordBatch

    def filter(self, mask: npt.NDArray[np.bool_]) -> "Piece":
        """The rows where `mask`, (n,), is true."""
        return self if mask.all() else Piece(self.rows[mask], self.batch.filter(pa.array(mask)))


class Index:
    """Immutable: row i of the vectors is item i.

    Vectors are kept in half precision (FAISS ScalarQuantizer QT_fp16: scores within 1e-3) or in float32; the search
    is exact.
    """

    def __init__(self, vectors: faiss.Index, batches: Sequence[pa.RecordBatch], card: Card) -> None:
        self._starts = [0, *accumulate(batch.num_rows for batch in batches)]
        if vectors.ntotal != self._starts[-1]:
            raise ValueError(f"{vectors.ntotal} vectors, but {self._starts[-1]} items")
        self._vectors = vectors
        self._batches = batches
        self.card = card

    @classmethod
    def from_rows(cls, rows: Embeddings, items: Sequence[Item], card: Card) -> "Index":
        """An index of `rows`, float32 (n, dim) of unit length, where rows[i] belongs to items[i]."""
        vectors = _empty(rows.shape[1], card.vectors)
        vectors.add(check_unit(rows, rows.shape[1]))
        columns = [
            [item.id for item in items],
            [item.caption for item in items],
            [json.dumps(dict(item.columns), ensure_ascii=False) for item in items],
            [item.sha256 for item in items],
            [item.thumbnail for item in items],
            [item.stamp for item in items],
        ]
        arrays = [pa.array(column, entry.type) for column, entry in zip(columns, SCHEMA, strict=True)]
        return cls(vectors, [pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)], card)

    def __len__(self) -> int:
        return int(self._vectors.ntotal)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._vectors.d)

    @property
    def rows(self) -> Embeddings:
        """All embeddings as stored, float32 (len, dim); unit rows to 1e-3."""
        return self._rows(0, len(self))

    def row(self, row: int) -> Embeddings:
        """One embedding as stored, float32 (dim,)."""
        return self._rows(row, 1).ravel()

    def item(self, row: int) -> Item:
        """The item at a row (0 <= row < len)."""
        number = bisect_right(self._starts, row) - 1
        fields = self._batches[number].slice(row - self._starts[number], 1).to_pylist()[0]
        return Item(**fields | {"columns": json.loads(fields["columns"])})

    def find(self, id: str) -> Item:
        """The item of that id. Raises InputError where there is none."""
        id = id.encode(errors="replace").decode()  # what is no UTF-8 names none
        for start, batch in zip(self._starts, self._batches, strict=False):
            row = pc.index(batch["id"], id).as_py()
            if row >= 0:
                return self.item(start + row)
        raise InputError(f"The collection has no picture {id!r}.")

    def original(self, item: Item) -> bytes | None:
        """The bytes of an item's picture, as they were indexed; None where there is no such file, or it is changed."""
        source = Path(self.card.source)
        path = source / item.id
        try:
            if not self.card.source or not path.resolve().is_relative_to(source.resolve()) or not path.is_file():
                return None
            data = path.read_bytes()
        except (OSError, ValueError):
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
        if not len(self):  # a part of a divided build may be empty
            return []
        scores, rows = self._vectors.search(check_unit(query, self.dim), min(k, len(self)))
        found = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(rank, self.item(row), score) for rank, (row, score) in enumerate(found, start=1)]

    def pieces(self) -> Iterator[Piece]:
        """The index block by block, as it was built."""
        for start, batch in zip(self._starts, self._batches, strict=False):
            yield Piece(self._rows(start, batch.num_rows), batch)

    def column(self, name: str) -> Iterator[str]:
        """The texts of a column of the items ("id", "sha256" or "stamp"), row by row."""
        for batch in self._batches:
            yield from batch[name].to_pylist()

    def save(self, bundle: Path, report: BuildReport | None = None) -> None:
        """Write the bundle. An older one there is replaced at once; anything else is left alone.

        Raises InputError where it cannot be written, or is being written by another process.
        """
        with writing(bundle) as work:
            write(bundle, work, self.pieces(), self.card, report)

    @classmethod
    def load(cls, bundle: Path) -> "Index":
        """Open a bundle after checking its sizes, and the digests of files up to 256 MB; it stays on disk, mapped.

        Raises BundleError where it is missing, damaged or of a newer format.
        """
        return steadily(bundle, cls._load)

    @classmethod
    def _load(cls, bundle: Path) -> "Index":
        manifest = read_manifest(bundle)
        check_digests(bundle, manifest)
        try:
            # Of the two flags that map a file, this one does; the other reads it all into memory.
            vectors = faiss.read_index(str(bundle / manifest.file(".faiss")), faiss.IO_FLAG_MMAP_IFC)
            reader = pa.ipc.open_file(pa.memory_map(str(bundle / manifest.file(".arrow"))))
            names = SCHEMA.names if manifest.format_version > 2 else SCHEMA.names[:-1]
            if (vectors.d, vectors.ntotal) != (manifest.dim, manifest.num_items) or reader.schema.names != names:
                raise ValueError("the files do not fit the manifest")
            source = manifest.source
            if source and not source.startswith(HUB):
                source = os.path.normpath(bundle.resolve() / source)
            batches = [_current(reader.get_batch(number)) for number in range(reader.num_record_batches)]
            return cls(vectors, batches, replace(manifest, source=source))
        except (RuntimeError, OSError, ValueError, pa.ArrowInvalid) as error:
            raise BundleError(f"The bundle {bundle} cannot be opened: {error}. Build it again.") from error

    def _rows(self, start: int, count: int) -> Embeddings:
        if not count:
            return np.zeros((0, self.dim), np.float32)
        return np.asarray(self._vectors.reconstruct_n(start, count), dtype=np.float32)


def kept(pieces: Iterable[Piece], mask: npt.NDArray[np.bool_]) -> Iterator[Piece]:
    """The pieces without the rows where `mask`, over all of them, is false."""
    start = 0
    for piece in pieces:
        yield piece.filter(mask[start : start + len(piece.rows)])
        start += len(piece.rows)


def write(bundle: Path, work: Path, pieces: Iterable[Piece], card: Card, report: BuildReport | None = None) -> None:
    """Write pieces as a bundle in the memory that their vectors take; `work` is its writer's folder. Raises OSError."""
    rest = iter(pieces)
    first = next(rest)
    folder = work / "new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        dim = first.rows.shape[1]
        vectors = _empty(dim, card.vectors)
        codes, items, stored = folder / "codes", folder / "items.arrow", folder / "vectors.faiss"
        with codes.open("wb") as file, pa.ipc.new_file(items, SCHEMA) as writer:
            for piece in chain([first], rest):
                file.write(vectors.sa_encode(piece.rows).tobytes() if len(piece.rows) else b"")
                writer.write_batch(piece.batch)
        if codes.stat().st_size:
            vectors.add_sa_codes(np.memmap(codes, np.uint8, "r").reshape(-1, vectors.sa_code_size()))
        codes.unlink()
        faiss.write_index(vectors, str(stored))
        manifest = Manifest(**card.card() | _facts(card, bundle), dim=dim, num_items=vectors.ntotal, files={})
        install((stored, items), bundle.resolve(), manifest, report)
    except RuntimeError as error:  # of FAISS
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _empty(dim: int, kind: str) -> faiss.Index:
    if kind == "float32":
        return faiss.IndexFlatIP(dim)
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _current(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in today's columns: format 2 and older had no stamps."""
    if batch.schema.names == SCHEMA.names:
        return batch
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array([""] * batch.num_rows)], schema=SCHEMA)


def _facts(card: Card, bundle: Path) -> dict[str, Any]:
    """What a manifest says of this moment and place."""
    is_path = card.source and not card.source.startswith(HUB)
    return {
        "source": Path(os.path.relpath(card.source, bundle.resolve())).as_posix() if is_path else card.source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
