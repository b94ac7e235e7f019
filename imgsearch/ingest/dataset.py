"""A Hugging Face dataset, of the hub or of local files, as undecoded pictures. The only home of `datasets`."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from datasets.data_files import DataFilesDict, DataFilesList
from datasets.exceptions import DatasetNotFoundError
from datasets.packaged_modules.arrow.arrow import Arrow
from datasets.packaged_modules.parquet.parquet import Parquet
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from imgsearch.errors import ImgsearchError, InputError
from imgsearch.hub import Repo, explain_hub_error, fetch_whole_repo, probe
from imgsearch.ingest.columns import DatasetOptions, find_columns
from imgsearch.ingest.folder import Folder
from imgsearch.records import Picture, Skip

BUILDERS = {".parquet": Parquet, ".arrow": Arrow, ".tar": WebDataset}
TABLES = ("parquet", "arrow", "webdataset", "cache")
KINDS = "a .parquet, .arrow or .tar file"
OPTIONS = [field.name for field in fields(DatasetOptions)]
DATASET_PREFIX = "hf://datasets/"
HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+", re.ASCII)
BATCH_SIZE = 16  # rows of a table that are in memory at once
READ_RETRIES = 4  # a connection that is gone is given up after about two minutes, not nine
CLIENTS = ("huggingface_hub", "httpx", "httpx2")
NOT_SHOWN = "the hub does not give its files. Ask for access on its page and log in (hf auth login), or try later."

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # else each loading, of local files too, asks a server
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = READ_RETRIES


@dataclass(frozen=True)
class DatasetInfo:
    """What a manifest says of a dataset."""

    name: str  # hf://datasets/ORG/NAME, or a path
    revision: str  # the commit; of local files a digest of their names, sizes and times
    split: str = "train"
    licence: str = ""
    config: str = ""


class Dataset:
    """The rows of one split."""

    is_lazy = False  # what comes has its bytes in memory
    listing = ""

    def __init__(self, table: Any, origin: DatasetInfo, options: DatasetOptions) -> None:
        """`table`: a Dataset or an IterableDataset. Raises InputError where a column is missing or is to be chosen."""
        self.name, self.revision, self.split, self.licence = origin.name, origin.revision, origin.split, origin.licence
        self.skips: list[Skip] = []
        self._is_streamed = isinstance(table, datasets.IterableDataset)
        with _translating_errors(self.name):
            table = table._resolve_features() if self._is_streamed else table
        asked = (options.image_column, options.caption_column, options.columns, options.id_column)
        self._columns = find_columns(self.name, table.features or {}, *asked)
        self.options = {"config": origin.config} | self._columns.to_json()
        self._stored = self._columns.stored()
        self._table = table.select_columns(list(self._stored))
        splits = table.info.splits or {}
        known = splits[self.split].num_examples if self.split in splits else None
        self.num_entries: int | None = known if self._is_streamed else len(table)
        self._stream: Any = None
        self._started = ""  # the state that reading was given

    def read(self, start: int = 0, state: str = "") -> Iterator[Picture | Skip]:
        """The entries from number `start` on; `state` is what `state()` gave after as many. Raises InputError."""
        self._stream, self._started = None, state
        return self._entries(start, self._stream_rows(start, state) if self._is_streamed else self._table_rows(start))

    def _entries(self, number: int, rows: Iterator[dict[str, Any]]) -> Iterator[Picture | Skip]:
        try:
            for row in rows:
                yield self._columns.entry(f"{self.split}/{number}", row)
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
        """Where reading stands, for `read`; "" where the number of entries is enough."""
        return json.dumps(self._stream.state_dict()) if self._stream else self._started

    def _stream_rows(self, start: int, state: str) -> Iterator[dict[str, Any]]:
        stream = self._table.cast(self._stored)
        if state:
            stream.load_state_dict(json.loads(state))
        for row in islice(stream, 0 if state else start, None):
            self._stream = stream
            yield row

    def _table_rows(self, start: int) -> Iterator[dict[str, Any]]:
        if start >= len(self._table):
            return
        rest = self._table.skip(start).with_format("arrow")  # as it is, nothing decoded
        for table in rest.iter(BATCH_SIZE):
            yield from table.cast(self._stored.arrow_schema).to_pylist()


def open_source(spec: str, options: DatasetOptions) -> Folder | Dataset:
    """The pictures that `spec` names: a folder, local data files, a folder of save_to_disk, ORG/NAME on the hub.

    Raises InputError where it names nothing, cannot be read, or leaves a choice that only the user can make.
    """
    path = Path(spec)
    if spec.encode(errors="replace").decode() != spec:
        raise InputError("The path {spec!r} is not UTF-8. Rename it.", spec=spec)
    with _translating_errors(spec):
        return _open(path, spec, options)


def _open(path: Path, spec: str, options: DatasetOptions) -> Folder | Dataset:
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
        _refuse(spec, "a folder of pictures", options, OPTIONS)
        return Folder(path)
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
    with _translating_errors(spec):
        tables = _load_saved(path) if saved else _load_files(files, BUILDERS[kinds[0]], digest)
        split = _choose(spec, "split", list(tables), options.split)
    return Dataset(tables[split], DatasetInfo(str(path.resolve()), digest, split), options)


def _refuse(spec: str, what: str, options: DatasetOptions, names: list[str]) -> None:
    for name in names:
        if getattr(options, name) != getattr(DatasetOptions, name):
            flag = "--" + name.replace("_", "-")
            raise InputError(
                "{flag} does not go with {spec}: it is {what}. Leave {flag} out.", flag=flag, spec=spec, what=what
            )


def _data_files(folder: Path) -> list[Path]:
    """The files of a folder where all that are seen are data files; else none."""
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".") and name != "README.md"):
            if path.suffix.lower() not in BUILDERS:
                return []
            files.append(path)
    return sorted(files)


def _digest(root: Path, files: list[Path]) -> str:
    facts = [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _load_saved(folder: Path) -> dict[str, Any]:
    saved = datasets.load_from_disk(str(folder), keep_in_memory=False)
    return dict(saved) if isinstance(saved, dict) else {str(saved.split or "train"): saved}


def _load_files(files: list[Path], builder: Any, digest: str) -> dict[str, Any]:
    paths = DataFilesList([str(path.resolve()) for path in files], [(digest,)])  # not as patterns: [ ] are letters
    stream = builder(data_files=DataFilesDict(train=paths)).as_streaming_dataset(split="train")
    return {"train": stream.reshard()}  # Parquet by row groups: else a file of any size is read ahead into memory


def _open_hub(spec: str, options: DatasetOptions) -> Folder | Dataset:
    commit, licence = options.revision, ""
    if not datasets.config.HF_HUB_OFFLINE:
        info: Any = probe(Repo(spec, options.revision or "main", "dataset"))
        licence = str((info.card_data or {}).get("license") or "")
        commit = info.sha
    with _translating_errors(spec):
        try:
            builder = datasets.load_dataset_builder(spec, options.config or None, revision=commit or None)
        except ValueError:
            _choose(spec, "config", datasets.get_dataset_config_names(spec, revision=commit or None), options.config)
            raise
    if commit and builder.hash != commit:  # where the hub fails, `datasets` takes any commit that its cache has
        raise InputError("{spec} at {commit} cannot be had: {reason}", spec=spec, commit=commit, reason=NOT_SHOWN)
    if builder.name not in TABLES:  # but loose pictures, of which the library's own reader loses some silently
        _refuse(spec, "one of loose files", options, sorted({*OPTIONS} - {"revision", "streaming"}))
        folder = Folder(
            fetch_whole_repo(Repo(spec, builder.hash, "dataset")), f"{DATASET_PREFIX}{spec}", builder.hash, licence
        )
        folder.skips = [skip for skip in folder.skips if skip.picture != ".cache"]  # of the client
        return folder
    splits = [str(name) for name in builder.config.data_files or builder.info.splits or ()]
    split = _choose(spec, "split", splits, options.split)
    with _translating_errors(spec):
        # In a table, a tar's picture whose name is also that of a file here would become a mere path.
        if options.streaming or builder.name == "webdataset":
            table = builder.as_streaming_dataset(split=split)
        else:
            builder.download_and_prepare(verification_mode="no_checks")  # of the card's numbers, which may be old
            table = builder.as_dataset(split=split)
    origin = DatasetInfo(f"{DATASET_PREFIX}{spec}", builder.hash, split, licence, builder.config.name)
    return Dataset(table, origin, options)


def _choose(name: str, what: str, names: list[str], wanted: str) -> str:
    """The wanted one of the names, or the only one there is. Raises InputError."""
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


@contextmanager
def _translating_errors(name: str) -> Iterator[None]:
    """Raises InputError with the reason for any error."""
    try:
        yield
    except ImgsearchError:
        raise
    except Exception as error:
        raise InputError("{name} cannot be read: {reason}", name=name, reason=_reason(error)) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, DatasetNotFoundError):  # though it was there a moment before
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
