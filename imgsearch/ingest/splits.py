"""Find the files of a dataset, and the config and split to read."""

import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import datasets
from pydantic import BaseModel, Field, TypeAdapter

from imgsearch.errors import InputError
from imgsearch.ingest.columns import DatasetOptions

ENDING = re.compile(r"(\.parquet|\.arrow|\.tar)(\.gz)?", re.IGNORECASE)
BESIDE = re.compile(  # what often stands beside the files of a dataset
    r"(readme|licen[cs]e|copying|notice|citation|authors|metadata\.parquet).*|.*\.(md|txt|jsonl?|ya?ml|py|csv|tsv|html?)",
    re.IGNORECASE,
)
Name = Annotated[str, Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")]  # of a file or folder that lies in another


class _State(BaseModel):
    """Hold what `datasets` writes as state.json."""

    files: list[dict[Literal["filename"], Name]] = Field(alias="_data_files")
    split: str | None = Field(default=None, alias="_split")


SPLITS = TypeAdapter(dict[Literal["splits"], list[Name]])  # of dataset_dict.json


def ending(file: Path) -> str:
    """Return ".parquet", ".arrow" or ".tar"; "" if the name has none of these endings."""
    match = ENDING.fullmatch("".join(file.suffixes[-2:])) or ENDING.fullmatch(file.suffix)
    return match[1].lower() if match else ""


def data_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the tables or tars of a folder, and the other files but hidden ones and what usually stands beside."""
    files: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".") and not BESIDE.fullmatch(name)):
            (files if ending(path) else others).append(path)
    return sorted(files), sorted(others)


def find_splits(folder: Path, files: list[Path], options: DatasetOptions) -> dict[str, list[Path]]:
    """Return the files of each split: by the README, or else by the hub's rules for the names of files and folders."""
    with TemporaryDirectory() as name:  # of the names: in a path the library takes [ ] for a pattern
        copy, readme = Path(name).resolve(), Path(name, "README.md")
        for file in (copy / file.relative_to(folder) for file in files):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        with suppress(OSError):
            if (text := (folder / readme.name).read_bytes()).startswith(b"---"):
                readme.write_bytes(text)
        for _ in range(2):
            try:
                found = find_builder(str(folder), name, options.config).config.data_files
                inner = {str(split): [Path(file) for file in found[split]] for split in found}
                return {
                    split: [folder / file.relative_to(copy) for file in paths if file.is_relative_to(copy)]
                    for split, paths in inner.items()
                }
            except InputError:
                raise
            except Exception:  # the README is damaged, or names files that are not there
                readme.unlink(missing_ok=True)
    return {"train": files}


def saved_splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split of a folder of `save_to_disk`. Raise ValueError or OSError if it is none."""
    if (folder / "dataset_dict.json").is_file():
        names = SPLITS.validate_json((folder / "dataset_dict.json").read_bytes())["splits"]
        return {name: [file for files in saved_splits(folder / name).values() for file in files] for name in names}
    state = _State.model_validate_json((folder / "state.json").read_bytes())
    return {state.split or "train": [folder / file["filename"] for file in state.files]}


def find_builder(spec: str, name: str, config: str, commit: str = "") -> Any:
    """Return the library's builder. Raise InputError if the user must choose another config."""
    try:
        return datasets.load_dataset_builder(name, config or None, revision=commit or None)
    except ValueError:
        choose(spec, "config", datasets.get_dataset_config_names(name, revision=commit or None), config)
        raise


def choose(name: str, what: str, names: list[str], wanted: str) -> str:
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
