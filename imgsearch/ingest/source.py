"""The input of a build: the protocol of a source, and its entries cut into shards.

A shard is a run of consecutive entries (--shard-size). Each finished shard is saved, so that a build that was stopped
goes on after the last one. A `ShardEnd` follows the last entry of a shard in the stream: it says what the shard was
made of and where to read on. In a divided build (`--shard I/N`) each of N machines builds every N-th shard, the I-th
first; `merge` puts their bundles together.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Protocol

from imgsearch.records import Picture, Skip

SHARD_SIZE = 1024  # entries


class Source(Protocol):
    """A source of pictures: a folder or a dataset."""

    @property
    def name(self) -> str:
        """Return the absolute path, or hf://datasets/ORG/NAME."""

    @property
    def revision(self) -> str:
        """Return the commit of a dataset or a digest of its files; "" for a local folder."""

    @property
    def split(self) -> str:
        """Return the split of a dataset; "" for a folder."""

    @property
    def licence(self) -> str:
        """Return the licence that the dataset states."""

    @property
    def options(self) -> Mapping[str, str]:
        """Return the other options that decide which entries are read."""

    @property
    def skips(self) -> list[Skip]:
        """Return what was left out before anything is read."""

    @property
    def num_entries(self) -> int | None:
        """Return the number of entries; None if it is not known."""

    @property
    def listing(self) -> str:
        """Return a digest of the ids in order; "" if they are only known after reading."""

    @property
    def is_lazy(self) -> bool:
        """Return True if `read` opens no file: `Picture.read` does."""

    def read(self, start: int = 0, state: str = "") -> Iterator[Picture | Skip]:
        """Yield the entries from index `start` on; `state` is the result of `state()` after `start` entries, or "".

        Raise InputError if the source cannot be read.
        """

    def state(self) -> str:
        """Return the position of the reader, for another process to go on there; "" if the entry's index is enough."""


@dataclass(frozen=True)
class BuildOptions:
    """The options of a build."""

    limit: int | None = None  # maximum number of entries to read
    part: tuple[int, int] = (1, 1)  # (i, n): build the i-th of every n shards
    shard_size: int = SHARD_SIZE  # entries
    thumbnails: bool = True
    vectors: str = "float16"  # storage type: "float16" or "float32"
    update: bool = False  # reuse the vectors of pictures that have not changed
    strict: bool = False  # fail on the first skip


@dataclass(frozen=True)
class ShardEnd:
    """The marker after the last entry of a shard in the stream of entries."""

    num_entries: int  # in the shard
    digest: str  # of the ids, stamps, captions and columns of its entries
    state: str  # position of the source's reader, to go on after this shard


def with_shard_ends(
    source: Source, options: BuildOptions, start: int = 0, state: str = ""
) -> Iterator[Picture | Skip | ShardEnd]:
    """Yield the entries of this part from index `start` on, with a `ShardEnd` after each shard."""
    part, num_parts = options.part
    entries = source.read(start, state)
    if options.limit is not None:
        entries = islice(entries, max(0, options.limit - start))
    digest, num_entries = hashlib.sha256(), 0
    for index, entry in enumerate(entries, start):
        if index // options.shard_size % num_parts != part - 1:
            continue
        yield entry
        digest.update(_to_json(entry).encode())
        num_entries += 1
        if (index + 1) % options.shard_size == 0:
            yield ShardEnd(num_entries, digest.hexdigest(), source.state())
            digest, num_entries = hashlib.sha256(), 0
    if num_entries:
        yield ShardEnd(num_entries, digest.hexdigest(), source.state())


def _to_json(entry: Picture | Skip) -> str:
    fields = [entry.picture] if isinstance(entry, Skip) else [entry.id, entry.stamp, entry.caption, dict(entry.columns)]
    return json.dumps(fields) + "\n"


def count_unchanged_shards(ends: Sequence[ShardEnd], source: Source, options: BuildOptions) -> int:
    """Return how many leading shards match the source. Those of a dataset do: their folder depends on its revision."""
    if not ends or not source.is_lazy:
        return len(ends)
    current = (entry for entry in with_shard_ends(source, options) if isinstance(entry, ShardEnd))
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ends, current, strict=False)))


def count_expected_entries(source: Source, options: BuildOptions) -> int | None:
    """Return the number of entries of this part; None if it is not known."""
    if source.num_entries is None and options.limit is None:
        return None
    total = min(count for count in (source.num_entries, options.limit) if count is not None)
    part, num_parts = options.part
    size = options.shard_size
    return sum(min(size, total - first) for first in range((part - 1) * size, total, num_parts * size))
