"""`caption`: a bundle described by what is at hand, killed and gone on with, searched, measured, shown and exported."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from imgsearch.config import ROOT
from imgsearch.engine import Engine
from imgsearch.index.captions import NOTES, add_captions
from imgsearch.index.index import Index
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.models.encoder import STARTER_ID, Encoder
from imgsearch.records import CAPTIONED_BY
from tests.helpers.app import running_app
from tests.helpers.commands import Run
from tests.helpers.loopback_hub import LoopbackHub
from tests.helpers.pages import WAIT_MS, open_hit, search
from tests.helpers.tables import as_table, ignore
from tests.helpers.tiny_bundles import check_same, contents_of, items_of, save_pictures

STARTER = ("--captioner", "starter")
WRITTEN = "a cup of coffee"  # by a person


def bundle_of(six_photos: Path, place: Path, encoder: Encoder) -> Path:
    """A bundle of six photos, of which one has a caption."""
    folder = Path(shutil.copytree(six_photos, place / "pictures"))
    (folder / "metadata.csv").write_text(f"file_name,caption\ncoffee.jpg,{WRITTEN}\n", "utf-8")
    build_index(Folder(folder), place / "bundle", encoder)
    return place / "bundle"


@pytest.fixture
def bundle(six_photos: Path, tiny_encoder: Encoder, tmp_path: Path) -> Path:
    return bundle_of(six_photos, tmp_path, tiny_encoder)


def check_exports(bundle: Path, model: str, run: Run) -> None:
    """Of five captions by a model and one by a person."""
    file, texts = bundle.with_name("captions.csv"), bundle.with_name("texts")
    assert run("export", "--index", bundle, "--captions", file, "--json").answer()["num_items"] == 6
    rows = {row["id"]: row for row in csv.DictReader(file.read_text("utf-8").splitlines())}
    for item in items_of(bundle):
        own = "" if item.caption else model
        assert rows[item.id] == {"id": item.id, "caption": item.any_caption, CAPTIONED_BY: own}
    texts.mkdir()
    (texts / "coffee.txt").write_text("mine")
    done = run("export", "--index", bundle, "--sidecars", texts)
    assert done.out.startswith("5 captions are in ") and "Left out: coffee.jpg: File exists" in done.out
    facts = run("info", "--index", bundle, "--json").answer()
    assert facts["captions"] == {"people": 1, model: 5} and len(facts["files"]) == 5  # the derived ones, too
    assert f"{model} 5" in run("info", "--index", bundle).out


def test_a_model_of_the_hub_describes(bundle: Path, hub: LoopbackHub, tiny: Path, run: Run) -> None:
    hub.add("tiny/blip", tiny / "blip")
    refused = run("caption", "--index", bundle, "--captioner", "tiny/blip", "--language", "fr")
    assert refused.code == 2 and "tiny/blip chooses its language. " in refused.err
    asked = ("caption", "--index", bundle, "--captioner", "tiny/blip", "--detail", "detailed")
    done = run(*asked)
    assert (done.code, done.out) == (0, f"5 pictures of {bundle} described by tiny/blip.\n"), done.err
    assert "5/5" in done.err and "pictures/s" in done.err
    texts = {item.id: item.generated_caption for item in items_of(bundle)}
    assert len({*texts.values()}) > 2 and texts["coffee.jpg"] == ""

    query = max(texts["food-fruit-kiwi.jpg"].split(), key=len)
    hits = run("search", query, "--index", bundle, "--json").answer()["hits"]
    holding = {id for id, text in texts.items() if query in text.split()}
    assert {hit["id"] for hit in hits if hit["words"] == 1} == holding
    assert texts["food-fruit-kiwi.jpg"] in run("search", query, "--index", bundle).out
    assert all(hit["words"] == 0 for hit in run("search", "blip", "--index", bundle, "--json").answer()["hits"])
    figures = run("eval", "--index", bundle, "--json").answer()
    assert (figures["captions"], figures["num_queries"], figures["calibrated_by"]) == ("caption", 1, "examples")
    check_exports(bundle, "tiny/blip", run)

    done = run("caption", "--index", bundle, "--captioner", tiny / "blip", "--json")
    assert done.answer() == {"num_items": 0, "captioned_by": "blip"}  # without the path of the folder


@pytest.mark.long
def test_the_starter_describes_in_french(six_photos: Path, tmp_path: Path, engine: Engine, run: Run) -> None:
    bundle = bundle_of(six_photos, tmp_path, engine.searcher.encoder)
    done = run("caption", "--index", bundle, *STARTER, "--language", "fr")
    assert done.code == 0 and done.out == f"5 pictures of {bundle} described by {STARTER_ID}.\n", done.err
    for item in items_of(bundle):
        *_, description = engine.describe_stream(bundle.with_name("pictures") / item.id, language="fr")
        assert item.any_caption == (WRITTEN if item.id == "coffee.jpg" else description.caption)
    hits = run("search", "un blaireau", "--index", bundle, "--json").answer()["hits"]
    assert hits[0]["words"] == 1 and "blaireau" in hits[0]["columns"]["generated_caption"] and not hits[0]["caption"]
    check_exports(bundle, STARTER_ID, run)


def test_what_cannot_be_described_is_one_sentence(bundle: Path, tmp_path: Path, run: Run) -> None:
    as_table(Index.load(bundle), tmp_path)
    before = contents_of(bundle)
    for index, captioner, words in (
        (f"lance://{tmp_path / 'table'}", "starter", "A Lance table cannot be changed, merged or exported."),
        ("hf://datasets/some/bundle", "starter", "on the hub and cannot be changed here"),
        (tmp_path / "none", "starter", "no bundle at"),
        (bundle, "some/model", "some/model"),
        (bundle, "nonsense", "There is no captioner 'nonsense'"),
    ):
        assert words in run("caption", "--index", index, "--captioner", captioner).refusal()
    assert contents_of(bundle) == before


def start(bundle: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "imgsearch", "caption", "--index", str(bundle), *STARTER]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)


def noted(bundle: Path) -> list[str]:
    """The digests of the pictures that a run has described so far."""
    file = bundle.with_name(".bundle.build") / NOTES
    lines = file.read_text("utf-8").split("\n") if file.exists() else []
    return [json.loads(line)[0] for line in lines if line.endswith("]")]


def test_after_a_kill_the_next_run_goes_on_at_the_next_picture(
    tmp_path: Path, encoder: Encoder, engine: Engine
) -> None:
    num_pictures = 24
    folder = tmp_path / "pictures"
    build_index(Folder(save_pictures(folder, num_pictures)), tmp_path / "bundle", encoder)
    once = Path(shutil.copytree(tmp_path / "bundle", tmp_path / "once"))
    before = contents_of(tmp_path / "bundle")
    process = start(tmp_path / "bundle")
    while len(noted(tmp_path / "bundle")) < 2 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = noted(tmp_path / "bundle")
    assert 2 <= len(done) < num_pictures / 2 and contents_of(tmp_path / "bundle") == before
    described: list[bytes] = []

    def describe(picture: bytes) -> str:
        described.append(picture)
        return engine.describe(picture).caption

    add_captions(once, describe, STARTER_ID, ignore)
    first, described[:] = described[:], []
    assert add_captions(tmp_path / "bundle", describe, STARTER_ID, ignore) == (num_pictures // 2, [])
    assert described == first[len(done) :]
    check_same(tmp_path / "bundle", once)
    assert not (tmp_path / ".bundle.build").exists()


@pytest.mark.long
def test_the_page_shows_who_wrote_it(
    six_photos: Path, tmp_path: Path, engine: Engine, new_context: Callable[..., BrowserContext]
) -> None:
    bundle = bundle_of(six_photos, tmp_path, engine.searcher.encoder)
    add_captions(bundle, lambda picture: engine.describe(picture).caption, STARTER_ID, ignore)
    with running_app("--index", str(bundle), *STARTER) as (url, _):
        for locale, label in (("en-US", "Described by"), ("fr-FR", "Décrit par")):
            page = new_context(locale=locale).new_page()
            page.goto(str(url))
            tiles = search(page, "a badger")
            expect(tiles.first.locator(".caption")).to_contain_text("badger", timeout=WAIT_MS)
            expect(tiles.first.locator(".mark")).to_contain_text("caption" if locale == "en-US" else "légende")
            dialog = open_hit(page, 0)
            expect(dialog.locator("h2")).to_contain_text("badger")
            expect(dialog.locator("dl")).to_contain_text(f"{label}{STARTER_ID}")
            expect(dialog.locator("dl")).not_to_contain_text("generated_caption")
            expect(page.locator(".filters fieldset")).to_have_count(0)
