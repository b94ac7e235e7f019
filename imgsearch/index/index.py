"""`Index`: exact inner-product search over unit vectors and their items. It is saved as a bundle."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch.embeddings import Embeddings, check_finite, check_unit
from imgsearch.errors import BundleError
from imgsearch.files import read_at_most
from imgsearch.index.bundle import NEW, bundle_writer, install_files
from imgsearch.index.filters import ColumnStore
from imgsearch.index.flat import empty_flat_index, file_header, open_vector_file
from imgsearch.index.items import SCHEMA, Hashes, Items, Mask, Rows, hash_texts
from imgsearch.index.manifest import Manifest, Provenance, check_digests, open_bundle
from imgsearch.records import CAPTIONED_BY, FIGURES, BuildReport, Hit, Item
from imgsearch.text import truncate

NUM_SPARE = 500  # extra hits to request before a filter is applied: with 100,000 rows they cost FAISS 6 % more time
NARROW = 0.3  # share of the rows up to which FAISS is faster if it skips the others
GROWTH = 8  # factor for the next try, if too many scores are equal
MAX_ORIGINAL_BYTES = 256 * 2**20
MAX_FIELD = 1000  # characters of a caption or column that `texts` yields: a long one leaves room for the others
MAX_REASON = 200  # characters of a library's message that an error quotes
NOT_WORDS = (*FIGURES, CAPTIONED_BY)  # columns whose texts nobody searches for


class Block(NamedTuple):
    """Consecutive rows of an index: their vectors and items. Large indexes are read and written block by block."""

    rows: npt.NDArray[np.floating[Any]]  # (n, dim): float32, or float16 as it is stored
    batch: pa.RecordBatch


class Index:
    """A bundle opened for search. Immutable: row i of the vectors belongs to item i.

    Vectors are stored as float16 (FAISS ScalarQuantizer QT_fp16: scores within 1e-3) or float32. The search is exact.
    """

    recall: float | None = None  # share of the nearest rows that a search finds; None: all
    calibration = ""  # the JSON of one that is kept with the items

    def __init__(self, vectors: faiss.Index, items: Items, provenance: Provenance) -> None:
        if vectors.ntotal != len(items):
            raise ValueError(f"{vectors.ntotal} vectors, but {len(items)} items")
        self._vectors = vectors
        self.items = items
        self.provenance = provenance

    @classmethod
    def from_rows(cls, rows: Embeddings, items: Sequence[Item], provenance: Provenance) -> "Index":
        """Build an index of `rows`, float32 (n, dim) of unit length; rows[i] is the vector of items[i]."""
        vectors = empty_flat_index(rows.shape[1], provenance.vectors)
        vectors.add(check_unit(rows, rows.shape[1]))
        return cls(vectors, Items.of(items), provenance)

    def __len__(self) -> int:
        return int(self._vectors.ntotal)

    @cached_property
    def columns(self) -> ColumnStore:
        """Return the columns of the items, which filters are about."""
        return ColumnStore(self.items)

    @property
    def dim(self) -> int:
        """Return the length of a vector."""
        return int(self._vectors.d)

    @property
    def rows(self) -> Embeddings:
        """Return all vectors as stored, float32 (len, dim), of unit length to within 1e-3."""
        return self.rows_of(range(len(self)))

    def row(self, row: int) -> Embeddings:
        """Return the vector of a row as stored, float32 (dim,)."""
        return self.rows_of([row]).ravel()

    def rows_of(self, rows: Sequence[int]) -> Embeddings:
        """Return the vectors of `rows` as stored, float32 (len(rows), dim), in that order."""
        if not len(rows):
            return np.zeros((0, self.dim), np.float32)
        return check_finite(np.asarray(self._vectors.reconstruct_batch(np.asarray(rows, np.int64)), np.float32))

    def item(self, row: int) -> Item:
        """Return the item of a row (0 <= row < len)."""
        return self.items[row]

    def item_by_id(self, item_id: str) -> Item:
        """Return the item with that id. Raise InputError if there is none."""
        return self.items[self.items.row_of(item_id)]

    def original(self, item: Item) -> bytes | None:
        """Return the bytes of an item's picture file; None if it is missing or has changed since it was indexed."""
        try:
            names = (self.provenance.source, f"{self.provenance.source}/{item.id}")
            source, path = (Path(os.path.realpath(name)) for name in names)
            if not self.provenance.source or not path.is_relative_to(source):
                return None
            data = read_at_most(path, MAX_ORIGINAL_BYTES)
        except (OSError, ValueError):
            return None
        # Compare the digest, so that a bundle can only give out the pictures it was built from, no other file.
        return data if hashlib.sha256(data).hexdigest() == item.sha256 else None

    def search(self, query: Embeddings, k: int, *, mask: Mask | None = None) -> list[Hit]:
        """Return the k best hits, best first, or fewer if there are no more.

        `query`: float32 (1, dim) of unit length. `mask`: bool (len,), True for items to search; None for all. Score =
        inner product; equal scores by row. Raise ValueError if k < 1 or a shape is wrong; BundleError if the vectors of
        the bundle are damaged. Example:

            query = encoder.encode_texts(["a red fruit"])
            mask = index.columns.mask([Condition.parse("subject=food")])
            hits = index.search(query, 10, mask=mask)  # hits[0].item.id, hits[0].score
        """
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        scores, rows = self.nearest(query, k, mask)
        found = zip(rows.tolist(), self.items.many(rows.tolist()), scores.tolist(), strict=True)
        return [Hit(rank, item, score, row=row) for rank, (row, item, score) in enumerate(found, start=1)]

    def nearest(self, query: Embeddings, count: int, mask: Mask | None = None) -> tuple[Embeddings, Rows]:
        """Return scores and rows of the `count` best items, float32 and int64 (<= count,); arguments as of `search`."""
        query = check_unit(query, self.dim)
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != (len(self),)):
            raise ValueError(f"the mask is {mask.dtype} of shape {mask.shape}, expected bool ({len(self)},)")
        num_kept = len(self) if mask is None else int(np.count_nonzero(mask))
        if not (count := min(count, num_kept)):  # a part of a divided build may be empty
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        if mask is not None and num_kept > NARROW * len(self):
            scores, rows = self._nearest(query, min(count * len(self) // num_kept + NUM_SPARE, len(self)), None)
            scores, rows = scores[mask[rows]], rows[mask[rows]]
            if len(rows) >= count:
                return scores[:count], rows[:count]
        num_nearest = count + 1  # the next one shows if others have the score of the last one
        while True:
            scores, rows = self._nearest(query, min(num_nearest, num_kept), mask)
            if len(rows) >= count:
                return scores[:count], rows[:count]
            num_nearest *= GROWTH

    def _nearest(self, query: Embeddings, count: int, mask: Mask | None) -> tuple[Embeddings, Rows]:
        """Return scores and rows of at most `count` nearest, by score, then by row; no score is incomplete."""
        parameters = faiss.SearchParameters()
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters.sel = selector
        scores, rows = (matrix[0] for matrix in self._vectors.search(query, count, params=parameters))
        check_finite(np.where(rows < 0, np.nan, scores))  # FAISS returns row -1 instead of a row whose score is NaN
        if count < (len(self) if mask is None else np.count_nonzero(mask)):
            is_whole = scores > scores[-1]  # more rows than these may have the last score
            scores, rows = scores[is_whole], rows[is_whole]
        order = np.lexsort((rows, -scores))
        return scores[order], rows[order]

    def blocks(self) -> Iterator[Block]:
        """Yield the index block by block, as it was written."""
        start = 0
        for batch in self.items.batches:
            yield Block(self.rows_of(range(start, start + len(batch))), batch)
            start += len(batch)

    def column(self, name: str) -> Iterator[str]:
        """Yield a field of the items ("id", "caption", "sha256" or "stamp") row by row."""
        for texts in self.items.field(name):
            yield from texts.to_pylist()

    def texts(self) -> Iterator[str]:
        """Yield the caption and all columns but NOT_WORDS, each cut at MAX_FIELD, joined by spaces, row by row."""
        for captions, maps in zip(self.items.field("caption"), self.items.field("columns"), strict=True):
            words = pc.if_else(pc.is_in(maps.keys, pa.array(NOT_WORDS)), "", maps.items)
            cut, cells = (pc.utf8_slice_codeunits(texts, 0, MAX_FIELD) for texts in (captions, words))
            columns = pc.binary_join(pa.ListArray.from_arrays(maps.offsets, cells), " ")
            yield from pc.binary_join_element_wise(cut, columns, " ").to_pylist()

    def save(self, bundle: Path, report: BuildReport | None = None) -> None:
        """Write the bundle. An older bundle at that path is replaced in one step; anything else is left untouched.

        Raise InputError if it cannot be written or if another process is writing it.
        """
        with bundle_writer(bundle) as work:
            write_bundle(bundle, work, self.blocks(), self.provenance, report)

    @classmethod
    def load(cls, bundle: Path) -> "Index":
        """Open a bundle, memory-mapped, after a check of its file sizes, and of the digests of files up to 256 MB.

        Raise BundleError if it is missing, damaged or of a newer format.
        """
        return open_bundle(bundle, partial(cls._open, bundle))

    @classmethod
    def _open(cls, bundle: Path, manifest: Manifest) -> "Index":
        check_digests(bundle, manifest)
        try:
            vectors = open_vector_file(bundle / manifest.file(".faiss"), manifest)
            items = Items.open(bundle / manifest.file(".arrow"))
            return cls(vectors, items, manifest.at(bundle))
        except (RuntimeError, OSError, ValueError, MemoryError, pa.ArrowException) as error:
            reason = truncate(str(error).rstrip("."), MAX_REASON)
            template = "The bundle {bundle} cannot be opened: {reason}. Build it again."
            raise BundleError(template, bundle=bundle, reason=reason) from error


def filter_blocks(blocks: Iterable[Block], mask: Mask) -> Iterator[Block]:
    """Yield the blocks without the rows where `mask`, bool over the rows of all blocks, is False."""
    start = 0
    for rows, batch in blocks:
        is_kept = mask[start : start + len(rows)]
        yield Block(rows, batch) if is_kept.all() else Block(rows[is_kept], batch.filter(pa.array(is_kept)))
        start += len(rows)


def write_bundle(
    bundle: Path, work: Path, blocks: Iterable[Block], provenance: Provenance, report: BuildReport | None = None
) -> BuildReport:
    """Write blocks as a bundle; `work` is from `bundle_writer`. Takes the memory of one block. Raise OSError.

    Return the report with the numbers of items and of equal pictures. Without a report none is written.
    """
    vectors, items = work / NEW / "vectors.faiss", work / NEW / "items.arrow"
    dim, digests = 1, list[Hashes]()
    with vectors.open("wb") as file, pa.ipc.new_file(items, SCHEMA) as writer:
        file.write(file_header(dim, provenance.vectors, 0))  # as long as the one that replaces it
        for rows, batch in blocks:
            dim = rows.shape[1]
            file.write(rows.astype(provenance.vectors, copy=False).tobytes())
            if len(rows) or provenance.part:  # in a part, also an empty shard has its turn in a merge
                writer.write_batch(batch)
            digests.append(hash_texts(batch["sha256"].to_pylist()))
        num_items = sum(map(len, digests))
        file.seek(0)
        file.write(file_header(dim, provenance.vectors, num_items))
    num_duplicates = num_items - len(np.unique(np.concatenate(digests)))
    counted = replace(report or BuildReport(), num_items=num_items, num_duplicates=num_duplicates)
    manifest = Manifest.of(provenance, bundle, dim, num_items)
    install_files((vectors, items), bundle.resolve(), manifest, counted if report else None)
    return counted
