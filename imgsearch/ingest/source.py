"""What a build reads: the protocol of its source, and the entries of one with a mark at the end of each shard."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Protocol

from imgsearch.records import Picture, Skip

SHARD_SIZE = 1024  # entries of the source


class Source(Protocol):
    """Where pictures come from: a walked folder or a dataset."""

    @property
    def name(self) -> str:
        """The absolute path, or hf://datasets/ORG/NAME."""
        ...

    @property
    def revision(self) -> str:
        """Of a dataset: its commit, or a digest of its files."""
        ...

    @property
    def split(self) -> str:
        """Of a dataset."""
        ...

    @property
    def licence(self) -> str:
        """As the dataset states it."""
        ...

    @property
    def options(self) -> Mapping[str, str]:
        """What else decides which entries come."""
        ...

    @property
    def skips(self) -> list[Skip]:
        """What is left out before anything is read."""
        ...

    @property
    def num_entries(self) -> int | None:
        """How many entries come; None where it is not known."""
        ...

    @property
    def listing(self) -> str:
        """A digest of the ids in their order; "" where only reading tells them."""
        ...

    @property
    def is_lazy(self) -> bool:
        """Whether `read` opens no file: `Picture.read` does."""
        ...

    def read(self, start: int = 0, state: str = "") -> Iterator[Picture | Skip]:
        """The entries from number `start` on; `state` is what `state()` gave when as many had come, or "".

        Raises InputError where the source cannot be read on.
        """
        ...

    def state(self) -> str:
        """Where the reading stands, for another process to go on there; "" where the number of entries is enough."""
        ...


@dataclass(frozen=True)
class BuildOptions:
    """What is built and how."""

    limit: int | None = None  # entries of the source that are read
    part: tuple[int, int] = (1, 1)  # (i, n): of every n shards the i-th, for n machines
    shard_size: int = SHARD_SIZE
    thumbnails: bool = True
    vectors: str = "float16"  # how they are kept: "float16" or "float32"
    update: bool = False  # take over what the bundle holds of unchanged pictures
    strict: bool = False  # fail on the first skip


@dataclass(frozen=True)
class ShardEnd:
    """The end of a shard in the stream of entries."""

    num_entries: int  # of the shard
    digest: str  # of the entries' ids, stamps, captions and columns
    state: str  # where the source's reading stands


def with_shard_ends(
    source: Source, options: BuildOptions, start: int = 0, state: str = ""
) -> Iterator[Picture | Skip | ShardEnd]:
    """The entries of this part, with a mark at the end of each shard."""
    part, count = options.part
    entries = source.read(start, state)
    if options.limit is not None:
        entries = islice(entries, max(0, options.limit - start))
    digest, num_entries = hashlib.sha256(), 0
    for number, entry in enumerate(entries, start):
        if number // options.shard_size % count != part - 1:
            continue
        yield entry
        digest.update(_facts(entry).encode())
        num_entries += 1
        if (number + 1) % options.shard_size == 0:
            yield ShardEnd(num_entries, digest.hexdigest(), source.state())
            digest, num_entries = hashlib.sha256(), 0
    if num_entries:
        yield ShardEnd(num_entries, digest.hexdigest(), source.state())


def _facts(entry: Picture | Skip) -> str:
    facts = [entry.picture] if isinstance(entry, Skip) else [entry.id, entry.stamp, entry.caption, dict(entry.columns)]
    return json.dumps(facts) + "\n"


def count_unchanged_shards(marks: Sequence[ShardEnd], source: Source, options: BuildOptions) -> int:
    """How many of the leading shards still are what the source gives; a dataset's revision vouches for all."""
    if not marks or not source.is_lazy:
        return len(marks)
    fresh = (entry for entry in with_shard_ends(source, options) if isinstance(entry, ShardEnd))
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(marks, fresh, strict=False)))


def count_expected_entries(source: Source, options: BuildOptions) -> int | None:
    """How many entries this part has."""
    if source.num_entries is None and options.limit is None:
        return None
    total = min(number for number in (source.num_entries, options.limit) if number is not None)
    part, count = options.part
    size = options.shard_size
    return sum(min(size, total - first) for first in range((part - 1) * size, total, count * size))
