"""`Index`: exact inner-product search over unit vectors, and the items they belong to. Saved as a bundle."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imgsearch.embeddings import Embeddings, check_unit
from imgsearch.environment import is_from_hub
from imgsearch.errors import BundleError
from imgsearch.files import read_at_most
from imgsearch.index.bundle import bundle_writer, install_files
from imgsearch.index.flat import check_finite, empty_flat_index, open_vector_file
from imgsearch.index.items import SCHEMA, Items, Mask
from imgsearch.index.manifest import Manifest, Provenance, check_digests, read_manifest, retry_if_replaced
from imgsearch.records import BuildReport, Hit, Item
from imgsearch.text import truncate

NUM_SPARE = 500  # hits more than a filter is to leave over: of 100,000 rows they take FAISS 6 % longer
GROWTH = 8
SKIP_COST = 4  # rows that could be scored while FAISS goes from rows that are kept to some that are not, or back
MAX_ORIGINAL_BYTES = 256 * 2**20
MAX_REASON = 200  # characters of a library's message
Rows: TypeAlias = npt.NDArray[np.int64]


class Block(NamedTuple):
    """Some rows of an index, with their items."""

    rows: Embeddings
    batch: pa.RecordBatch

    def filter(self, mask: Mask) -> "Block":
        """The rows where `mask`, (n,), is true."""
        return self if mask.all() else Block(self.rows[mask], self.batch.filter(pa.array(mask)))


class Index:
    """Immutable: row i of the vectors is item i.

    Vectors are kept in half precision (FAISS ScalarQuantizer QT_fp16: scores within 1e-3) or in float32; the search
    is exact.
    """

    def __init__(self, vectors: faiss.Index, items: Items, provenance: Provenance) -> None:
        if vectors.ntotal != len(items):
            raise ValueError(f"{vectors.ntotal} vectors, but {len(items)} items")
        self._vectors = vectors
        self.items = items
        self.provenance = provenance

    @classmethod
    def from_rows(cls, rows: Embeddings, items: Sequence[Item], provenance: Provenance) -> "Index":
        """An index of `rows`, float32 (n, dim) of unit length, where rows[i] belongs to items[i]."""
        vectors = empty_flat_index(rows.shape[1], provenance.vectors)
        vectors.add(check_unit(rows, rows.shape[1]))
        return cls(vectors, Items.of(items), provenance)

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

    def rows_of(self, numbers: Sequence[int]) -> Embeddings:
        """The embeddings at some rows as stored, float32 (len(numbers), dim), in that order."""
        if not len(numbers):
            return self._rows(0, 0)
        return check_finite(np.asarray(self._vectors.reconstruct_batch(np.asarray(numbers, np.int64)), np.float32))

    def item(self, row: int) -> Item:
        """The item at a row (0 <= row < len)."""
        return self.items[row]

    def row_of(self, id: str) -> int:
        """The row of the item of that id. Raises InputError where there is none."""
        return self.items.row_of(id)

    def item_by_id(self, id: str) -> Item:
        """The item of that id. Raises InputError where there is none."""
        return self.items[self.row_of(id)]

    def original(self, item: Item) -> bytes | None:
        """The bytes of an item's picture, as they were indexed; None where there is no such file, or it is changed."""
        try:
            source, path = (
                Path(os.path.realpath(path)) for path in (self.provenance.source, f"{self.provenance.source}/{item.id}")
            )
            if not self.provenance.source or not path.is_relative_to(source):
                return None
            data = read_at_most(path, MAX_ORIGINAL_BYTES)
        except (OSError, ValueError):
            return None
        # The digest holds a bundle to the pictures it was built from: it cannot name another file.
        return data if hashlib.sha256(data).hexdigest() == item.sha256 else None

    def search(self, query: Embeddings, k: int, *, start: int = 0, mask: Mask | None = None) -> list[Hit]:
        """Ranks start + 1 to start + k, best first, of the items that are kept; fewer where there are no more.

        `query`: float32 (1, dim) of unit length; `mask`: bool (len,), None for all. Score = inner product; items of
        equal score stand by row. Raises ValueError where k < 1, start < 0, or a shape differs; BundleError where the
        vectors of the bundle are none.
        """
        if k < 1 or start < 0:
            raise ValueError(f"k is {k}, it must be at least 1; start is {start}, it must be at least 0")
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != (len(self),)):
            raise ValueError(f"the mask is {mask.dtype} of shape {mask.shape}, expected bool ({len(self)},)")
        scores, rows = self._best(check_unit(query, self.dim), start + k, mask)
        found = zip(rows[start:].tolist(), scores[start:].tolist(), strict=True)
        return [Hit(rank, self.item(row), score, row=row) for rank, (row, score) in enumerate(found, start=start + 1)]

    def _best(self, query: Embeddings, count: int, mask: Mask | None) -> tuple[Embeddings, Rows]:
        """Scores and rows of the `count` best items that are kept, or of all where there are fewer."""
        num_kept = len(self) if mask is None else int(np.count_nonzero(mask))
        count = min(count, num_kept)
        if not count:  # a part of a divided build may be empty
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        is_narrow = mask is not None and _is_narrow(mask)
        number = count + 1 if mask is None or is_narrow else count * len(self) // num_kept + NUM_SPARE
        while True:
            scores, rows = self._nearest(query, number, mask if is_narrow else None)
            if mask is not None and not is_narrow:
                scores, rows = scores[mask[rows]], rows[mask[rows]]
            if len(rows) >= count:
                return scores[:count], rows[:count]
            if mask is None or is_narrow:
                number *= GROWTH  # many equal scores
            else:
                number, is_narrow = count + 1, True  # the filter drops just the best

    def _nearest(self, query: Embeddings, number: int, mask: Mask | None) -> tuple[Embeddings, Rows]:
        """Scores and rows of the `number` best, equal scores by row; none of the last score where some are left out."""
        num_kept = len(self) if mask is None else int(np.count_nonzero(mask))
        number = min(number, num_kept)
        parameters = faiss.SearchParameters()
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters.sel = selector
        scores, rows = (found[0] for found in self._vectors.search(query, number, params=parameters))
        check_finite(np.where(rows < 0, np.nan, scores))  # FAISS leaves out rows whose score is no number
        if number < num_kept:
            is_whole = scores > scores[-1]
            scores, rows = scores[is_whole], rows[is_whole]
        order = np.lexsort((rows, -scores))
        return scores[order], rows[order]

    def blocks(self) -> Iterator[Block]:
        """The index block by block, as it was built."""
        for start, batch in zip(self.items.starts, self.items.batches, strict=False):
            yield Block(self._rows(start, batch.num_rows), batch)

    def column(self, name: str) -> Iterator[str]:
        """The texts of a column of the items ("id", "sha256" or "stamp"), row by row."""
        for texts in self.items.texts(name):
            yield from texts.to_pylist()

    def save(self, bundle: Path, report: BuildReport | None = None) -> None:
        """Write the bundle. An older one there is replaced at once; anything else is left alone.

        Raises InputError where it cannot be written, or is being written by another process.
        """
        with bundle_writer(bundle) as work:
            write_bundle(bundle, work, self.blocks(), self.provenance, report)

    @classmethod
    def load(cls, bundle: Path) -> "Index":
        """Open a bundle after checking its sizes, and the digests of files up to 256 MB; it stays on disk, mapped.

        Raises BundleError where it is missing, damaged or of a newer format.
        """
        return retry_if_replaced(bundle, cls._load)

    @classmethod
    def _load(cls, bundle: Path) -> "Index":
        manifest = read_manifest(bundle)
        check_digests(bundle, manifest)
        try:
            vectors = open_vector_file(bundle / manifest.file(".faiss"), manifest)
            items = Items.open(bundle / manifest.file(".arrow"))
            # Of a bundle of the hub the pictures are where it was built: a path of there means another thing here.
            provenance = replace(manifest, source="") if is_from_hub(bundle) else manifest.at(bundle)
            return cls(vectors, items, provenance)
        except (RuntimeError, OSError, ValueError, MemoryError, pa.ArrowException) as error:
            reason = truncate(str(error).rstrip("."), MAX_REASON)
            raise BundleError(
                "The bundle {bundle} cannot be opened: {reason}. Build it again.", bundle=bundle, reason=reason
            ) from error

    def _rows(self, start: int, count: int) -> Embeddings:
        if not count:
            return np.zeros((0, self.dim), np.float32)
        return check_finite(np.asarray(self._vectors.reconstruct_n(start, count), dtype=np.float32))


def filter_blocks(pieces: Iterable[Block], mask: Mask) -> Iterator[Block]:
    """The pieces without the rows where `mask`, over all of them, is false."""
    start = 0
    for piece in pieces:
        yield piece.filter(mask[start : start + len(piece.rows)])
        start += len(piece.rows)


def write_bundle(
    bundle: Path, work: Path, pieces: Iterable[Block], provenance: Provenance, report: BuildReport | None = None
) -> None:
    """Write pieces as a bundle in the memory that their vectors take; `work` is its writer's folder. Raises OSError."""
    rest = iter(pieces)
    first = next(rest)
    folder = work / "new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        dim = first.rows.shape[1]
        vectors = empty_flat_index(dim, provenance.vectors)
        codes, items, stored = folder / "codes", folder / "items.arrow", folder / "vectors.faiss"
        with codes.open("wb") as file, pa.ipc.new_file(items, SCHEMA) as writer:
            for piece in chain([first], rest):
                file.write(vectors.sa_encode(piece.rows).tobytes() if len(piece.rows) else b"")
                writer.write_batch(piece.batch)
        if codes.stat().st_size:
            vectors.add_sa_codes(np.memmap(codes, np.uint8, "r").reshape(-1, vectors.sa_code_size()))
        codes.unlink()
        faiss.write_index(vectors, str(stored))
        install_files((stored, items), bundle.resolve(), Manifest.of(provenance, bundle, dim, vectors.ntotal), report)
    except RuntimeError as error:  # of FAISS
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_narrow(mask: Mask) -> bool:
    """Whether a search of the kept rows alone takes no longer than one of all."""
    return bool(np.count_nonzero(mask) + SKIP_COST * np.count_nonzero(mask[1:] != mask[:-1]) <= len(mask))
