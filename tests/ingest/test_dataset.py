"""Hugging Face datasets, local and of a hub: every row comes out as an undecoded picture or is reported."""

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
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import _detect_agent

from imgsearch.errors import InputError
from imgsearch.index.edit import merge
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.columns import DatasetOptions
from imgsearch.ingest.dataset import open_source
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.shards import read_in_shards
from imgsearch.ingest.source import BuildOptions, Position
from imgsearch.ingest.tars import NUM_LOOKED_AT
from imgsearch.models.encoder import Encoder
from imgsearch.records import Picture, Skip
from tests.helpers.loopback_hub import Cut, Hang, LoopbackHub, Status
from tests.helpers.tiny_datasets import (
    DATA,
    FEATURES,
    KEEP,
    NAME,
    NUM_ROWS,
    ROWS,
    WHOLE,
    all_of,
    facts,
    open_,
    refusal,
    table_of,
    write,
    write_rows,
    write_tar,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR"


@pytest.fixture(autouse=True)
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client with a cache of its own and without pauses; its telemetry asks nothing."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "client"))
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


def keeping(kind: str) -> dict[str, Any]:
    return {"columns": ("cls",)} if "tar" in kind else KEEP


def whole(kind: str) -> list[Any]:
    """What comes of a kind: a tar has no names for its classes."""
    texts = [{"cls": str(i % 2)} if "tar" in kind else columns for i, (*_, columns) in enumerate(WHOLE)]
    ids = [f"train/data/train-{i // 10:05}-of-00003.tar/{i % 10}" for i in range(NUM_ROWS)]
    ids = ids if kind == "hub tar streamed" else [entry[0] for entry in WHOLE]
    return [(i, *entry[1:3], columns) for i, entry, columns in zip(ids, WHOLE, texts, strict=True)]


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
        entries = (opened := open_(spec, **options)).read()
        for _ in range(position):
            next(entries)
        state = opened.state()
        again = open_(spec, **options)
        assert (again.revision, again.options) == (opened.revision, opened.options)
        assert [facts(entry) for entry in again.read(Position(position, state))] == expected[position:]
        assert [facts(entry) for entry in again.read(Position(position))] == expected[position:]
        assert bool(state) == (position > 0 and opened.num_entries is None)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_connection_that_dies_once(hub: LoopbackHub, source: Callable[[str], str], streaming: bool) -> None:
    spec = source("hub parquet")
    hub.fault = Cut(900, "data/train-00001-of-00003.parquet", once=True)
    opened = open_(spec, streaming=streaming, **KEEP)
    assert [facts(entry) for entry in opened.read()] == WHOLE
    assert hub.fault is None, "nothing was cut"
    assert opened.name == f"hf://datasets/{NAME}" and opened.revision == hub.commit(f"datasets/{NAME}")
    assert opened.licence == "cc0-1.0" and opened.num_entries == NUM_ROWS


def test_what_is_before_is_not_fetched_again(hub: LoopbackHub, source: Callable[[str], str]) -> None:
    spec = source("hub parquet")
    entries = (opened := open_(spec, streaming=True)).read()
    for _ in range(15):  # in the second row group of the second file
        next(entries)
    state, again = opened.state(), open_(spec, streaming=True)
    hub.requests.clear()
    assert len(list(again.read(Position(15, state)))) == NUM_ROWS - 15
    assert {request.path.rsplit("/")[-1][:11] for request in hub.requests} == {"train-00001", "train-00002"}


def test_a_connection_that_is_gone(hub: LoopbackHub, source: Callable[[str], str]) -> None:
    entries = open_(source("hub parquet"), streaming=True).read()
    first = next(entries)
    hub.fault = Cut(0, "data/train-00002-of-00003.parquet")
    with pytest.raises(InputError, match="broke off after 20 entries: the connection .* last finished shard"):
        list(entries)
    assert isinstance(first, Picture)


@pytest.mark.parametrize(("kind", "shard_size"), [("parquet", 1024), ("parquet", 16), ("tar", 16)])
def test_a_part_reads_little_more_than_its_own(tmp_path: Path, kind: str, shard_size: int) -> None:
    """8 row groups, or members, of 16 pictures of 200 kB; all that this process reads is counted."""
    rows = [{"image": {"bytes": PNG + os.urandom(200_000), "path": None}, "caption": str(i)} for i in range(128)]
    file = tmp_path / f"data.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=16)
    else:
        with tarfile.open(file, "w") as tar:
            for number, row in enumerate(rows):
                member = tarfile.TarInfo(f"{number:03}.png")
                member.size = len(row["image"]["bytes"])
                tar.addfile(member, io.BytesIO(row["image"]["bytes"]))
    open_source(str(file), DatasetOptions())  # reads modules
    looked_at = NUM_LOOKED_AT * 200_000 if kind == "tar" else 0  # to find the columns
    quarter, ids = file.stat().st_size / 4, []
    for part in range(1, 5):
        before = bytes_read()
        source = open_source(str(file), DatasetOptions())
        entries = read_in_shards(source, BuildOptions(part=(part, 4), shard_size=shard_size))
        ids += [entry.id for entry in entries if isinstance(entry, Picture)]
        assert bytes_read() - before <= 1.1 * quarter + looked_at
    assert sorted(ids) == sorted(f"train/{i}" for i in range(128))


@pytest.mark.parametrize(("streaming", "num_files"), [(True, 1), (True, 8), (False, 8)])
def test_a_part_fetches_little_more_than_its_own(
    hub: LoopbackHub, tmp_path: Path, tiny_encoder: Encoder, streaming: bool, num_files: int
) -> None:
    """8 row groups of 16 pictures of 300 kB, in one file or a file each; the parts make what one build makes."""
    pictures = [DATA[i % 9] + os.urandom(300_000) for i in range(128)]
    rows = [{"image": {"bytes": data, "path": None}, "caption": str(i)} for i, data in enumerate(pictures)]
    table, size, folder = pa.Table.from_pylist(rows), 128 // num_files, tmp_path / "hub"
    folder.mkdir()
    for number in range(num_files):
        path = folder / f"train-{number:05}-of-{num_files:05}.parquet"
        pq.write_table(table.slice(number * size, size), path, row_group_size=16)
    quarter = sum(path.stat().st_size for path in folder.iterdir()) / 4
    hub.add(NAME, folder, "dataset")
    parts = [tmp_path / f"part-{number}" for number in range(1, 5)]
    for number, part in enumerate(parts, 1):
        hub.num_sent.clear()
        build_index(open_(NAME, streaming=streaming), part, tiny_encoder, BuildOptions(part=(number, 4)))
        assert hub.num_sent.total() <= 1.1 * quarter
    merge(parts, tmp_path / "merged")
    build_index(open_(NAME, streaming=streaming), tmp_path / "one", tiny_encoder)
    assert_equal(tmp_path / "merged", tmp_path / "one")


def assert_equal(merged: Path, one: Path) -> None:
    """The same items in the same order, with the same vectors but for the last bit: batches of a model differ."""
    first, second = Index.load(merged), Index.load(one)
    assert [first.item(row) for row in range(len(first))] == [second.item(row) for row in range(len(second))]
    np.testing.assert_allclose(first.rows_of(range(len(first))), second.rows_of(range(len(second))), atol=1e-3)


def test_a_streamed_tar_is_fetched_by_one_part(
    hub: LoopbackHub, tmp_path: Path, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning, which tells the columns, aside; the parts make what one build makes. One tar is empty."""
    folder = write("tar", tmp_path / "hub", "train")
    with tarfile.open(folder / "train-00003.tar", "w"):
        pass
    write_tar(ROWS[:2], folder / "train-00004.tar", 0)
    hub.add(NAME, folder, "dataset")
    monkeypatch.setattr("imgsearch.ingest.tars.HEAD_BYTES", 8192)
    parts, whole = [tmp_path / f"part-{number}" for number in range(1, 4)], []
    for number, part in enumerate(parts, 1):
        hub.num_sent.clear()
        source = open_(NAME, streaming=True)
        if number == 2:
            hub.fault = Cut(0, "train-00004.tar")
            with pytest.raises(InputError, match="broke off after 0 entries: the connection .* last finished shard"):
                build_index(source, part, tiny_encoder, BuildOptions(part=(number, 3)))
            hub.fault = None
        build_index(source, part, tiny_encoder, BuildOptions(part=(number, 3)))  # the first of two tars is finished
        assert all(hub.num_sent[path.name] <= 8192 + path.stat().st_size for path in folder.iterdir())
        whole += [name for name, size in hub.num_sent.items() if size >= (folder / name).stat().st_size]
    assert sorted(whole) == sorted(path.name for path in folder.iterdir())
    merge(parts, tmp_path / "merged")
    build_index(open_(NAME, streaming=True), tmp_path / "one", tiny_encoder, BuildOptions(shard_size=7))
    assert_equal(tmp_path / "merged", tmp_path / "one")
    ids = list(Index.load(tmp_path / "one").column("id"))
    assert ids[0] == "train/train-00000-of-00003.tar/0" and ids[-1] == "train/train-00004.tar/1"
    with pytest.raises(InputError, match="--limit does not go with parts of tars"):
        build_index(open_(NAME, streaming=True), tmp_path / "x", tiny_encoder, BuildOptions(part=(1, 2), limit=3))


def test_a_hub_that_falls_silent(
    hub: LoopbackHub, source: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    entries = open_(source("hub parquet"), streaming=True).read()
    next(entries)
    hub.fault = Hang("data/train-00002-of-00003.parquet")
    with pytest.raises(InputError, match="broke off after 20 entries: the connection .* last finished shard"):
        list(entries)


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text("ascii").split()[1])


def test_a_damaged_file(tmp_path: Path) -> None:
    path = write("parquet", tmp_path / "data") / "part-00001-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:4] + bytes(800) + path.read_bytes()[804:])
    entries = all_of(path.parent)
    lost = [entry for entry in entries if isinstance(entry, Skip)]
    assert [skip.picture for skip in lost] == [f"train/{number}" for number in range(10, 16)]
    assert {skip.reason for skip in lost} == {f"a part of {path.name} is damaged"} and len(entries) == NUM_ROWS
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("dataset_dict.json", f'{{"splits": {splits}}}') for splits in ('["."]', '["../../etc"]', '"abc"', "[5]")),
        *(("state.json", f'{{"_data_files": {files}}}') for files in ('[{"filename": "../x"}]', "[5]", "null")),
        ("dataset_dict.json", "{}"),
    ],
)
def test_a_saved_dataset_names_nothing_elsewhere(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert "its files are damaged or of another kind" in refusal(tmp_path)


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


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Status(404), "no such dataset or revision (404)"),
        (Status(401), "no such dataset, or does not show it to you"),
        (Status(403, "/resolve/", (("X-Error-Code", "GatedRepo"),)), "Ask for access"),
        (Status(429), "too many requests"),
        (Hang(), "did not answer within 1 s"),
        (None, "Check the network"),
    ],
    ids=repr,
)
def test_a_hub_that_does_not_give_it(
    hub: LoopbackHub, source: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, fault: Any, words: str
) -> None:
    source("hub parquet")
    hub.fault = fault
    if fault == Hang():
        monkeypatch.setattr("imgsearch.hub.PROBE_S", 1.0)
    if not fault:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert words in refusal(NAME, streaming=True)


def test_offline(hub: LoopbackHub, source: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_(source("hub parquet"), **KEEP)
    entries = before.read()
    for _ in range(15):  # the third file has not been fetched
        next(entries)
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        assert "HF_HUB_OFFLINE is set and it is not here" in refusal(NAME)
    assert len(list(entries)) == NUM_ROWS - 15
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    again = open_(NAME, **KEEP)
    assert again.revision == before.revision and [facts(entry) for entry in again.read()] == WHOLE
    assert "HF_HUB_OFFLINE is set" in refusal("tiny/other")
    assert not hub.requests


def test_a_hub_dataset_of_loose_files(
    hub: LoopbackHub, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = tmp_path / "loose"
    for name in ("train/a.png", "train/b.avif", "test/a.png"):
        (loose / name).parent.mkdir(parents=True, exist_ok=True)
        (loose / name).write_bytes(DATA[0])
    (loose / "metadata.csv").write_text("file_name,caption\ntrain/a.png,the first\n")
    (loose / "README.md").write_text("---\nlicense: cc0-1.0\n---\n")
    commit = hub.add(NAME, loose, "dataset")
    opened = open_source(NAME, DatasetOptions(streaming=True))
    assert isinstance(opened, Folder) and opened.skips == []
    assert (opened.name, opened.revision, opened.licence) == (f"hf://datasets/{NAME}", commit, "cc0-1.0")
    read = [entry for entry in opened.read() if isinstance(entry, Picture)]
    assert [entry.id for entry in read] == ["README.md", "test/a.png", "train/a.png", "train/b.avif"]
    assert {entry.read() for entry in read[1:]} == {DATA[0]} and read[2].caption == "the first"
    opened = open_source(NAME, DatasetOptions(caption_column=""))
    assert not any(entry.caption for entry in opened.read() if isinstance(entry, Picture))
    assert "--split does not go with" in refusal(NAME, split="train")
    assert snapshot_download(NAME, repo_type="dataset", local_files_only=True).endswith(commit)  # for other programs
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    again = open_source(NAME, DatasetOptions(streaming=True))
    assert isinstance(again, Folder) and again.revision == commit and not hub.requests
    assert [entry.id for entry in again.read() if isinstance(entry, Picture)] == [entry.id for entry in read]


def test_a_folder_of_pictures_is_walked(folder: Path) -> None:
    opened = open_source(str(folder), DatasetOptions())
    assert isinstance(opened, Folder) and opened.num_entries == 6
    for options in ({"split": "train"}, {"columns": ("a",)}, {"id_column": "a"}, {"streaming": True}):
        flag = "--" + next(iter(options)).replace("_", "-")
        assert f"{flag} does not go with" in refusal(folder, **options)


def test_what_is_no_source(folder: Path, tmp_path: Path) -> None:
    for spec in (folder / "none", folder / "coffee.jpg", "a/b/c", "./x/y", "~x/y", "one"):
        assert "is not a folder" in refusal(spec)
    for kind in ("parquet", "tar"):
        write(kind, tmp_path / "mixed")
    assert "several kinds (.parquet, .tar)" in refusal(tmp_path / "mixed")
    assert "--revision does not go with" in refusal(tmp_path / "mixed" / "part-00000-of-00003.tar", revision="main")


def test_a_clone_has_the_splits_of_its_dataset(tmp_path: Path) -> None:
    """By the names of files and folders, as the hub gives them, or by the README."""
    for name in ("data/train-00000-of-00001", "data/test-00000-of-00001", "[x]/odd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_rows(tmp_path / f"{name}.parquet", ROWS[:1], FEATURES)
    for name in ("LICENSE", "dataset_infos.json", ".gitattributes"):
        (tmp_path / name).write_text("{broken")
    assert "several splits. Choose with --split one of: train, test" in refusal(tmp_path)
    opened = open_source(str(tmp_path), DatasetOptions(split="test"))
    assert [entry.id for entry in opened.read() if isinstance(entry, Picture)] == ["test/0"]
    assert opened.skips == [Skip("[x]/odd.parquet", "in no split")]
    odd = "  data_files:\n  - split: odd\n    path: '*/odd*'\n"
    configs = f"- config_name: one\n  data_files: data/*\n- config_name: two\n{odd}"
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert "several configs. Choose with --config one of: one, two" in refusal(tmp_path)
    opened = open_source(str(tmp_path), DatasetOptions(config="two"))
    assert opened.split == "odd" and len(list(opened.read())) == 1
    (tmp_path / "README.md").write_text("---\nconfigs: [\n---\n")
    assert "several splits" in refusal(tmp_path)
