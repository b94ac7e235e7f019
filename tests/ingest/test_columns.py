"""Columns are found by their types, asked about where there is a choice, and kept as text."""

import datetime
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Image, List, Value

from imgsearch.records import Skip
from tests.helpers.loopback_hub import LoopbackHub
from tests.helpers.tiny_datasets import DATA, NAME, ROWS, all_of, facts, open_, refusal, table_of, write_rows, write_tar

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
    for name, texts in (("one", broken), ("several", pa.ListArray.from_arrays([0, 1], broken))):
        table = table_of(ROWS[:1]).select(["image"]).append_column("text", texts)
        pq.write_table(table, tmp_path / f"{name}.parquet")
        datasets.Dataset(table).save_to_disk(tmp_path / name)
        for path in (tmp_path / f"{name}.parquet", tmp_path / name):
            assert all_of(path) == [("train/0", DATA[0], "a\N{REPLACEMENT CHARACTER}", {})]


def test_no_path_is_opened(hub: LoopbackHub, tmp_path: Path) -> None:
    paths = ["/etc/passwd", f"hf://datasets/{NAME}/README.md", None]
    rows = [{"image": {"bytes": None, "path": path}} for path in paths] + [{"image": None}, {"image": {"bytes": b""}}]
    (tmp_path / "hub").mkdir()
    path = write_rows(tmp_path / "hub" / "train.parquet", [*rows, ROWS[0]], {"image": Image()})
    hub.add(NAME, tmp_path / "hub", "dataset")
    opened = [open_(path), open_(NAME), open_(NAME, streaming=True)]
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


def test_columns_of_several_files(tmp_path: Path) -> None:
    """Types are those of all files; what is not used may differ; a clash is named."""
    image = pa.array([{"bytes": DATA[0], "path": None}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    files: list[dict[str, Any]] = [
        {"image": image, "text": pa.nulls(1), "year": [1]},
        {"image": image, "text": ["a"], "year": [1.5], "odd": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8()))},
        {"text": pa.array(["b"]).dictionary_encode(), "image": [DATA[1]], "year": ["x"]},
        {"image": image, "text": pa.array([], pa.string())},
        {"image": image},
    ]
    for number, columns in enumerate(files):
        count = len(columns.get("text", "x"))
        pq.write_table(
            pa.table({name: column[:count] for name, column in columns.items()}), tmp_path / f"{number}.parquet"
        )
    found = [(entry[0], entry[2], entry[3]) for entry in all_of(tmp_path, columns=("year",))]
    years, texts = ("1", "1.5", "x", ""), ("", "a", "b", "")
    assert found == [(f"train/{n}", texts[n], {"year": years[n]}) for n in range(4)]
    pq.write_table(pa.table({"image": [1], "text": ["c"]}), tmp_path / "9.parquet")
    assert "The column 'image' of 9.parquet holds no pictures" in refusal(tmp_path)
    pq.write_table(pa.table({"image": image, "text": [b"c"]}), tmp_path / "9.parquet")
    assert "The column 'text' of 9.parquet holds no text" in refusal(tmp_path)


STRUCT = {"raw": Value("string"), "tokens": List(Value("string"))}
SENTENCE = {"raw": "a cat", "tokens": ["a", "cat"]}


@pytest.mark.parametrize(
    ("feature", "value", "options", "caption", "kept"),
    [
        (STRUCT, SENTENCE, {}, "a cat", {}),
        (STRUCT, SENTENCE, {"caption_column": "texts"}, "a cat", {}),
        (STRUCT, SENTENCE, {"columns": ("texts.tokens",)}, "a cat", {"texts.tokens": '["a","cat"]'}),
        (STRUCT, SENTENCE, {"caption_column": "texts.tokens"}, "a", {}),
        (List(STRUCT), [SENTENCE, SENTENCE], {}, "a cat", {}),
        (List(STRUCT), [], {"caption_column": "texts.raw"}, "", {}),
        (STRUCT, None, {}, "", {}),
        ({"en": {"short": Value("string")}, "id": Value("int64")}, {"en": {"short": "deep"}, "id": 1}, {}, "deep", {}),
    ],
)
def test_texts_in_structs(tmp_path: Path, feature: Any, value: Any, options: Any, caption: str, kept: Any) -> None:
    row = {"image": {"bytes": DATA[0]}, "texts": value}
    path = write_rows(tmp_path / "x.parquet", [row], {"image": Image(), "texts": feature})
    assert all_of(path, **options) == [("train/0", DATA[0], caption, kept)]


def test_texts_in_structs_are_asked_about(tmp_path: Path) -> None:
    row = {"image": {"bytes": DATA[0]}, "texts": {"en": "cat", "fr": "chat"}}
    features = {"image": Image(), "texts": {"en": Value("string"), "fr": Value("string")}}
    path = write_rows(tmp_path / "x.parquet", [row], features)
    assert "Choose with --caption-column: texts.en, texts.fr" in refusal(path)
    assert all_of(path, caption_column="texts.fr") == [("train/0", DATA[0], "chat", {})]
    assert "no column 'texts.de'" in refusal(path, caption_column="texts.de")


def test_lists_of_pictures(tmp_path: Path) -> None:
    row = {"images": [{"bytes": DATA[0]}, {"bytes": DATA[1]}]}
    path = write_rows(tmp_path / "x.parquet", [row], {"images": List(Image())})
    for options in ({}, {"image_column": "images"}):
        assert "The column 'images' of" in (words := refusal(path, **options)) and "holds lists of pictures" in words
