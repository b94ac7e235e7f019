"""Read a Hugging Face dataset, from the hub or local files, as undecoded pictures."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain, islice
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetNotFoundError

from imgsearch.config import HF_DATASETS_PREFIX
from imgsearch.downloads import fetch_whole_repo
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.hub import Repo, explain_hub_error, probe
from imgsearch.ingest.columns import ColumnMapping, DatasetOptions, Row, find_columns
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import START, Position
from imgsearch.ingest.splits import choose, data_files, ending, find_builder, find_splits, saved_splits
from imgsearch.ingest.tables import BATCH_SIZE, Tables, to_rows
from imgsearch.ingest.tars import Tars
from imgsearch.records import Picture, Skip
from imgsearch.text import without_surrogates

TABLES = ("parquet", "arrow", "webdataset", "cache")
KINDS = "a .parquet, .arrow or .tar file"
OPTIONS = [field.name for field in fields(DatasetOptions)]
HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+", re.ASCII)
READ_RETRIES = 4  # give up a lost connection after about two minutes; the default takes nine
CLIENTS = ("huggingface_hub", "httpx", "httpx2")
NOT_SHOWN = "the hub does not give its files. Ask for access on its page and log in (hf auth login), or try later."

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # otherwise each load asks a server, even for local files
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = READ_RETRIES


class HubTable:
    """The rows of a dataset that the library `datasets` reads."""

    def __init__(self, table: Any, split: str) -> None:
        """`table`: a Dataset or IterableDataset."""
        is_streamed = isinstance(table, datasets.IterableDataset)
        self._table = table._resolve_features() if is_streamed else table
        self.features = self._table.features or {}
        declared = (table.info.splits or {}).get(split)
        self.num_rows: int | None = (declared and declared.num_examples) if is_streamed else len(table)
        self.skips: list[Skip] = []
        self.can_jump = not is_streamed
        self.group_ends: Sequence[int] = ()
        self._stream: Any = None  # what the last row came from; None if nothing is streamed

    @property
    def state(self) -> str:
        return json.dumps(self._stream.state_dict()) if self._stream else ""

    def rows(self, columns: ColumnMapping, start: Position) -> Iterator[Row | str]:
        """Yield the rows from Arrow data as it is stored: nothing is decoded."""
        table = self._table.select_columns(columns.used())
        stream = table.with_format("arrow") if isinstance(table, datasets.IterableDataset) else None
        if stream:
            if start.state:
                stream.load_state_dict(json.loads(start.state))
            batches = islice(stream.iter(1), 0 if start.state else start.index, None)
        else:
            has_more = start.index < len(table)
            batches = table.skip(start.index).with_format("arrow").iter(BATCH_SIZE) if has_more else iter(())
        for batch in batches:
            self._stream = stream
            yield from to_rows(batch)


Table = HubTable | Tables | Tars


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
        self.can_jump, self.group_ends = table.can_jump, table.group_ends
        self._columns = find_columns(name, table.features, options)
        self.options: Mapping[str, str] = {"config": config} | self._columns.to_json()

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        """Yield the entries from `start` on. Raise InputError if they cannot be read."""
        number = start.index
        try:
            for row in self._table.rows(self._columns, start):
                key = f"{self.split}/{number}"
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
    table: Table = Tars([str(file) for file in splits[split]], options) if kinds == [".tar"] else Tables(splits[split])
    digest = _digest(path if path.is_dir() else path.parent, splits[split])
    dataset = Dataset(table, options, str(path.resolve()), digest, split, config=options.config)
    known = chain.from_iterable(splits.values())
    dataset.skips += [Skip(str(file.relative_to(path)), "in no split") for file in sorted({*files} - {*known})]
    dataset.skips += [Skip(str(file.relative_to(path)), "beside a dataset, not in it") for file in others]
    return dataset


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
    name, commit, licence = f"{HF_DATASETS_PREFIX}{spec}", options.revision, ""
    if not datasets.config.HF_HUB_OFFLINE:
        info: Any = probe(Repo(spec, options.revision or "main", "dataset"))
        licence = str((info.card_data or {}).get("license") or "")
        commit = info.sha
    builder = find_builder(spec, spec, options.config, commit)
    if commit and builder.hash != commit:  # if the hub fails, `datasets` uses any cached commit
        raise InputError("{spec} at {commit} cannot be had: {reason}", spec=spec, commit=commit, reason=NOT_SHOWN)
    if builder.name not in TABLES:  # loose picture files: the library's own reader silently drops some
        _refuse(spec, "one of loose files", options, sorted({*OPTIONS} - {"revision", "streaming", "caption_column"}))
        path = fetch_whole_repo(Repo(spec, builder.hash, "dataset"))
        folder = Folder(path, name, builder.hash, licence, options.caption_column)
        folder.skips = [skip for skip in folder.skips if skip.picture != ".cache"]  # made by the hub's client
        return folder
    splits = [str(split) for split in builder.config.data_files or builder.info.splits or ()]
    split = choose(spec, "split", splits, options.split)
    if builder.name == "webdataset" and not options.streaming:  # the library gives up at one odd member
        table: Table = Tars(builder.config.data_files[split], options, datasets.DownloadManager().download)
    elif options.streaming:
        table = HubTable(builder.as_streaming_dataset(split=split), split)
    else:
        builder.download_and_prepare(verification_mode="no_checks")  # sizes on its card may be outdated
        table = HubTable(builder.as_dataset(split=split), split)
    return Dataset(table, options, name, builder.hash, split, licence, builder.config.name)


def _reason(error: BaseException) -> str:
    if isinstance(error, DatasetNotFoundError):  # though it was found a moment before
        return NOT_SHOWN
    if isinstance(error, ConnectionError) and datasets.config.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not here. Unset it once to fetch it."
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ConnectionError) or type(cause).__module__.split(".")[0] in CLIENTS:
            return str(explain_hub_error(cause, "dataset")).rstrip(".") + "."
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.strerror} ({cause.filename}). See that it can be read and that HF_HOME has room."
        error, cause = cause, cause.__cause__
    return f"its files are damaged or of another kind ({' '.join(str(error).split())[:120]})."
