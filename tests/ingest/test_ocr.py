"""Text in pictures: it is read by the packaged models, searched as words, and kept by an update."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import rapidocr
from starlette.requests import Request

from imgsearch.engine import Engine
from imgsearch.errors import ModelError
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.ocr import TextReader, text_reader
from imgsearch.ingest.source import BuildOptions
from imgsearch.models.encoder import Encoder
from imgsearch.records import TEXT_IN_PICTURE
from imgsearch.search.query import Part
from imgsearch.search.searcher import Searcher
from imgsearch.web.components.columns import offered_filters, shown_fields
from imgsearch.web.components.wall import tile
from imgsearch.web.page_state import PageState
from tests.helpers.commands import Run
from tests.helpers.tiny_bundles import derived_of, save_picture

BAKERY = "Boulangerie Lefèvre fermée jusqu'à mardi"  # stands on bakery.png, in two lines
FRENCH = gr.Request(Request({"type": "http", "headers": [(b"accept-language", b"fr")]}))


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """A picture with words and one without."""
    folder = tmp_path / "signs"
    save_picture(folder / "plain.png", 1)
    shutil.copy(Path(__file__).parent / "bakery.png", folder)
    return folder


def columns_of(bundle: Path) -> dict[str, str | None]:
    index = Index.load(bundle)
    return {item.id: item.columns.get(TEXT_IN_PICTURE) for item in map(index.item, range(len(index)))}


def overwrite(path: Path) -> None:
    """Other bytes, which the size and time of the file do not tell."""
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.long
def test_what_is_written_is_found_by_command_line(signs: Path, tmp_path: Path, engine: Engine, run: Run) -> None:
    bundle = tmp_path / "bundle"
    built = run("build", signs, "--out", bundle, "--encoder", "starter", "--text", "--json").answer()
    assert built["stages"]["text"] > 0 and not built["skipped"]
    first = run("search", "lefevre", "--index", bundle, "--json").answer()["hits"][0]
    assert (first["id"], first["words"]) == ("bakery.png", 1) and "picture" in first["reasons"]


def test_what_is_written_is_found_and_shown(signs: Path, tmp_path: Path, encoder: Encoder) -> None:
    build_index(Folder(signs), tmp_path / "bundle", encoder, BuildOptions(text=True, strict=True))
    assert columns_of(tmp_path / "bundle") == {"bakery.png": BAKERY, "plain.png": ""}
    index = Index.load(tmp_path / "bundle")
    searcher = Searcher(index, encoder, derived_of(tmp_path / "bundle", index))
    for query in ("lefevre", "LEFÈVRE", "boulangeries"):
        hit, other = searcher.search([Part(query)], 2).hits
        assert hit.item.id == "bakery.png" and hit.reasons == ("picture",) and other.reasons == (), query
    assert not any(hit.reasons for hit in searcher.search([Part("lefevre")], 2, words=False).hits)
    shown = tile(hit, b"", FRENCH)
    assert shown["mark"] == shown["why"] == "dans l'image"
    assert ["Texte dans l'image", BAKERY] in shown_fields(hit.item, FRENCH)
    assert "Texte dans l'image" not in dict(shown_fields(other.item, FRENCH))
    assert not offered_filters(searcher.index.columns, PageState(), FRENCH)


def test_an_update_reads_what_has_not_been_read(signs: Path, tmp_path: Path, encoder: Encoder) -> None:
    bundle, source = tmp_path / "bundle", Folder(signs)
    build_index(source, bundle, encoder)
    assert columns_of(bundle) == {"bakery.png": None, "plain.png": None}
    overwrite(signs / "plain.png")
    report = build_index(source, bundle, encoder, BuildOptions(update=True, text=True, strict=True))
    assert (report.num_items, report.num_encoded) == (2, 0)  # what cannot be read any more is kept
    [note] = report.skipped
    assert (note.picture, note.is_note) == ("plain.png", True) and note.reason.startswith("its text is not read: It is")
    assert columns_of(bundle) == {"bakery.png": BAKERY, "plain.png": None}

    shutil.copy(signs / "bakery.png", signs / "copy.png")
    (signs / "plain.png").unlink()
    report = build_index(Folder(signs), bundle, encoder, BuildOptions(update=True, text=True))
    assert report.num_encoded == 0 and "text" not in report.stages  # nothing is read twice
    build_index(Folder(signs), bundle, encoder, BuildOptions(update=True))
    assert columns_of(bundle) == {"bakery.png": BAKERY, "copy.png": BAKERY}


def test_a_column_of_the_users_own_wins(signs: Path, tmp_path: Path, encoder: Encoder) -> None:
    (signs / "metadata.csv").write_text("file_name,caption,text_in_picture\nbakery.png,,a shop\nplain.png,,\n")
    report = build_index(Folder(signs), tmp_path / "bundle", encoder, BuildOptions(text=True))
    assert columns_of(tmp_path / "bundle") == {"bakery.png": "a shop", "plain.png": ""} and "text" not in report.stages


@pytest.fixture
def unread() -> Iterator[None]:
    """No reader is loaded before."""
    text_reader.cache_clear()
    yield
    text_reader.cache_clear()


def test_without_rapidocr_a_sentence_says_how_to_install_it(
    unread: None, signs: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    refused = run("build", signs, "--out", tmp_path / "bundle", "--text").refusal()
    assert 'Install it: pip install "rapidocr>=' in refused and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_without_its_models_a_sentence_says_so(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is fetched in their place."""
    models = Path(rapidocr.__file__).parent / "models"
    (tmp_path / "models").mkdir()
    for path in models.glob("*.onnx") if damage == "cut" else ():
        (tmp_path / "models" / path.name).write_bytes(path.read_bytes()[:100_000])
    monkeypatch.setattr(rapidocr, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelError, match="models of RapidOCR are missing or damaged") as told:
        TextReader()
    assert "\n" not in str(told.value)
