"""The input of a build: the protocol of a source, and the options of a build."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgsearch.records import Picture, Skip

SHARD_SIZE = 1024  # entries


@dataclass(frozen=True)
class Position:
    """A place between two entries of a source, where any process can go on reading."""

    index: int = 0  # number of entries before it
    state: str = ""  # of the reader of tars, which else reads all tars before; "": the index is enough


START = Position()


class Source(Protocol):
    """A source of pictures: a folder or a dataset."""

    name: str  # the absolute path, or hf://datasets/ORG/NAME
    revision: str  # commit of a dataset or digest of its files; "" for a local folder
    split: str  # of a dataset; "" for a folder
    licence: str  # that the dataset states
    options: Mapping[str, str]  # the other options that decide which entries are read
    skips: list[Skip]  # what was left out before anything is read
    num_entries: int | None  # None if it is not known
    listing: str  # digest of the ids in order; "" if they are only known after reading
    is_lazy: bool  # True if `read` opens no file: `Picture.read` does
    group_ends: Sequence[int]  # the entries after which a divided build may change parts; () if after any entry

    @property
    def files(self) -> Sequence["Source"]:
        """The files that are each a shard of a divided build, as nobody has counted their entries; () if they are."""

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        """Yield the entries from `start` on. Raise InputError if the source cannot be read."""

    def state(self) -> str:
        """Return the `Position.state` after the last entry that `read` yielded."""


@dataclass(frozen=True)
class BuildOptions:
    """The options of a build."""

    limit: int | None = None  # maximum number of entries to read
    part: tuple[int, int] = (1, 1)  # (i, n): build the i-th of every n shards
    shard_size: int = SHARD_SIZE  # entries
    thumbnails: bool = True
    exif: bool = True  # keep what the files tell of their pictures: date, camera, lens and size
    places: bool = False  # with `exif`: and where they were taken
    vectors: str = "float16"  # storage type: "float16" or "float32"
    captions: bool = True  # False: an update drops those that a model wrote
    update: bool = False  # reuse the vectors of pictures that have not changed
    text: bool = False  # read what is written in the pictures
    strict: bool = False  # fail on the first skip
