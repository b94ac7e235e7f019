"""Tiny datasets in files of every kind, and what comes of them."""

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Image, Value
from PIL import Image as Pillow

from imgsearch.errors import InputError
from imgsearch.ingest.columns import DatasetOptions
from imgsearch.ingest.dataset import Dataset, open_source
from imgsearch.records import Picture, Skip

NUM_ROWS, CORRUPT = 24, 11
FEATURES = Features(image=Image(), text=Value("string"), label=ClassLabel(names=["cat", "dog"]))
NAME = "tiny/pictures"


def picture_bytes(number: int) -> bytes:
    if number == CORRUPT:
        return b"no picture"
    stream = io.BytesIO()
    Pillow.new("RGB", (8, 8), (number * 9, 0, 99)).save(stream, "PNG")
    return stream.getvalue()


NAME = "tiny/pictures"  # on the hub
DATA = [picture_bytes(number) for number in range(NUM_ROWS)]
ROWS = [{"image": {"bytes": DATA[i], "path": None}, "text": f"text {i}", "label": i % 2} for i in range(NUM_ROWS)]
WHOLE = [(f"train/{i}", DATA[i], f"text {i}", {"label": ["cat", "dog"][i % 2]}) for i in range(NUM_ROWS)]
KEEP = {"columns": ("label",)}


def table_of(rows: list[dict[str, Any]], features: Features = FEATURES) -> pa.Table:
    return pa.Table.from_pylist(rows, features.arrow_schema)


def write_tar(rows: list[dict[str, Any]], path: Path, first: int) -> None:
    with tarfile.open(path, "w") as tar:
        for number, row in enumerate(rows, first):
            members = {"png": row["image"]["bytes"], "txt": row["text"].encode(), "cls": b"%d" % row["label"]}
            for kind, data in members.items():
                member = tarfile.TarInfo(f"{number:04}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write(kind: str, folder: Path, stem: str = "part") -> Path:
    """All rows in three files of 10, 10 and 4, each of several chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, NUM_ROWS, 10)):
        rows = ROWS[first : first + 10]
        path = folder / f"{stem}-{number:05}-of-00003.{kind}"
        if kind == "parquet":
            pq.write_table(table_of(rows), path, row_group_size=3)
        elif kind == "arrow":
            with pa.ipc.new_stream(path, FEATURES.arrow_schema) as stream:
                stream.write_table(table_of(rows), max_chunksize=3)
        else:
            write_tar(rows, path, first)
    return folder


def open_(spec: str | Path, **options: Any) -> Dataset:
    opened = open_source(str(spec), DatasetOptions(**options))
    assert isinstance(opened, Dataset) and not opened.is_lazy and not opened.skips
    return opened


def facts(entry: Picture | Skip) -> Any:
    return (entry.id, entry.read(), entry.caption, dict(entry.columns)) if isinstance(entry, Picture) else entry


def all_of(spec: str | Path, **options: Any) -> list[Any]:
    return [facts(entry) for entry in open_(spec, **options).read()]


def refusal(spec: str | Path, **options: Any) -> str:
    """What the user is told: one plain sentence, within seconds."""
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        all_of(spec, **options)
    message = str(caught.value)
    assert time.monotonic() - start < 5 and len(message) < 400
    assert not any(word in message for word in ("\n", "http", "Traceback", "MODEL"))
    return message


def write_rows(path: Path, rows: list[dict[str, Any]], features: dict[str, Any]) -> Path:
    pq.write_table(table_of(rows, Features(features)), path)
    return path
