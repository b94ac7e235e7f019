"""The shards of a build: runs of consecutive entries of a source, each written to disk as soon as it is finished.

So a build that was stopped goes on after the last one. In a divided build (`--shard I/N`) each of N machines builds
every N-th shard, the I-th first; `merge` puts their bundles together. A finished shard is one Arrow file. Its name
holds its number and the digest of its entries: a shard that does not match its source any more stays beside the new
ones, and its vectors can be used again.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, count, islice, pairwise, repeat, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import TypeAdapter

from imgsearch.embeddings import Embeddings
from imgsearch.errors import InputError
from imgsearch.index.bundle import REPORT_JSON
from imgsearch.index.index import Block, Index
from imgsearch.index.items import Hashes, Items, hash_texts
from imgsearch.ingest.source import START, BuildOptions, Position, Source
from imgsearch.records import BuildReport, Item, Picture, Skip

POSITION_JSON = TypeAdapter(Position)


@dataclass(frozen=True)
class ShardEnd:
    """The marker after the last entry of a shard in the stream of entries."""

    digest: str  # of the ids, stamps, captions and columns of its entries; of a dataset its revision
    position: Position  # after the shard


class Shard:
    """A finished shard, memory-mapped. The vector of item i is row i of `block`, in the dtype of a bundle."""

    def __init__(self, path: Path) -> None:
        """Open what `write_shard` wrote. Raise OSError, ValueError or LookupError if it is not whole."""
        with pa.memory_map(str(path)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
        batch.validate(full=True)
        self.position = POSITION_JSON.validate_json(batch.schema.metadata[b"position"])
        self.report = REPORT_JSON.validate_json(batch.schema.metadata[b"report"])
        vectors = batch["vector"]
        rows = vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size)
        self.block = Block(rows, batch.drop_columns("vector"))

    def __len__(self) -> int:
        return len(self.block.rows)

    def column(self, name: str) -> Sequence[str]:
        """Return the texts of a field of the items, as `Index.column` does."""
        texts: list[str] = self.block.batch[name].to_pylist()
        return texts

    def item(self, row: int) -> Item:
        """Return the item of a row."""
        return Items([self.block.batch])[row]

    def row(self, row: int) -> Embeddings:
        """Return the vector of a row, float32 (dim,)."""
        return np.asarray(self.block.rows[row], np.float32)


class ReusableItems:
    """The items of bundles and shards by content; those from `source` also by id and stamp. Takes 32 bytes per item."""

    def __init__(self, old: Sequence[Index | Shard], source: str) -> None:
        self._old = old
        self._starts = np.cumsum([0, *map(len, old)])
        keys: list[Hashes] = []
        for part in old:
            # In another source, a file of the same path, size and time may differ. A stamp of "" never matches.
            is_trusted = isinstance(part, Shard) or part.provenance.source == source
            stamps = part.column("stamp") if is_trusted else repeat("")
            keys.append(hash_texts(map("{} {}".format, stamps, part.column("id"))))
        contents = [hash_texts(part.column("sha256")) for part in old]
        hashes = np.concatenate([*keys, *contents, hash_texts([])])
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, **fields: str) -> tuple[Item, Embeddings] | None:
        """Return an item with these fields, and its vector, float32 (dim,). They are `stamp` and `id`, or `sha256`."""
        wanted = hash_texts([" ".join(fields.values())])[0]
        first, last = (np.searchsorted(self._hashes, wanted, side=side) for side in ("left", "right"))
        for row in map(int, self._order[first:last] % self._starts[-1]):
            position = int(np.searchsorted(self._starts, row, side="right")) - 1
            part, start = self._old[position], int(self._starts[position])
            item = part.item(row - start)
            if vars(item).items() >= fields.items():  # a few hashes are of other fields, too
                return item, part.row(row - start)
        return None


def count_changes(old: Index, ids: Hashes, contents: Hashes) -> dict[str, int]:
    """Count the items added, changed, renamed and removed from `old` to the items of `ids` and `contents`, (n,)."""
    old_ids, old_contents = hash_texts(old.column("id")), hash_texts(old.column("sha256"))
    _, rows, old_rows = np.intersect1d(ids, old_ids, return_indices=True)
    new, gone = np.delete(contents, rows), np.delete(old_contents, old_rows)
    renamed = (Counter(new.tolist()) & Counter(gone.tolist())).total()
    return {
        "added": len(new) - renamed,
        "changed": int(np.sum(contents[rows] != old_contents[old_rows])),
        "renamed": renamed,
        "removed": len(gone) - renamed,
    }


def write_shard(
    folder: Path, number: int, end: ShardEnd, report: BuildReport, items: Sequence[Item], rows: npt.NDArray[Any]
) -> Shard:
    """Write a shard in one step and open it. `rows`: (n, dim), in the dtype of the bundle. Raise OSError."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    batch = Items.of(items).batches[0].append_column("vector", vectors)
    metadata = {"position": json.dumps(asdict(end.position)), "report": json.dumps(report.to_json())}
    path = folder / _name(number, end.digest)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        with pa.ipc.new_file(file, batch.schema.with_metadata(metadata)) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return Shard(path)


def open_shards(folder: Path, source: Source, options: BuildOptions) -> tuple[list[Shard], list[Shard]]:
    """Return the finished shards that the source begins with, in order, and the other ones of the folder."""
    stored: dict[str, Shard] = {}
    for path in sorted(folder.glob("*.arrow")):
        with suppress(OSError, ValueError, LookupError):
            stored[path.name] = Shard(path)
    digests: Iterator[str] = repeat(source.revision)
    if source.is_lazy:
        ends = (entry for entry in read_in_shards(source, options) if isinstance(entry, ShardEnd))
        digests = (end.digest for end in ends)
    names = list(takewhile(stored.__contains__, map(_name, count(), digests))) if stored else []
    return [stored.pop(name) for name in names], list(stored.values())


def read_in_shards(
    source: Source, options: BuildOptions, start: Position = START
) -> Iterator[Picture | Skip | ShardEnd]:
    """Yield the entries of this part from `start` on, with a `ShardEnd` after each shard."""
    if source.files and options.part[1] > 1:
        yield from _read_files(source, options, start)
        return
    entries, index = source.read(start), start.index
    for first, end, is_own in shard_bounds(source, options):
        if end <= start.index or not (is_own or source.is_lazy):
            continue
        if index < first and not source.is_lazy:
            entries, index = source.read(Position(first, source.state())), first
        before, digest = index, hashlib.sha256()
        for entry in islice(entries, end - index):
            index += 1
            if is_own:
                yield from _with_note(entry)
                digest.update(_to_json(entry).encode())
        if index == before:
            return
        if is_own:
            yield ShardEnd(digest.hexdigest() if source.is_lazy else source.revision, Position(index, source.state()))


def _read_files(source: Source, options: BuildOptions, start: Position) -> Iterator[Picture | Skip | ShardEnd]:
    """Yield the entries of the files of this part; a `Position` is a number of files."""
    if options.limit is not None:
        raise InputError("--limit does not go with parts of tars that are streamed. Leave it or --streaming out.")
    (part, num_parts), files = options.part, source.files
    for number in range(part - 1, len(files), num_parts):
        if number >= start.index:
            for entry in files[number].read():
                yield from _with_note(entry)
            yield ShardEnd(source.revision, Position(number + 1))


def _with_note(entry: Picture | Skip) -> Iterator[Picture | Skip]:
    yield entry
    if isinstance(entry, Picture) and entry.note:
        yield Skip(entry.id, entry.note)


def shard_bounds(source: Source, options: BuildOptions) -> Iterator[tuple[int, int, bool]]:
    """Yield the first entry of each shard, its end, and whether it is of this part; of an unknown total without an end.

    A shard holds `shard_size` entries. In a divided build it ends with a group of entries that is read as a whole, and
    is smaller if there would be fewer shards than parts.
    """
    (part, num_parts), size, total = options.part, options.shard_size, options.limit or sys.maxsize
    ends: Iterable[int] = range(size, total + size, size)
    if num_parts > 1 and source.group_ends:
        size = min(size, -(-source.group_ends[-1] // num_parts))
        ends = _grouped(source.group_ends, size)
    for number, (first, end) in enumerate(pairwise(chain([0], ends))):
        if first < total:
            yield first, min(end, total), number % num_parts == part - 1


def expected_entries(source: Source, options: BuildOptions) -> int | None:
    """Return the number of entries of this part; None if it is not known."""
    if source.num_entries is None and options.limit is None:
        return None
    total = sys.maxsize if source.num_entries is None else source.num_entries
    bounds = takewhile(lambda bound: bound[0] < total, shard_bounds(source, options))
    return sum(min(end, total) - first for first, end, is_own in bounds if is_own)


def _grouped(ends: Sequence[int], size: int) -> Iterator[int]:
    """Yield those of the ends that lie at least `size` after the one before, and the last one."""
    before = 0
    for end in ends:
        if end - before >= size or (end == ends[-1] and end > before):
            yield end
            before = end


def _to_json(entry: Picture | Skip) -> str:
    fields = [entry.picture] if isinstance(entry, Skip) else [entry.id, entry.stamp, entry.caption, dict(entry.columns)]
    return json.dumps(fields) + "\n"


def _name(number: int, digest: str) -> str:
    return f"{number:06}-{digest}.arrow"
