"""Nothing is lost silently: of 20 pictures, one of them bad, 19 come with their captions, and the one is named."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imgsearch.errors import PictureError
from imgsearch.images import open_rgb
from imgsearch.ingest.columns import DatasetOptions
from imgsearch.ingest.dataset import open_source
from imgsearch.ingest.shards import read_in_shards
from imgsearch.ingest.source import BuildOptions
from imgsearch.records import Picture, Skip
from tests.helpers.tiny_datasets import DATA, refusal, write_tar

BAD = 13
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
GOOD = [DATA[number if number < 11 else number + 1] for number in range(20)]
Members = list[tuple[str, bytes]]


def come_of(spec: Path, **options: Any) -> tuple[dict[int, str], str]:
    """Return the captions by the number of the picture, and the report's lines."""
    source = open_source(str(spec), DatasetOptions(**options))
    captions: dict[int, str] = {}
    skips = list(source.skips)
    for entry in read_in_shards(source, BuildOptions()):
        if isinstance(entry, Skip):
            skips.append(entry)
        elif isinstance(entry, Picture):
            try:
                open_rgb(entry.read(), "It")
                captions[GOOD.index(entry.read())] = entry.caption
            except PictureError as error:
                skips.append(Skip(entry.id, str(error)))
    return captions, "\n".join(f"{skip.picture}: {skip.reason}" for skip in skips)


def table(data: bytes | None, caption: bytes | None) -> pa.Table:
    """Twenty rows, one of them as given."""
    pictures = [{"bytes": data if number == BAD else good, "path": None} for number, good in enumerate(GOOD)]
    texts = pa.array([caption if number == BAD else b"cap %d" % number for number in range(20)], pa.binary())
    as_text = pa.StringArray.from_buffers(20, *texts.buffers()[1:], texts.buffers()[0])
    images = pa.array(pictures, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    return pa.table({"image": images, "text": as_text})


def save(kind: str, rows: pa.Table, folder: Path) -> Path:
    """Write a table as a source of a kind."""
    folder.mkdir(parents=True)
    if kind == "saved":
        datasets.Dataset(rows).save_to_disk(folder)
    elif kind == "arrow":
        with pa.ipc.new_stream(folder / "x.arrow", rows.schema) as stream:
            stream.write_table(rows, max_chunksize=7)
    elif kind == "parquet":
        pq.write_table(rows, folder / "x.parquet", row_group_size=7, compression="none", use_dictionary=False)
    else:
        data = folder / ("data" if kind == "clone" else "snapshots/abc/data")
        data.mkdir(parents=True)
        pq.write_table(rows, data / "train-00000-of-00001.parquet", row_group_size=7)
        for name in ("LICENSE", "README.md", ".gitattributes", "dataset_infos.json", "preview.jpg"):
            (data.parent / name).write_bytes(GOOD[0] if name == "preview.jpg" else b"{}")
        if kind == "cache":
            for number, path in enumerate(sorted(folder.rglob("*.*"))):
                blob = folder / "blobs" / f"{number}"
                blob.parent.mkdir(exist_ok=True)
                if path.is_file():
                    path.rename(blob)
                    path.symlink_to(blob)
            return data.parent
    return folder


@pytest.mark.parametrize(
    ("data", "caption", "words", "text"),
    [
        (b"", b"cap 13", "train/13: it holds no bytes", None),
        (None, b"cap 13", "train/13: it holds no bytes", None),
        (b"no picture", b"cap 13", "train/13: It is not a picture that can be read", None),
        (GOOD[BAD][:30], b"cap 13", "train/13: It is", None),
        (GOOD[BAD], "été".encode("latin-1"), "train/13: its caption is not UTF-8", "\ufffdt\ufffd"),
        (GOOD[BAD], None, "", ""),
    ],
    ids=["empty", "null", "text", "cut", "Latin-1", "no caption"],
)
@pytest.mark.parametrize("kind", ["parquet", "arrow", "saved", "clone", "cache"])
def test_one_bad_row(tmp_path: Path, kind: str, data: bytes | None, caption: bytes, words: str, text: str) -> None:
    captions, report = come_of(save(kind, table(data, caption), tmp_path / "source"))
    others = "preview.jpg: beside a dataset, not in it" if kind in ("clone", "cache") else ""
    assert captions.pop(BAD, None) == text
    assert captions == {number: f"cap {number}" for number in range(20) if number != BAD}
    assert report.startswith("\n".join(filter(None, [others, words])))
    assert len(report.splitlines()) == len(list(filter(None, [others, words])))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("b.parquet", POINTER, "b.parquet: a Git LFS pointer: run git lfs pull"),
        ("b.parquet", b"", "b.parquet: damaged"),
        ("b.arrow", POINTER, "b.arrow: a Git LFS pointer: run git lfs pull"),
        ("b.arrow", b"ARROW1", "b.arrow: damaged"),
        ("b.tar", POINTER, "b.tar: a Git LFS pointer: run git lfs pull"),
        ("b.tar", b"x" * 2000, "b.tar: damaged or cut off after its beginning"),
        ("b.tar", b"", "b.tar: damaged or cut off at its beginning"),
    ],
)
def test_one_bad_file(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    kind = name.removeprefix("b.")
    assert "Git LFS pointer" in words or "damaged" in words
    (tmp_path / name).write_bytes(data)
    assert words.split(": ", 1)[1] in refusal(tmp_path / name)
    if kind == "tar":
        write_tar([{"image": {"bytes": GOOD[0]}, "text": "cap 0", "label": 0}], tmp_path / "a.tar", 0)
    else:
        save(kind, table(GOOD[BAD], b"cap 13")[:1], tmp_path / "in")
        next((tmp_path / "in").iterdir()).rename(tmp_path / f"a.{kind}")
        (tmp_path / "in").rmdir()
    captions, report = come_of(tmp_path)
    assert captions == {0: "cap 0"} and words in report and len(report.splitlines()) == 1


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_file_cut_or_damaged_inside(tmp_path: Path, kind: str) -> None:
    path = next(save(kind, table(GOOD[BAD], b"cap 13"), tmp_path / "source").iterdir())
    whole = path.read_bytes()
    if kind == "parquet":
        path.write_bytes(whole[:4] + bytes(whole.index(GOOD[6])) + whole[whole.index(GOOD[6]) + 4 :])
    else:
        path.write_bytes(whole[: whole.index(GOOD[15])])
    captions, report = come_of(path.parent)
    lost = [number for number in range(20) if number not in captions]
    assert lost == (list(range(7)) if kind == "parquet" else list(range(14, 20)))
    assert all(text == f"cap {number}" for number, text in captions.items())
    assert len(report.splitlines()) == (len(lost) if kind == "parquet" else 1)
    assert f"a part of {path.name} is damaged" in report


def members_with(bad: Members) -> Members:
    """Return twenty pictures with their captions, and in place of one of them other members."""
    members: Members = []
    for number, data in enumerate(GOOD):
        row = [(f"{number:03}.jpg", data), (f"{number:03}.txt", b"cap %d" % number)]
        members += bad if number == BAD else row
    return members


def write_members(members: Members, path: Path, mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name.endswith(".link"):
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member, io.BytesIO(data))
    return path


CAPTION = ("013.txt", b"cap 13")


@pytest.mark.parametrize(
    ("bad", "words", "text"),
    [
        ([("013.png", GOOD[BAD]), CAPTION], "", "cap 13"),
        ([CAPTION, ("013.weird", GOOD[BAD])], "", "cap 13"),
        ([("dir/of/013", GOOD[BAD])], "", ""),
        (
            [("013.jpg", GOOD[BAD]), ("013.txt", "été".encode("latin-1"))],
            "train/13: its caption is not UTF-8",
            "\ufffdt\ufffd",
        ),
        ([("013.jpg", GOOD[BAD]), ("013.txt", "été".encode("utf-16"))], "", "été"),
        ([("013.jpg", GOOD[BAD]), ("013.text", b"other ending")], "", "other ending"),
        ([("013.jpg", GOOD[BAD]), ("013.json", b'{"caption": "of json"}')], "", "of json"),
        ([("013.jpg", GOOD[BAD]), CAPTION, ("013.json", b"{broken")], "train/13: 013.json is damaged", "cap 13"),
        ([("013.jpg", GOOD[BAD]), CAPTION, ("013.seg.png", GOOD[0])], "013.seg.png beside it is left out", "cap 13"),
        ([("013.jpg", GOOD[BAD]), CAPTION, ("013.jpg", GOOD[0])], "x.tar: 013.jpg is there twice", "cap 13"),
        ([("013.jpg", b"no picture"), CAPTION], "train/13: It is not a picture", None),
        ([("013.jpg", b""), CAPTION], "train/13: it holds no bytes", None),
        ([CAPTION], "train/13: no picture is among 013.txt", None),
        ([("README.md", b"# about")], "train/13: no picture is among README.md", None),
        ([("._013.jpg", b"x")], "x.tar: ._013.jpg is hidden", None),
        ([("013.link", b"")], "x.tar: 013.link is a link, or no file", None),
    ],
    ids=lambda value: value[-1][0] if isinstance(value, list) else None,
)
def test_one_bad_member_of_a_tar(tmp_path: Path, bad: Members, words: str, text: str | None) -> None:
    path = write_members(members_with(bad), tmp_path / "x.tar")
    captions, report = come_of(path)
    assert captions.pop(BAD, None) == text
    assert captions == {number: f"cap {number}" for number in range(20) if number != BAD}
    assert words in report and len(report.splitlines()) == (1 if words else 0)


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_tar_that_is_cut(tmp_path: Path, ending: str) -> None:
    path = write_members(members_with([]), tmp_path / f"x.{ending}", "w:gz" if ending == "tar.gz" else "w")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(GOOD[18]) + 20] if ending == "tar" else whole[: -len(whole) // 3])
    captions, report = come_of(path)
    assert len(captions) > 9 and all(text == f"cap {number}" for number, text in captions.items())
    assert f"{path.name}: damaged or cut off at 0" in report


def test_a_header_of_a_tar_that_is_damaged(tmp_path: Path) -> None:
    path = write_members(members_with([("013.jpg", GOOD[BAD]), CAPTION]), tmp_path / "x.tar")
    data = path.read_bytes()
    start = data.index(b"013.jpg")
    path.write_bytes(data[: start + 100] + b"?" * 20 + data[start + 120 :])
    captions, report = come_of(path)
    assert captions == {number: f"cap {number}" for number in range(20) if number != BAD}
    assert "x.tar: damaged after 012.txt" in report and "no picture is among 013.txt" in report


def test_names_with_dots_are_rows_of_their_own(tmp_path: Path) -> None:
    names = ["22.05", "22.06", "Dr. A", "Dr. B", "v1.0-1", "../up", "a b/c.d 1"]
    members = [
        (f"{name}.{kind}", data)
        for n, name in enumerate(names)
        for kind, data in (("jpg", GOOD[n]), ("txt", name.encode()))
    ]
    captions, report = come_of(write_members(members, tmp_path / "x.tar"))
    assert captions == dict(enumerate(names)) and not report


def test_captions_of_json(tmp_path: Path) -> None:
    text = json.dumps({"url": "u", "caption": "of json", "sizes": {"width": 1}}).encode()
    members = [item for n in range(3) for item in ((f"{n}.jpg", GOOD[n]), (f"{n}.json", text))]
    path = write_members(members, tmp_path / "x.tar")
    assert come_of(path)[0] == dict.fromkeys(range(3), "of json")
    assert come_of(path, caption_column="json.url")[0] == dict.fromkeys(range(3), "u")
    assert "no column 'json.none'" in refusal(path, caption_column="json.none")
