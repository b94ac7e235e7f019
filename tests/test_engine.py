"""The three verbs on the real starter model and collection."""

import io
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgsearch.engine import Engine
from imgsearch.errors import InputError, ModelError, PictureError, SettingsError
from imgsearch.images import open_rgb
from imgsearch.index.filters import Condition
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance, read_manifest
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions
from imgsearch.model_manager import ModelManager
from imgsearch.models.encoder import Encoder
from imgsearch.search.query import Part


def test_search_finds_by_meaning(engine: Engine) -> None:
    captions_of = {"a dog": "A black dog", "strawberry": "A ripe strawberry", "pocket watch or clock": "wall clock"}
    for text, expected in captions_of.items():
        captions = [hit.item.caption for hit in engine.search(text, 5).hits]
        assert any(expected in caption for caption in captions), captions


def test_search_scores_are_cosines_in_order(engine: Engine) -> None:
    scores = [hit.score for hit in Engine.open(engine.bundle, words=False).search("an owl", 20).hits]
    assert scores == sorted(scores, reverse=True)
    assert 0.4 < scores[0] < 1


def test_an_item_finds_itself_first(engine: Engine, examples: Path) -> None:
    hits = engine.similar(examples / "skimage" / "coffee.jpg", 3).hits
    assert hits[0].item.id == "skimage/coffee.jpg"
    assert hits[0].score == pytest.approx(1, abs=2e-3)


def test_a_rotated_copy_finds_the_item_first(engine: Engine, examples: Path) -> None:
    for name in ("wallpapers/two_dogs.jpg", "stamps/animals-birds-owl.jpg"):
        exif = Image.Exif()
        exif[0x0112] = 8
        buffer = io.BytesIO()
        turned = open_rgb(examples / name).transpose(Image.Transpose.ROTATE_270)
        turned.save(buffer, "JPEG", exif=exif, quality=90)
        assert engine.similar(buffer.getvalue(), 1).hits[0].item.id == name


def test_k_is_held_to_the_collection(engine: Engine) -> None:
    assert len(engine.search("a dog", 100_000).hits) == len(engine.index)
    for k in (0, -3):
        with pytest.raises(InputError, match="at least 1"):
            engine.search("a dog", k)


def test_browsing_shows_each_item_once_in_pages_of_all_parts(engine: Engine) -> None:
    pages = [engine.browse(50)]
    while (start := pages[-1].following) is not None:
        pages.append(engine.browse(50, start=start))
    hits = [hit for page in pages for hit in page.hits]
    assert sorted(hit.row for hit in hits) == list(range(len(engine.index)))
    assert [hit.rank for hit in hits] == list(range(1, len(engine.index) + 1))
    rows = sorted(hit.row for hit in engine.browse(24).hits)
    assert max(np.diff([-1, *rows, len(engine.index)])) < 2.5 * len(engine.index) / 24  # far apart
    assert engine.browse(24).has_match and not any(hit.strength for hit in hits)
    assert engine.browse(5, start=10**9).hits == []


def test_browsing_takes_the_filters_of_a_search(engine: Engine) -> None:
    space = engine.browse(12, conditions=[Condition.parse("subject=space")])
    assert len(space.hits) == 12 and {hit.item.columns["subject"] for hit in space.hits} == {"space"}
    rest = engine.browse(12, start=12, conditions=[Condition.parse("subject=space")])
    assert len(rest.hits) == 3 and rest.following is None
    for options, words in (({"k": 0}, "at least 1"), ({"k": 1, "start": -1}, "leave out is -1")):
        with pytest.raises(InputError, match=words):
            engine.browse(**options)
    with pytest.raises(InputError, match="no column 'nothing'"):
        engine.browse(1, conditions=[Condition.parse("nothing=1")])


def test_browsing_and_searching_sort_by_a_column(engine: Engine) -> None:
    pages = [engine.browse(100, sort="-subject")]
    while (start := pages[-1].following) is not None:
        pages.append(engine.browse(100, start=start, sort="-subject"))
    hits = [hit for page in pages for hit in page.hits]
    assert len({hit.row for hit in hits}) == len(hits) == len(engine.index)
    subjects = [hit.item.columns["subject"] for hit in hits]
    assert subjects == sorted(subjects, reverse=True) and len(set(subjects)) > 5
    found = engine.query([Part("an owl")], 263, sort="id")
    likely = [hit.item.id for hit in found.hits if hit.is_likely]
    others = [hit.item.id for hit in found.hits if not hit.is_likely]
    assert [hit.item.id for hit in found.hits] == sorted(likely, key=str.lower) + sorted(others, key=str.lower)
    assert any("owl" in id for id in likely) and len(others) > 200
    for ask in (engine.browse, partial(engine.query, [Part("an owl")])):
        with pytest.raises(InputError, match="no column 'nothing'. It has: id, caption, caption_fr"):
            ask(1, sort="nothing")


@pytest.mark.parametrize("text", ["", "   \n", "x" * 10_000, "dog \udcff"])
def test_texts_that_cannot_be_searched(engine: Engine, text: str) -> None:
    with pytest.raises(InputError, match="empty|10,000 characters|Unicode"):
        engine.search(text)


def test_thumbnails_of_pictures_are_made_two_at_a_time_and_kept(
    folder: Path, tiny_encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(Folder(folder), tmp_path / "bundle", tiny_encoder, BuildOptions(thumbnails=False))
    models = ModelManager(tmp_path / "bundle", tiny_encoder.model_id, "starter", "float32")
    models.load()
    engine, at_once, counts = Engine(models), threading.Semaphore(0), []

    def open_and_count(*source: Any, **options: Any) -> Image.Image:
        at_once.release()
        time.sleep(0.1)
        counts.append(at_once._value)
        at_once.acquire()
        return open_rgb(*source, **options)

    monkeypatch.setattr("imgsearch.engine.open_rgb", open_and_count)
    items = [engine.index.item(row) for row in range(6)]
    with ThreadPoolExecutor(6) as visitors:
        made = list(visitors.map(engine.thumbnail, items))
    assert max(counts) == 2 and len(set(made)) == 6
    shutil.rmtree(folder)
    assert [engine.thumbnail(item) for item in items] == made == [engine.large_picture(item.id) for item in items]


def test_describe_says_what_it_sees(engine: Engine, examples: Path) -> None:
    description = engine.describe(examples / "skimage" / "coffee.jpg")
    assert "espresso" in description.caption
    assert all(0 <= tag.score <= 1 for tag in description.tags)
    with pytest.raises(PictureError, match=r"notes\.txt is not a picture"):
        engine.describe(b"hello", "notes.txt")


def test_the_large_picture_is_the_original_or_the_thumbnail(
    engine: Engine, examples: Path, copy_bundle: Callable[[], Path]
) -> None:
    original = open_rgb(examples / "skimage" / "coffee.jpg")
    assert open_rgb(engine.large_picture("skimage/coffee.jpg")).size == original.size
    elsewhere = Engine.open(copy_bundle())  # its source, beside it, is not there
    assert max(open_rgb(elsewhere.large_picture("skimage/coffee.jpg")).size) == 320
    with pytest.raises(InputError, match="no picture"):
        engine.large_picture("../../etc/passwd")


def test_a_changed_file_is_not_shown_as_the_item(folder: Path, tmp_path: Path, encoder: Encoder) -> None:
    build_index(Folder(folder), tmp_path / "bundle", encoder)
    (folder / "coffee.jpg").write_bytes((folder / "household-key.jpg").read_bytes())
    shown = Engine.open(tmp_path / "bundle").large_picture("coffee.jpg")
    assert shown == Index.load(tmp_path / "bundle").item_by_id("coffee.jpg").thumbnail


def test_a_bundle_without_its_encoder_says_why_and_describes(starter_bundle: Path, tmp_path: Path) -> None:
    index = Index.load(starter_bundle)
    items = [index.item(row) for row in range(3)]
    card = Provenance(encoder="ViT-B-32/openai", source=str(tmp_path))
    Index.from_rows(index.rows[:3], items, card).save(tmp_path / "bundle")
    engine = Engine(ModelManager(tmp_path / "bundle"))
    with pytest.raises(ModelError, match=r"ViT-B-32/openai.*Use ViT-B-32-quickgelu/openai"):
        engine.search("a dog")
    assert engine.describe(Image.new("RGB", (32, 32), "red")).caption


def test_unknown_models_are_refused(starter_bundle: Path) -> None:
    for models in ({"encoder": "clipp"}, {"captioner": "blimp"}):
        with pytest.raises(SettingsError, match="auto, starter"):
            Engine.open(starter_bundle, **models)


def test_models_load_once_from_many_threads(starter_bundle: Path) -> None:
    engine = Engine(ModelManager(starter_bundle))
    encoders: list[Encoder] = []
    answers: list[list[str]] = []

    def query() -> None:
        answers.append([hit.item.id for hit in engine.search("a red fruit", 5).hits])
        encoders.append(engine.models.current.encoder)

    threads = [threading.Thread(target=query) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6 and all(answer == answers[0] for answer in answers)
    assert len({id(encoder) for encoder in encoders}) == 1
    assert read_manifest(starter_bundle).encoder == encoders[0].model_id
