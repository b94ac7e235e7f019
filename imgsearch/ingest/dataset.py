"""Read a Hugging Face dataset, from the hub or local files, as undecoded pictures."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetNotFoundError

from imgsearch.config import HF_DATASETS_PREFIX
from imgsearch.downloads import cached_dataset, fetch_whole_repo, remember_commit, remember_dataset
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.hub import Repo, explain_hub_error, probe
from imgsearch.ingest.columns import DatasetOptions, find_columns
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import START, Position
from imgsearch.ingest.splits import choose, data_files, ending, find_builder, find_splits, saved_splits
from imgsearch.ingest.tables import Tables
from imgsearch.ingest.tars import Tars
from imgsearch.records import Picture, Skip
from imgsearch.text import without_surrogates

TABLES = ("parquet", "arrow", "webdataset")
KINDS = "a .parquet, .arrow or .tar file"
OPTIONS = [field.name for field in fields(DatasetOptions)]
HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+", re.ASCII)
CLIENTS = ("huggingface_hub", "httpx", "httpx2")
NOT_SHOWN = "the hub does not give its files. Ask for access on its page and log in (hf auth login), or try later."

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # otherwise each load asks a server, even for local files


Table = Tables | Tars


class Dataset:
    """The records of one split: a `Source`."""

    is_lazy = False  # the pictures are read with their bytes in memory
    listing = ""

    def __init__(
        self,
        table: Table,
        options: DatasetOptions,
        name: str,
        revision: str,
        split: str,
        licence: str = "",
        config: str = "",
    ) -> None:
        """For the arguments see `Source`. Raise InputError as `find_columns` does."""
        self.name, self.revision, self.split, self.licence = name, revision, split, licence
        self._table, self.skips, self.num_entries = table, table.skips, table.num_rows
        self.group_ends = table.group_ends
        self._columns = find_columns(name, table.features, options)
        self.options: Mapping[str, str] = {"config": config} | self._columns.to_json()

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        """Yield the entries from `start` on. Raise InputError if they cannot be read."""
        number = start.index
        try:
            for row in self._table.rows(self._columns, start):
                key = f"{self.split}/{self._table.key(number)}"
                yield Skip(key, row) if isinstance(row, str) else self._columns.entry(key, row)
                number += 1
        except ImgsearchError:
            raise
        except Exception as error:
            raise InputError(
                "Reading {dataset} broke off after {number} entries: {reason} The same command goes on from "
                "the last finished shard.",
                dataset=self.name,
                number=number,
                reason=_reason(error),
            ) from error

    def state(self) -> str:
        """Return the state of the reader, for a `Position`; "" if the index of the entry is enough."""
        return self._table.state

    @property
    def files(self) -> "list[Dataset]":
        """See `Source`."""
        files = [copy(self) for _ in self._table.files]
        for file, table in zip(files, self._table.files, strict=True):
            file._table = table
        return files


def open_source(spec: str, options: DatasetOptions) -> Folder | Dataset:
    """Open the pictures of `spec`: a folder, local data files, a folder of save_to_disk, or ORG/NAME on the hub.

    Raise InputError if there is no such source, if it cannot be read, or if the user must choose a split or column.
    """
    if without_surrogates(spec) != spec:
        raise InputError("The path {spec!r} is not UTF-8. Rename it.", spec=spec)
    try:
        return _open(spec, options)
    except ImgsearchError:
        raise
    except Exception as error:
        raise InputError("{name} cannot be read: {reason}", name=spec, reason=_reason(error)) from error


def _open(spec: str, options: DatasetOptions) -> Folder | Dataset:
    path = Path(spec)
    if not path.exists():
        if HUB_NAME.fullmatch(spec):
            return _open_hub(spec, options)
        raise InputError(
            "{spec} is not a folder. Give a folder of pictures, {kinds}, or ORG/NAME of the hub.",
            spec=spec,
            kinds=KINDS,
        )
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    files, others = ([path], []) if path.is_file() else ([], []) if saved else data_files(path)
    if not saved and (not files or (others and not (path / ".gitattributes").is_file())):  # a clone has logos and such
        _refuse(spec, "a folder of pictures", options, sorted({*OPTIONS} - {"caption_column"}))
        return Folder(path, caption_column=options.caption_column)
    kinds = sorted({ending(file) for file in files})
    if len(kinds) > 1:
        raise InputError(
            "{spec} holds files of several kinds ({kinds}). Put them into a folder each.",
            spec=spec,
            kinds=", ".join(kinds),
        )
    if kinds == [""]:
        raise InputError(
            "{spec} is not a folder, nor {kinds}. Give one of these, or ORG/NAME of the hub.", spec=spec, kinds=KINDS
        )
    _refuse(spec, "local", options, ["revision"] if path.is_dir() and not saved else ["config", "revision"])
    splits = saved_splits(path) if saved else {"train": files} if path.is_file() else find_splits(path, files, options)
    split = choose(spec, "split", list(splits), options.split)
    table = _open_files(splits[split], kinds == [".tar"], options)
    digest = _digest(path if path.is_dir() else path.parent, splits[split])
    dataset = Dataset(table, options, str(path.resolve()), digest, split, config=options.config)
    known = chain.from_iterable(splits.values())
    dataset.skips += [Skip(str(file.relative_to(path)), "in no split") for file in sorted({*files} - {*known})]
    dataset.skips += [Skip(str(file.relative_to(path)), "beside a dataset, not in it") for file in others]
    return dataset


def _open_files(files: Iterable[str | Path], are_tars: bool, options: DatasetOptions) -> Table:
    """Open files that are here."""
    paths = [str(file) for file in files]
    return Tars(paths, options) if are_tars else Tables(paths)


def _refuse(spec: str, what: str, options: DatasetOptions, names: list[str]) -> None:
    for name in names:
        if getattr(options, name) != getattr(DatasetOptions, name):
            flag = "--" + name.replace("_", "-")
            raise InputError(
                "{flag} does not go with {spec}: it is {what}. Leave {flag} out.", flag=flag, spec=spec, what=what
            )


def _digest(root: Path, files: list[Path]) -> str:
    entries = [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _open_hub(spec: str, options: DatasetOptions) -> Folder | Dataset:
    name = f"{HF_DATASETS_PREFIX}{spec}"
    repo = Repo(spec, options.revision or "main", "dataset")
    if datasets.config.HF_HUB_OFFLINE:
        folder, names = cached_dataset(repo)
        files = [folder / name for name in names]
        tables = [file for file in files if ending(file)]
        if not tables and all(file.exists() for file in files):  # loose pictures
            return Folder(folder, name, folder.name, caption_column=options.caption_column)
        splits = find_splits(folder, tables, options)
        split = choose(spec, "split", list(splits), options.split)
        if not splits[split] or not all(file.exists() for file in splits[split]):
            raise ConnectionError
        table = _open_files(splits[split], ending(splits[split][0]) == ".tar", options)
        return Dataset(table, options, name, folder.name, split, config=options.config)
    info: Any = probe(repo)
    licence, commit = str((info.card_data or {}).get("license") or ""), info.sha
    builder = find_builder(spec, spec, options.config, commit)
    if builder.hash != commit or builder.name == "cache":  # `datasets` uses what it has if the hub fails
        raise InputError("{spec} at {commit} cannot be had: {reason}", spec=spec, commit=commit, reason=NOT_SHOWN)
    if builder.name not in TABLES:  # loose picture files: the library's own reader silently drops some
        _refuse(spec, "one of loose files", options, sorted({*OPTIONS} - {"revision", "streaming", "caption_column"}))
        path = fetch_whole_repo(Repo(spec, commit, "dataset"))
        remember_commit(repo, path)
        return Folder(path, name, commit, licence, options.caption_column)
    split = choose(spec, "split", [str(split) for split in builder.config.data_files or ()], options.split)
    urls = [str(file) for file in builder.config.data_files[split]]
    are_tars = builder.name == "webdataset"
    fetch = datasets.DownloadManager().download
    if builder.name == "arrow" or not all(file.startswith(HF_DATASETS_PREFIX) for file in urls):
        table = _open_files(fetch(urls), are_tars, options)
    elif are_tars:
        table = Tars(urls, options, None if options.streaming else fetch)
    else:
        table = Tables(urls, str if options.streaming else fetch)
    declared = {} if are_tars else builder.info.features or {}  # by its card
    table.features |= {column: kind for column, kind in declared.items() if column in table.features}
    remember_dataset(repo, commit)
    return Dataset(table, options, name, commit, split, licence, builder.config.name)


def _reason(error: BaseException) -> str:
    if isinstance(error, DatasetNotFoundError):  # though it was found a moment before
        return NOT_SHOWN
    is_away = isinstance(error, ConnectionError) or type(error).__module__.split(".")[0] in CLIENTS
    if is_away and datasets.config.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not here. Unset it once to fetch it."
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ConnectionError) or type(cause).__module__.split(".")[0] in CLIENTS:
            return str(explain_hub_error(cause, "dataset")).rstrip(".") + "."
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror} ({cause.filename}). See that it can be read and that HF_HOME has room."
        error, cause = cause, cause.__cause__
    return f"its files are damaged or of another kind ({' '.join(str(error).split())[:120]})."
