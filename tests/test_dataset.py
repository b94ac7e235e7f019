"""Hugging Face datasets, local and of a hub: every row comes out as an undecoded picture or is reported."""

import datetime
import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Image, List, Value
from huggingface_hub import constants
from huggingface_hub.utils import _detect_agent
from loopback_hub import Cut, Hang, LoopbackHub, Status
from PIL import Image as Pillow

from imgsearch.dataset import Dataset, DatasetOptions, open_source
from imgsearch.errors import InputError
from imgsearch.folder import Folder
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


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("huggingface_hub.file_download", "huggingface_hub.utils._http", "datasets.utils.file_utils"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    monkeypatch.setattr(_detect_agent, "_registry", {})


@pytest.fixture
def source(hub: LoopbackHub, tmp_path: Path) -> Callable[[str], str]:
    """Makes a source of a kind that holds all rows."""

    def make(kind: str) -> str:
        folder = tmp_path / "my[data]" / "of __mine__"
        if kind == "saved":
            datasets.Dataset(table_of(ROWS)).save_to_disk(folder)
        elif kind.startswith("hub"):
            write(kind.split()[1], folder / "data", "train")
            (folder / "README.md").write_text(f"---\nlicense: cc0-1.0\n---\n{tmp_path}\n")
            hub.add(NAME, folder, "dataset")
        else:
            write(kind, folder)
        return NAME if kind.startswith("hub") else str(folder)

    return make


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


def keeping(kind: str) -> dict[str, Any]:
    return {"columns": ("cls",)} if "tar" in kind else KEEP


def whole(kind: str) -> list[Any]:
    """What comes of a kind: a tar has no names for its classes."""
    texts = [{"cls": str(i % 2)} if "tar" in kind else columns for i, (*_, columns) in enumerate(WHOLE)]
    return [(*entry[:3], columns) for entry, columns in zip(WHOLE, texts, strict=True)]


LOCAL = ["parquet", "arrow", "tar", "saved"]
HUB = ["hub parquet", "hub tar", "hub parquet streamed", "hub arrow streamed", "hub tar streamed"]


@pytest.mark.parametrize("kind", [*LOCAL, *HUB])
def test_every_row_comes_and_reading_goes_on_where_it_stood(source: Callable[[str], str], kind: str) -> None:
    spec = source(kind)
    options = {**keeping(kind), "streaming": "streamed" in kind}
    expected = whole(kind)
    opened = open_(spec, **options)
    assert [facts(entry) for entry in opened.read()] == expected and opened.split == "train"
    for position in (0, 1, 9, 10, 17, NUM_ROWS):
        entries = opened.read()
        for _ in range(position):
            next(entries)
        state = opened.state()
        again = open_(spec, **options)
        assert (again.revision, again.options) == (opened.revision, opened.options)
        assert [facts(entry) for entry in again.read(position, state)] == expected[position:]
        assert [facts(entry) for entry in again.read(position)] == expected[position:]
        assert bool(state) == (position > 0 and opened.num_entries is None)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_connection_that_dies_once(hub: LoopbackHub, source: Callable[[str], str], streaming: bool) -> None:
    spec = source("hub parquet")
    hub.fault = Cut(900, "data/train-00001-of-00003.parquet", once=True)
    opened = open_(spec, streaming=streaming, **KEEP)
    assert [facts(entry) for entry in opened.read()] == WHOLE
    assert hub.fault is None, "nothing was cut"
    assert opened.name == f"hf://datasets/{NAME}" and opened.revision == hub.commit(f"datasets/{NAME}")
    assert opened.licence == "cc0-1.0" and opened.num_entries == (None if streaming else NUM_ROWS)


def test_what_is_before_is_not_fetched_again(hub: LoopbackHub, source: Callable[[str], str]) -> None:
    spec = source("hub parquet")
    entries = (opened := open_(spec, streaming=True)).read()
    for _ in range(12):
        next(entries)
    state, again = opened.state(), open_(spec, streaming=True)
    hub.requests.clear()
    assert len(list(again.read(12, state))) == NUM_ROWS - 12
    assert {request.path.rsplit("/")[-1][:11] for request in hub.requests} == {"train-00001", "train-00002"}


def test_a_connection_that_is_gone(hub: LoopbackHub, source: Callable[[str], str]) -> None:
    entries = open_(source("hub parquet"), streaming=True).read()
    first = next(entries)
    hub.fault = Cut(0, "data/train-00002-of-00003.parquet")
    with pytest.raises(InputError, match="broke off after 20 entries: the connection .* last finished shard"):
        list(entries)
    assert isinstance(first, Picture)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = write("parquet", tmp_path / "data") / "part-00001-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:4] + bytes(800) + path.read_bytes()[804:])
    assert "broke off after 10 entries: its files are damaged" in refusal(path.parent)
    path.write_bytes(b"x" * 99)
    assert "damaged" in refusal(path)


def test_a_local_source_is_one_as_long_as_its_files_are(source: Callable[[str], str]) -> None:
    folder = Path(source("parquet"))
    path = sorted(folder.iterdir())[0]
    (folder / "README.md").touch()
    (folder / ".hidden").touch()
    before, opened = open_(path).revision, open_(folder)
    assert opened.name == str(folder.resolve()) and len(all_of(path)) == 10
    os.utime(path, ns=(1, 1))
    assert open_(path).revision != before and open_(folder).revision != opened.revision


def test_splits_are_asked_about(hub: LoopbackHub, tmp_path: Path) -> None:
    parts = {"train": datasets.Dataset(table_of(ROWS[:3])), "test": datasets.Dataset(table_of(ROWS[3:]))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    for split, table in parts.items():
        (tmp_path / "hub" / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table.data.table, tmp_path / "hub" / "data" / f"{split}-00000-of-00001.parquet")
    hub.add(NAME, tmp_path / "hub", "dataset")
    for spec in (tmp_path / "saved", NAME):
        assert "several splits. Choose with --split one of: train, test" in refusal(spec)
        assert "no split 'dev'. Choose with --split one of: train, test" in refusal(spec, split="dev")
        assert [entry[:2] for entry in all_of(spec, split="test")][0] == ("test/0", DATA[3])


def test_configs_are_asked_about(hub: LoopbackHub, tmp_path: Path) -> None:
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*\n" for name in ("one", "two"))
    for name in ("one", "two"):
        write("parquet", tmp_path / name)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    hub.add(NAME, tmp_path, "dataset")
    assert "several configs. Choose with --config one of: one, two" in refusal(NAME)
    assert "no config 'x'. Choose with --config one of: one, two" in refusal(NAME, config="x")
    opened = open_(NAME, config="two", streaming=True)
    assert opened.options["config"] == "two" and len(list(opened.read())) == NUM_ROWS


def test_a_revision_is_pinned(hub: LoopbackHub, source: Callable[[str], str], tmp_path: Path) -> None:
    source("hub parquet")
    first = hub.commit(f"datasets/{NAME}")
    write_rows(tmp_path / "train-00000-of-00001.parquet", ROWS[:2], FEATURES)
    shutil.rmtree(tmp_path / "my[data]")
    second = hub.add(NAME, tmp_path, "dataset")
    assert len(all_of(NAME)) == 2 and open_(NAME).revision == second
    opened = open_(NAME, revision=first)
    assert opened.revision == first and len(list(opened.read())) == NUM_ROWS
    assert "tiny/pictures@v9 cannot be had: the hub knows no such dataset or revision" in refusal(NAME, revision="v9")


KINDS: dict[str, Any] = {
    "image": Image(), "thumb": Value("binary"), "text": Value("string"), "title": Value("large_string"),
    "texts": List(Value("string")), "label": ClassLabel(names=["cat", "dog"]), "year": Value("int64"),
    "day": Value("date32"), "key": Value("string"), "__note": Value("string"),
}  # fmt: skip


def kinds_file(folder: Path, *columns: str, **values: Any) -> Path:
    row = {
        "image": {"bytes": DATA[0], "path": None}, "thumb": DATA[1], "text": "a", "title": "b", "texts": ["c", "d"],
        "label": 1, "year": 1999, "day": datetime.date(2001, 2, 3), "key": "k", "__note": "n",
    } | values  # fmt: skip
    return write_rows(folder / "x.parquet", [{name: row[name] for name in columns}], {n: KINDS[n] for n in columns})


@pytest.mark.parametrize(
    ("columns", "options", "data", "caption", "kept"),
    [
        ("image thumb year label __note", {}, DATA[0], "", {}),
        ("thumb text", {}, DATA[1], "a", {}),
        ("image thumb title", {"image_column": "thumb"}, DATA[1], "b", {}),
        ("image texts", {}, DATA[0], "c", {}),
        ("image text title", {"caption_column": "title"}, DATA[0], "b", {}),
        ("image text title", {"caption_column": ""}, DATA[0], "", {}),
        ("image text title", {"columns": ("text",)}, DATA[0], "b", {"text": "a"}),
        ("image text label", {"caption_column": "label"}, DATA[0], "dog", {}),
        (
            "image label year day texts",
            {"columns": ("year", "day", "label", "texts")},
            DATA[0],
            "",
            {"year": "1999", "day": "2001-02-03", "label": "dog", "texts": '["c","d"]'},
        ),
    ],
)
def test_columns(tmp_path: Path, columns: str, options: Any, data: bytes, caption: str, kept: Any) -> None:
    path = kinds_file(tmp_path, *columns.split())
    assert all_of(path, **options) == [("train/0", data, caption, kept)]
    empty = kinds_file(tmp_path, *columns.split(), **dict.fromkeys(("text", "title", "texts", "label", "year", "day")))
    assert all_of(empty, **options) == [("train/0", data, "", dict.fromkeys(kept, ""))]


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ("image text title", {}, 'Choose with --caption-column: text, title; or give --caption-column "" for none'),
        ("text year", {}, "no column of pictures. Its columns are: text, year"),
        ("image text", {"image_column": "text"}, "holds no pictures"),
        ("image text", {"columns": ("a", "b")}, "no column 'a'. Its columns are: image, text"),
        ("image text", {"caption_column": "caption"}, "no column 'caption'"),
        ("image thumb", {"columns": ("thumb",)}, "'thumb' of"),
        ("image text", {"id_column": "image"}, "holds no text"),
    ],
)
def test_columns_are_asked_about(tmp_path: Path, columns: str, options: Any, words: str) -> None:
    assert words in refusal(kinds_file(tmp_path, *columns.split()), **options)


def test_two_columns_of_pictures(tmp_path: Path) -> None:
    row = {"one": {"bytes": DATA[0]}, "two": {"bytes": DATA[1]}}
    path = write_rows(tmp_path / "x.parquet", [row], {"one": Image(), "two": Image()})
    assert "Choose with --image-column: one, two." in refusal(path)
    assert all_of(path, image_column="two") == [("train/0", DATA[1], "", {})]


def test_ids_of_a_column(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": DATA[0]}, "key": key} for key in ("k", "", None, "é")]
    path = write_rows(tmp_path / "x.parquet", rows, {"image": Image(), "key": Value("string")})
    first, *empty, last = all_of(path, id_column="key")
    assert (first[0], last[0]) == ("k", "é") and first[2] == ""
    assert empty == [Skip("train/1", "its key is empty"), Skip("train/2", "its key is empty")]


def test_a_text_that_is_no_utf8(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    table = table_of(ROWS[:1]).select(["image"]).append_column("text", broken)
    pq.write_table(table, tmp_path / "x.parquet")
    datasets.Dataset(table).save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "x.parquet", tmp_path / "saved"):
        assert all_of(path) == [("train/0", DATA[0], "a\N{REPLACEMENT CHARACTER}", {})]


def test_no_path_is_opened(hub: LoopbackHub, tmp_path: Path) -> None:
    paths = ["/etc/passwd", f"hf://datasets/{NAME}/README.md", None]
    rows = [{"image": {"bytes": None, "path": path}} for path in paths] + [{"image": None}, {"image": {"bytes": b""}}]
    (tmp_path / "hub").mkdir()
    path = write_rows(tmp_path / "hub" / "train.parquet", [*rows, ROWS[0]], {"image": Image()})
    datasets.Dataset(pq.read_table(path)).save_to_disk(tmp_path / "saved")
    hub.add(NAME, tmp_path / "hub", "dataset")
    opened = [open_(path), open_(tmp_path / "saved"), open_(NAME), open_(NAME, streaming=True)]
    hub.requests.clear()
    for source in opened:
        *skips, last = source.read()
        assert [skip.picture for skip in skips if isinstance(skip, Skip)] == [f"train/{i}" for i in range(5)]
        assert ["a path, which is not opened" in str(skip) for skip in skips] == [True, True, False, False, False]
        assert facts(last)[:2] == ("train/5", DATA[0])
    assert not any("README" in request.path for request in hub.requests)


def test_a_tar_beside_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` replaces bytes by the path where a file of that name is here."""
    write_tar(ROWS[:1], tmp_path / "x.tar", 0)
    (tmp_path / "0000.png").write_bytes(b"another")
    monkeypatch.chdir(tmp_path)
    assert [entry[1] for entry in all_of("x.tar")] == [DATA[0]]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Status(404), "no such dataset or revision (404)"),
        (Status(401), "no such dataset, or does not show it to you"),
        (Status(403, "/resolve/", (("X-Error-Code", "GatedRepo"),)), "Ask for access"),
        (Status(429), "too many requests"),
        (Hang(), "did not answer within 3 s"),
        (None, "Check the network"),
    ],
    ids=repr,
)
def test_a_hub_that_does_not_give_it(
    hub: LoopbackHub, source: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, fault: Any, words: str
) -> None:
    source("hub parquet")
    hub.fault = fault
    if not fault:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert words in refusal(NAME, streaming=True)


def test_offline(hub: LoopbackHub, source: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_(source("hub parquet"), **KEEP)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    again = open_(NAME, **KEEP)
    assert again.revision == before.revision and [facts(entry) for entry in again.read()] == WHOLE
    assert "HF_HUB_OFFLINE is set" in refusal("tiny/other")
    assert not hub.requests


def test_a_hub_dataset_of_loose_files(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_bytes(DATA[0])
    hub.add(NAME, tmp_path, "dataset")
    assert f"hf download {NAME} --repo-type dataset --local-dir FOLDER" in refusal(NAME)


def test_a_folder_of_pictures_is_walked(folder: Path) -> None:
    opened = open_source(str(folder), DatasetOptions())
    assert isinstance(opened, Folder) and opened.num_entries == 6
    for options in ({"split": "train"}, {"columns": ("a",)}, {"caption_column": ""}, {"streaming": True}):
        flag = "--" + next(iter(options)).replace("_", "-")
        assert f"{flag} does not go with" in refusal(folder, **options)


def test_what_is_no_source(folder: Path, tmp_path: Path) -> None:
    for spec in (folder / "none", folder / "coffee.jpg", "a/b/c", "./x/y", "~x/y", "one"):
        assert "is not a folder" in refusal(spec)
    for kind in ("parquet", "tar"):
        write(kind, tmp_path / "mixed")
    assert "several kinds (.parquet, .tar)" in refusal(tmp_path / "mixed")
    assert "--revision does not go with" in refusal(tmp_path / "mixed" / "part-00000-of-00003.tar", revision="main")
