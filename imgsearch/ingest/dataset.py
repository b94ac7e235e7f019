"""Read a Hugging Face dataset, from the hub or local files, as undecoded pictures."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.exceptions import DatasetNotFoundError
from datasets.packaged_modules.arrow.arrow import Arrow
from datasets.packaged_modules.parquet.parquet import Parquet
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from imgsearch.config import HF_DATASETS_PREFIX
from imgsearch.downloads import fetch_whole_repo
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.hub import Repo, explain_hub_error, probe
from imgsearch.ingest.columns import DatasetOptions, find_columns
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import START, Position
from imgsearch.records import Picture, Skip
from imgsearch.text import without_surrogates

BUILDERS = {".parquet": Parquet, ".arrow": Arrow, ".tar": WebDataset}
TABLES = ("parquet", "arrow", "webdataset", "cache")
KINDS = "a .parquet, .arrow or .tar file"
OPTIONS = [field.name for field in fields(DatasetOptions)]
HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+", re.ASCII)
BATCH_SIZE = 16  # records of a table in memory at once
READ_RETRIES = 4  # give up a lost connection after about two minutes; the default takes nine
CLIENTS = ("huggingface_hub", "httpx", "httpx2")
NOT_SHOWN = "the hub does not give its files. Ask for access on its page and log in (hf auth login), or try later."

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # otherwise each load asks a server, even for local files
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = READ_RETRIES


class Dataset:
    """The records of one split: a `Source`."""

    is_lazy = False  # the pictures are read with their bytes in memory
    listing = ""

    def __init__(
        self,
        table: Any,
        options: DatasetOptions,
        name: str,
        revision: str,
        split: str,
        licence: str = "",
        config: str = "",
    ) -> None:
        """`table`: a Dataset or IterableDataset; the rest: see `Source`. Raise InputError as `find_columns` does."""
        self.name, self.revision, self.split, self.licence = name, revision, split, licence
        self.skips: list[Skip] = []
        is_streamed = isinstance(table, datasets.IterableDataset)
        table = table._resolve_features() if is_streamed else table
        self._columns = find_columns(name, table.features or {}, options)
        self.options: Mapping[str, str] = {"config": config} | self._columns.to_json()
        self._stored = self._columns.stored()
        self._table = table.select_columns(list(self._stored))
        declared = (table.info.splits or {}).get(split)
        self.num_entries: int | None = (declared and declared.num_examples) if is_streamed else len(table)
        self._stream: Any = None  # what the last record came from; None if nothing is streamed

    def read(self, start: Position = START) -> Iterator[Picture | Skip]:
        """Yield the entries from `start` on. Raise InputError if they cannot be read."""
        number = start.index
        try:
            for record in self._records(start):
                yield self._columns.entry(f"{self.split}/{number}", record)
                number += 1
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
        return json.dumps(self._stream.state_dict()) if self._stream else ""

    def _records(self, start: Position) -> Iterator[dict[str, Any]]:
        """Yield the records from Arrow data as it is stored: nothing is decoded."""
        stream = self._table.with_format("arrow") if isinstance(self._table, datasets.IterableDataset) else None
        if stream:
            if start.state:
                stream.load_state_dict(json.loads(start.state))
            tables = islice(stream.iter(1), 0 if start.state else start.index, None)
        else:
            has_more = start.index < len(self._table)
            tables = self._table.skip(start.index).with_format("arrow").iter(BATCH_SIZE) if has_more else iter(())
        for table in tables:
            self._stream = stream
            yield from table.cast(self._stored.arrow_schema).to_pylist()


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
    files = [path] if path.is_file() else [] if saved else _data_files(path)
    if not saved and not files:
        _refuse(spec, "a folder of pictures", options, sorted({*OPTIONS} - {"caption_column"}))
        return Folder(path, caption_column=options.caption_column)
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise InputError(
            "{spec} holds files of several kinds ({kinds}). Put them into a folder each.",
            spec=spec,
            kinds=", ".join(kinds),
        )
    if not saved and kinds[0] not in BUILDERS:
        raise InputError(
            "{spec} is not a folder, nor {kinds}. Give one of these, or ORG/NAME of the hub.", spec=spec, kinds=KINDS
        )
    _refuse(spec, "local", options, ["config", "revision"])
    root = path if path.is_dir() else path.parent
    digest = _digest(root, sorted(file for file in path.rglob("*") if file.is_file()) if saved else files)
    tables = _load_saved(path) if saved else _load_files(files, BUILDERS[kinds[0]], digest)
    split = _choose(spec, "split", list(tables), options.split)
    return Dataset(tables[split], options, str(path.resolve()), digest, split)


def _refuse(spec: str, what: str, options: DatasetOptions, names: list[str]) -> None:
    for name in names:
        if getattr(options, name) != getattr(DatasetOptions, name):
            flag = "--" + name.replace("_", "-")
            raise InputError(
                "{flag} does not go with {spec}: it is {what}. Leave {flag} out.", flag=flag, spec=spec, what=what
            )


def _data_files(folder: Path) -> list[Path]:
    """Return the files of a folder if all but README.md and hidden ones are data files, otherwise []."""
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".") and name != "README.md"):
            if path.suffix.lower() not in BUILDERS:
                return []
            files.append(path)
    return sorted(files)


def _digest(root: Path, files: list[Path]) -> str:
    entries = [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _load_saved(folder: Path) -> dict[str, Any]:
    saved = datasets.load_from_disk(str(folder), keep_in_memory=False)
    return dict(saved) if isinstance(saved, dict) else {str(saved.split or "train"): saved}


def _load_files(files: list[Path], builder: Any, digest: str) -> dict[str, Any]:
    paths = DataFilesList([str(path.resolve()) for path in files], [(digest,)])  # not patterns: a path may contain [ ]
    stream = builder(data_files=DataFilesDict(train=paths)).as_streaming_dataset(split="train")
    return {"train": stream.reshard()}  # Parquet by row groups: or a whole file is read into memory


def _open_hub(spec: str, options: DatasetOptions) -> Folder | Dataset:
    name, commit, licence = f"{HF_DATASETS_PREFIX}{spec}", options.revision, ""
    if not datasets.config.HF_HUB_OFFLINE:
        info: Any = probe(Repo(spec, options.revision or "main", "dataset"))
        licence = str((info.card_data or {}).get("license") or "")
        commit = info.sha
    try:
        builder = datasets.load_dataset_builder(spec, options.config or None, revision=commit or None)
    except ValueError:
        _choose(spec, "config", datasets.get_dataset_config_names(spec, revision=commit or None), options.config)
        raise
    if commit and builder.hash != commit:  # if the hub fails, `datasets` uses any cached commit
        raise InputError("{spec} at {commit} cannot be had: {reason}", spec=spec, commit=commit, reason=NOT_SHOWN)
    if builder.name not in TABLES:  # loose picture files: the library's own reader silently drops some
        _refuse(spec, "one of loose files", options, sorted({*OPTIONS} - {"revision", "streaming", "caption_column"}))
        path = fetch_whole_repo(Repo(spec, builder.hash, "dataset"))
        folder = Folder(path, name, builder.hash, licence, options.caption_column)
        folder.skips = [skip for skip in folder.skips if skip.picture != ".cache"]  # made by the hub's client
        return folder
    splits = [str(split) for split in builder.config.data_files or builder.info.splits or ()]
    split = _choose(spec, "split", splits, options.split)
    # Stream WebDataset: as_dataset() stores a member whose name equals a local file as that path, not its bytes.
    if options.streaming or builder.name == "webdataset":
        table = builder.as_streaming_dataset(split=split)
    else:
        builder.download_and_prepare(verification_mode="no_checks")  # sizes on its card may be outdated
        table = builder.as_dataset(split=split)
    return Dataset(table, options, name, builder.hash, split, licence, builder.config.name)


def _choose(name: str, what: str, names: list[str], wanted: str) -> str:
    """Return the wanted name, or the only name. Raise InputError if it does not exist or is ambiguous."""
    if wanted in names or (not wanted and len(names) == 1):
        return wanted or names[0]
    problem = f"has no {what} {wanted!r}" if wanted else f"has several {what}s"
    raise InputError(
        "{name} {problem}. Choose with --{what} one of: {names}.",
        name=name,
        problem=problem,
        what=what,
        names=", ".join(names),
    )


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
