"""Metadata beside pictures is read as people have it; what is wrong in one row or file costs no other one."""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgsearch.errors import InputError
from imgsearch.index.bundle import read_report
from imgsearch.ingest.columns import DatasetOptions
from imgsearch.ingest.dataset import open_source
from imgsearch.ingest.folder import Folder
from imgsearch.records import Picture, Skip
from tests.helpers.commands import Run
from tests.helpers.tiny_bundles import items_of
from tests.helpers.tiny_datasets import DATA

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n"
ROWS = [["a.jpg", "un été; deux", "1"], ["b.jpg", 'say "hi",\nplease', "2"], ["sub/c.jpg", "a\tb", "3"]]
CAPTIONS = {name: caption for name, caption, _ in ROWS}


def save(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(DATA[0])
    return folder


def read(folder: Path, **options: Any) -> tuple[dict[str, Picture], dict[str, str]]:
    """Pictures by their ids, and reasons by what is left out."""
    opened = open_source(str(folder), DatasetOptions(**options))
    assert isinstance(opened, Folder)
    entries = [*opened.skips, *opened.read()]
    skips = {entry.picture: entry.reason for entry in entries if isinstance(entry, Skip)}
    return {entry.id: entry for entry in entries if isinstance(entry, Picture)}, skips


def captions(folder: Path, **options: Any) -> dict[str, str]:
    return {name: picture.caption for name, picture in read(folder, **options)[0].items()}


def table(rows: Sequence[Sequence[str]], separator: str = ",", end: str = "\r\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows([["file_name", "caption", "year"], *rows])
    return text.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        *(table(ROWS, separator).encode() for separator in ",;\t|"),
        *(f"sep={separator}\r\n{table(ROWS, separator)}".encode() for separator in ",;\t#"),
        *(table(ROWS, ";").encode(encoding) for encoding in ("utf-8-sig", "utf-16", "cp1252")),
        *(table(ROWS, "\t", end).encode("utf-16") for end in ("\n", "\r")),
        table(ROWS).replace("file_name,caption", " file_name , caption ").encode(),
        table([[*row, "", ""] for row in ROWS], ";").replace("year", "year;;").encode(),
    ],
)
def test_a_table_of_any_separator_and_encoding(tmp_path: Path, data: bytes) -> None:
    save(tmp_path, *CAPTIONS)
    (tmp_path / "metadata.csv").write_bytes(data)
    pictures, skips = read(tmp_path)
    assert {name: picture.caption for name, picture in pictures.items()} == CAPTIONS
    assert [picture.columns for picture in pictures.values()] == [{"year": year} for year in "123"]
    assert list(skips) == (["metadata.csv, line 2"] if data == table(ROWS, ";").encode("cp1252") else [])
    assert all("read as Windows-1252" in reason for reason in skips.values())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_json_lines_of_any_encoding(tmp_path: Path, encoding: str) -> None:
    rows = [{"file_name": name, "caption": caption} for name, caption in CAPTIONS.items()]
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (save(tmp_path, *CAPTIONS) / "metadata.jsonl").write_bytes(text.encode(encoding))
    assert captions(tmp_path) == CAPTIONS


@pytest.mark.parametrize("data", [b"name;caption\na;b\n", b"sep=;\nname;caption\n"])
def test_a_table_without_names_of_files_is_told_with_its_separator(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "metadata.csv").write_bytes(data)
    line = data.count(b"\n", 0, data.index(b"name")) + 1
    with pytest.raises(InputError, match=rf"no column file_name \(line {line}, separated by ';', names name, caption"):
        Folder(tmp_path)


def test_a_row_that_is_wrong_costs_no_other_one(tmp_path: Path) -> None:
    save(tmp_path, *(f"{number}.jpg" for number in range(9)))
    lines = ["file_name,caption", *(f"{number}.jpg,number {number}" for number in range(9))]
    lines[3] = '2.jpg,"not closed'
    lines[5] = f"4.jpg,{'x' * 140_000}"
    lines[7] = '6.jpg,"two\nlines"'
    lines[8] = '7.jpg,"12" wide"'
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    pictures, skips = read(tmp_path)
    expected = {f"{number}.jpg": f"number {number}" for number in range(9)}
    expected |= {"2.jpg": "not closed", "4.jpg": "", "6.jpg": "two\nlines", "7.jpg": '12 wide"'}
    assert {name: picture.caption for name, picture in pictures.items()} == expected
    assert list(skips) == [f"metadata.csv, line {line}" for line in (4, 6, 10)]
    assert all("quotation mark" in reason for reason in skips.values())


def test_a_line_that_is_no_json_costs_no_other_one(tmp_path: Path) -> None:
    save(tmp_path, *(f"{number}.jpg" for number in range(5)))
    lines = [json.dumps({"file_name": f"{number}.jpg", "caption": f"number {number}"}) for number in range(5)]
    lines[1], lines[2], lines[4] = lines[1].replace('"caption"', "caption"), "[1]", "[" * 10_000
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    pictures, skips = read(tmp_path)
    assert [picture.caption for picture in pictures.values()] == ["number 0", "", "", "number 3", ""]
    assert list(skips) == [f"metadata.jsonl, line {line}" for line in (2, 3, 5)]
    assert skips["metadata.jsonl, line 2"].startswith("no JSON: ") and "UTF-8" not in "".join(skips.values())
    (tmp_path / "metadata.jsonl").write_text("[\n{},\n1]")
    with pytest.raises(InputError, match=r"metadata\.jsonl cannot be read: its lines are no JSON"):
        Folder(tmp_path)


def test_values_are_texts_as_those_of_a_dataset(tmp_path: Path) -> None:
    row = '"n": 1, "f": 1.5, "nan": NaN, "none": null, "list": ["é"], "object": {"é": [1]}, "true": true'
    values = ["null", '["été un", "deux"]', "[]", "7", "NaN", '"\\ud800x"']
    lines = [f'{{"file_name": "{number}.jpg", "caption": {value}, {row}}}' for number, value in enumerate(values)]
    (save(tmp_path, *(f"{number}.jpg" for number in range(6))) / "metadata.jsonl").write_text("\n".join(lines))
    pictures, skips = read(tmp_path)
    assert [picture.caption for picture in pictures.values()] == ["", "été un", "", "7", "", "?x"] and not skips
    kept = {"n": "1", "f": "1.5", "nan": "", "none": "", "list": '["é"]', "object": '{"é":[1]}', "true": "true"}
    assert all(picture.columns == kept for picture in pictures.values())


@pytest.mark.parametrize(
    ("record", "option", "caption"),
    [
        ({"text": "a", "year": 1}, None, "a"),
        ({"label": "b", "description": "c", "Prompt": "a"}, None, "a"),
        ({"title": "a", "year": "1999", "day": "2020-01-02", "url": "https://x"}, None, "a"),
        ({"title": "a", "subject": "b"}, None, ""),
        ({"title": "b", "subject": "a"}, "subject", "a"),
        ({"caption": "b", "text": "a"}, "text", "a"),
        ({"caption": "b"}, "", ""),
        ({"sentences": {"raw": "a", "tokens": ["a"]}}, None, "a"),
        ({"title": "a", "object": {"name": "b"}}, None, "a"),
        ({"sentences": [{"raw": "a", "id": 3}], "title": "b"}, "sentences.raw", "a"),
    ],
)
def test_the_column_of_captions(tmp_path: Path, record: dict[str, Any], option: str | None, caption: str) -> None:
    (save(tmp_path, "a.jpg") / "metadata.jsonl").write_text(json.dumps({"file_name": "a.jpg"} | record))
    pictures, skips = read(tmp_path, caption_column=option)
    picture = pictures["a.jpg"]
    assert picture.caption == caption
    assert len(picture.columns) == len(record) - (caption != "" and "sentences" not in record)
    choose = "no column of captions. Choose with --caption-column: title, subject"
    assert skips == ({"metadata.jsonl, line 1": choose} if caption == "" and option is None else {})
    with pytest.raises(InputError, match="has no column 'other'. It has: "):
        read(tmp_path, caption_column="other")


def test_names_are_found_as_other_systems_write_them(tmp_path: Path) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "Été")
    composed, decomposed = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    save(folder, f"train/{decomposed}", "train/a.jpg", "b.jpg", "c.jpg", " c.jpg", "d\\d.jpg", "d/d.jpg", "e.jpg")
    absolute = unicodedata.normalize("NFC", str(folder / "e.jpg"))
    names = [rf"train\{composed}", r".\train\a.jpg", " b.jpg ", "c.jpg", " c.jpg", "d\\d.jpg", "d/d.jpg", absolute]
    (folder / "metadata.csv").write_text(table([[name, f"of {name}", ""] for name in names]), "utf-8")
    pictures, skips = read(folder)
    files = [f"train/{decomposed}", "train/a.jpg", "b.jpg", "c.jpg", " c.jpg", "d\\d.jpg", "d/d.jpg", "e.jpg"]
    assert {name: picture.caption for name, picture in pictures.items()} == {
        file: f"of {name}" for file, name in zip(files, names, strict=True)
    }
    assert not skips


def test_the_nearest_metadata_count(tmp_path: Path) -> None:
    save(tmp_path, "a/x.jpg", "z/x.jpg", "z/y.jpg")
    rows = [["a/x.jpg", "outer", ""], ["z/x.jpg", "outer", ""], ["z/y.jpg", "outer", ""]]
    (tmp_path / "metadata.csv").write_text(table(rows))
    for folder in "az":
        (tmp_path / folder / "metadata.csv").write_text(table([["x.jpg", "inner", ""]]))
    pictures, skips = read(tmp_path)
    assert [picture.caption for picture in pictures.values()] == ["inner", "inner", "outer"]
    assert list(skips) == ["metadata.csv, line 2", "metadata.csv, line 3"]


def test_a_text_of_the_same_name_is_the_caption(tmp_path: Path) -> None:
    save(tmp_path, "a.jpg", "b.JPG", "c.jpg", "d.jpg", "e.jpg", "f/a.jpg", unicodedata.normalize("NFD", "é.jpg"))
    rows = [["a.jpg", "of a row", ""], ["b.JPG", "", "1999"]]
    (tmp_path / "metadata.csv").write_text(table(rows))
    texts = {"a": b"a", "b": b" of b\n", "d": DATA[0], "f/b": b"none", "é": "été".encode("cp1252")}
    for name, data in texts.items():
        (tmp_path / f"{name}.txt").write_bytes(data)
    (tmp_path / "c.TXT").write_text("of c")
    pictures, skips = read(tmp_path)
    found = {unicodedata.normalize("NFC", name): picture.caption for name, picture in pictures.items()}
    assert found == {
        **{"a.jpg": "of a row", "b.JPG": "of b", "c.jpg": "of c", "d.jpg": "", "e.jpg": ""},
        **{"f/a.jpg": "", "f/b.txt": "", "é.jpg": "été"},
    }
    assert pictures["b.JPG"].columns == {"year": "1999"}
    assert skips.keys() == {"d.txt", "é.txt, line 1"}
    assert not any(captions(tmp_path, caption_column="").values())


def test_folders_of_systems_are_left_out(tmp_path: Path) -> None:
    names = ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", "sub/@eaDir"]
    save(tmp_path, "a.jpg", "sub/b.jpg", "#mine/c.jpg", *(f"{name}/thumb.jpg" for name in names))
    pictures, skips = read(tmp_path)
    assert list(pictures) == ["#mine/c.jpg", "a.jpg", "sub/b.jpg"]
    assert skips.keys() == set(names) and all("folder of the system" in reason for reason in skips.values())


def test_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    repo, names = tmp_path / "datasets--a--b", ["0.jpg", "1.jpg", "metadata.csv"]
    (save(repo, "blobs/0", "blobs/1") / "blobs" / "m").write_text(table([["0.jpg", "eins", ""]]))
    folder = repo / "snapshots" / "abc" / "train"
    folder.mkdir(parents=True)
    for name, blob in zip(names, "01m", strict=True):
        (folder / name).symlink_to(f"../../../blobs/{blob}")
    (folder / "inside.jpg").symlink_to("0.jpg")
    (folder / "outside.jpg").symlink_to(save(tmp_path, "blobs/0") / "blobs" / "0")
    for source, start in ((folder, ""), (folder.parent, "train/"), (repo, "snapshots/abc/train/")):
        pictures, skips = read(source)
        assert list(pictures) == [f"{start}{name}" for name in ("0.jpg", "1.jpg", "inside.jpg")]
        assert pictures[f"{start}0.jpg"].caption == "eins" and pictures[f"{start}1.jpg"].read() == DATA[0]
        assert skips.keys() == {f"{start}outside.jpg", *(["blobs"] if source == repo else [])}


def test_pointers_of_git_lfs_are_told(tmp_path: Path, run: Run) -> None:
    (save(tmp_path / "in", "a.jpg") / "b.jpg").write_bytes(POINTER)
    arguments = ("build", tmp_path / "in", "--out", tmp_path / "bundle", "--encoder", "starter", "--shard", "1/2")
    assert "Not indexed: b.jpg: a Git LFS pointer: run git lfs pull\n" in run(*arguments).out
    (tmp_path / "in" / "metadata.csv").write_bytes(POINTER)
    assert "a Git LFS pointer: run git lfs pull" in run(*arguments).refusal()


def test_files_of_other_kinds_are_named_for_what_they_are(tmp_path: Path, run: Run) -> None:
    folder = save(tmp_path / "in", *(f"{number}.jpg" for number in range(30)), "picture.txt", "@eaDir/a.jpg")
    others = {"train_metadata.csv": "table", "METADATA.CSV": "table", "metadata.json": "table", "LICENSE": "a text"}
    others |= {"notes.md": "a text", "0.MOV": "a video", "a.zip": "archive", "x.parquet": "dataset"}
    for name in (*others, *(f"{number}.xmp" for number in range(30))):
        (folder / name).write_text("none")
    arguments = ("build", folder, "--out", tmp_path / "bundle", "--encoder", "starter", "--shard", "1/2", "--strict")
    done = run(*arguments)
    assert done.code == 0 and "31 pictures indexed" in done.out
    reasons = {skip.picture: skip.reason for skip in read_report(tmp_path / "bundle").skipped}
    assert reasons.keys() == {*others, "@eaDir", "0.xmp and 29 more"}
    assert all(kind in reasons[name] for name, kind in others.items())
    (folder / "b.jpg").write_bytes(POINTER)
    done = run(*arguments)
    assert done.code == 2 and "b.jpg cannot be indexed: a Git LFS pointer" in done.err


def save_bad_pictures(folder: Path) -> dict[str, str]:
    """One picture of each kind that cannot be indexed: its name, and what is said of it."""
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(DATA[0][:40])
    (folder / "text.jpg").write_text("none")
    (folder / "pointer.jpg").write_bytes(POINTER)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "outside.jpg").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe.jpg")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(DATA[0])
    return {
        **{"empty.jpg": "picture", "cut.jpg": "", "text.jpg": "not a picture", "pointer.jpg": "git lfs pull"},
        **{"loop.jpg": "nowhere", "outside.jpg": "out of the folder", "pipe.jpg": "not a regular file"},
        "caf\\udce9.jpg": "not UTF-8",
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_of_twenty_good_pictures_none_is_lost(tmp_path: Path, kind: str, tiny: Path, run: Run) -> None:
    folder = save(tmp_path / "in", *(f"{number}.jpg" for number in range(20)))
    rows = [[f"{number}.jpg", f"été {number}"] for number in range(20)]
    for number, picture in enumerate(rows):
        (folder / picture[0]).write_bytes(DATA[number % 10])
    bad = save_bad_pictures(folder)
    rows[5:5] = [["gone.jpg", "a ghost"], ["", "no name"], ["4.jpg", "a second one"]]
    lines = ["file_name,caption", *map(",".join, rows)]
    if kind == "jsonl":
        lines = [json.dumps(dict(zip(("file_name", "caption"), row, strict=True)), ensure_ascii=False) for row in rows]
    wrong = {"csv": ['15.jpg,"été 15', f"16.jpg,{'x' * 140_000}", "17.jpg,été 17,more"], "jsonl": ["{", "[1]", "17"]}
    lines[-5:-2] = wrong[kind]
    data = "\n".join(lines).encode().replace("été 2\n".encode(), "été 2\n".encode("cp1252"))
    (folder / f"metadata.{kind}").write_bytes(data.replace('été 2"'.encode(), 'été 2"'.encode("cp1252")))
    done = run("build", folder, "--out", tmp_path / "bundle", "--encoder", f"local-dir:{tiny}/clip", "--shard", "1/2")
    assert done.code == 0
    found = {item.id: item.caption for item in items_of(tmp_path / "bundle")}
    lost = {"csv": {"16.jpg": ""}, "jsonl": {"15.jpg": "", "16.jpg": "", "17.jpg": ""}}[kind]
    assert found == {f"{number}.jpg": f"été {number}" for number in range(20)} | lost
    reasons = {skip.picture: skip.reason for skip in read_report(tmp_path / "bundle").skipped}
    first = 2 if kind == "csv" else 1
    told = [first + number for number in (2, 6, 7, 18, 19, 20)]
    assert reasons.keys() == {*bad, "gone.jpg", *(f"metadata.{kind}, line {line}" for line in told)}
    assert all(words in reasons[name] for name, words in bad.items())


PARTS = st.text(" aéñß漢я,;\t'\"\\|#%&()-", min_size=1, max_size=6).filter(
    lambda part: part.strip(" \t\\") != "" and part.strip()[0] != "\\"
)
WAYS = ["{}", "./{}", " {} ", "a/../{}", "windows", "absolute", "NFC", "NFD"]  # to write the name of a file
SOURCES = ["row", "text", "both", "none", "gone"]  # of a caption; "gone": a row without a file


def tidy(parts: Sequence[str]) -> str:
    """What no two files may have in common, if a row may name either of them in the way of another system."""
    name = "/".join(part.strip() for part in "/".join(parts).replace("\\", "/").split("/"))
    return unicodedata.normalize("NFC", name)


def written(name: str, way: Any, folder: Path) -> str:
    if way in ("NFC", "NFD"):
        return unicodedata.normalize(way, name)
    return {"windows": name.replace("/", "\\"), "absolute": f"{folder}/{name}"}.get(way) or str(way).format(name)


def write_metadata(folder: Path, rows: list[list[str]], draw: Callable[[Sequence[Any]], Any]) -> str:
    """Write rows of file name and caption in any way. Return the name of the column of captions."""
    column, extra, order = draw(["caption", "Prompt", "légende"]), draw(["", "n;m", "x"]), draw([(0, 1, 2), (2, 1, 0)])
    rows = [["file_name", column, extra], *([*row, "more"] for row in rows)]
    bad = draw(["", '"', '"no, file', "no file"]) if len(rows) > 1 else ""
    is_quoted, kind = draw([False, True]), draw(["csv", "jsonl"])
    if kind == "csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=draw(",;\t|"), quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL)
        writer.writerows([row[place] for place in order] for row in rows)
        lines = text.getvalue() + bad
    else:
        records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
        lines = "\n".join([*(json.dumps(record, ensure_ascii=is_quoted) for record in records), bad])
    data = lines.encode()
    with suppress(UnicodeEncodeError):  # not every letter is in Windows-1252
        data = lines.encode(draw(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    (folder / f"metadata.{kind}").write_bytes(data)
    return column


@pytest.mark.parametrize("count", [40, pytest.param(3000, marks=pytest.mark.long)])
def test_each_caption_belongs_to_its_picture(count: int) -> None:
    """Whatever the names, encodings, separators, orders and columns: each file is a picture, each row has its file."""

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(PARTS, min_size=1, max_size=2), max_size=8, unique_by=tidy), st.data())
    def examples(files: list[list[str]], data: st.DataObject) -> None:
        def draw(choices: Sequence[Any]) -> Any:
            return data.draw(st.sampled_from(choices))

        with TemporaryDirectory() as name:
            folder, rows, expected, gone = Path(name).resolve(), [], {}, set()
            for number, parts in enumerate(files):
                stem = unicodedata.normalize(draw(["NFC", "NFD"]), "/".join(parts))
                source, caption = draw(SOURCES), f'été {number}, "x"; y'
                save(folder, f"{stem}.jpg")
                expected[f"{stem}.jpg"] = {"text": "a text", "none": "", "gone": ""}.get(source, caption)
                if source in ("row", "both"):
                    rows.append([written(f"{stem}.jpg", draw(WAYS), folder), caption])
                if source in ("text", "both"):
                    (folder / f"{stem}{draw(['.txt', '.TXT'])}").write_text("a text")
                if source == "gone":
                    gone.add(f"gone {number}.jpg")
                    rows.append([f"gone {number}.jpg", caption])
            column = write_metadata(folder, rows, draw)
            opened = Folder(folder, caption_column=None if column != "légende" else column)
            pictures = [entry for entry in opened.read() if isinstance(entry, Picture)]
            assert {picture.id: picture.caption for picture in pictures} == expected
            assert len(pictures) == opened.num_entries == len(expected)
            named = {skip.picture for skip in opened.skips}
            assert gone <= named and len(named) <= len(gone) + 3  # of one bad row and one encoding

    examples()
