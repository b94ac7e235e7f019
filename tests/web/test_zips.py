"""Hits as a zip: names that are safe anywhere, originals on this machine only, and no more than there is room for."""

import hashlib
import io
import re
import threading
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import gradio as gr
import pytest
from PIL import Image
from starlette.requests import Request

from imgsearch.engine import LARGE_SIDE, Engine
from imgsearch.index.index import Index
from imgsearch.model_manager import ModelManager
from imgsearch.records import Hit, SearchResult
from imgsearch.web import zips
from imgsearch.web.zips import NUM_KEPT, Zips
from tests.helpers.app import wait_until

HOSTILE = ["../../etc/passwd", "/etc/passwd", "..", ".", "C:\\a\\CON", "nul.jpg", "a/b.jpg", "c/b.jpg", "c/B.jpg", "a."]
HOSTILE += ["x" * 300 + ".jpg", "a\0b\n.jpg", "\u202egpj.exe", "é😀.jpg", "a/", "captions.csv", "-rf *", "~/.ssh"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def visitor(address: str) -> gr.Request:
    return gr.Request(Request({"type": "http", "headers": [], "client": (address, 1)}))


ME = visitor("10.0.0.1")


def read(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as file:
        assert file.testzip() is None
        return {info.filename: file.read(info) for info in file.infolist()}


class Unsearched(Engine):
    """The pictures of an index, without models."""

    def __init__(self, index: Index, models: ModelManager) -> None:
        super().__init__(models)
        self._index = index

    @property
    def index(self) -> Index:
        return self._index


def test_names_are_safe_and_told_apart(engine: Engine, index: Index) -> None:
    items = [replace(index.item(row), id=id) for row, id in enumerate(HOSTILE)]
    hostile = Unsearched(Index.from_rows(index.rows[: len(items)], items, index.provenance), engine.models)
    hits = [Hit(rank, item, 0.5) for rank, item in enumerate(items, start=1)]
    _, *names = read(Zips(originals=True).make(SearchResult("", hits, 0.0), hostile, ME))
    assert len({name.casefold() for name in names}) == len(HOSTILE)
    assert all(re.fullmatch(r"\d{3}-[\w.-]*\w", name) and len(name.encode()) < 256 for name in names)
    assert {name[4:] for name in names} >= {"passwd.webp", "b.webp", "captions.webp"}


def test_originals_on_this_machine_and_pictures_without_places_elsewhere(engine: Engine) -> None:
    result = engine.browse(3)
    captions, *pictures = read(Zips(originals=True).make(result, engine, ME)).values()
    assert captions == result.to_csv().encode()
    assert [hashlib.sha256(data).hexdigest() for data in pictures] == [hit.item.sha256 for hit in result.hits]
    files = read(Zips(originals=False).make(result, engine, ME))
    assert list(files)[1:] == [f"{hit.rank:03}-{Path(hit.item.id).stem}.webp" for hit in result.hits]
    for data in list(files.values())[1:]:
        picture = Image.open(io.BytesIO(data))
        assert picture.format == "WEBP" and max(picture.size) <= LARGE_SIDE and not picture.getexif()


def test_a_zip_is_bounded_and_what_is_refused_is_gone(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = engine.browse(3)
    monkeypatch.setattr(zips, "MAX_MB", 0)
    with pytest.raises(gr.Error, match="of 0 MB"):
        Zips(originals=True).make(result, engine, ME)
    monkeypatch.setattr(zips, "MAX_PICTURES", 2)
    with pytest.raises(gr.Error, match="at most 2 pictures"):
        Zips(originals=True).make(result, engine, ME)
    assert not list(folder.iterdir())


def test_only_the_last_ones_are_kept(engine: Engine, folder: Path) -> None:
    zips_ = Zips(originals=True)
    made = [zips_.make(engine.browse(1), engine, ME) for _ in range(NUM_KEPT + 2)]
    assert [path.is_file() for path in made] == [False] * 2 + [True] * NUM_KEPT


def test_one_is_made_at_a_time(engine: Engine, folder: Path) -> None:
    made, result = Zips(originals=False), engine.browse(1)
    engine._decoding.acquire()
    engine._decoding.acquire()  # now no picture is read
    try:
        making = threading.Thread(target=made.make, args=(result, engine, ME))
        making.start()
        wait_until(lambda: list(folder.rglob("*.zip")))
        with pytest.raises(gr.Error, match="Another zip is being made"):
            made.make(result, engine, ME)
    finally:
        engine._decoding.release(2)
    making.join()
    assert made.make(result, engine, ME).is_file()
