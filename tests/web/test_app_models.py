"""The app with models of the hub: started by its command line, used in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import BrowserContext, Page, expect
from safetensors.torch import load_file, save_file

from imgsearch.config import ROOT
from tests.helpers.app import PROGRAM, App, free_port, running_app
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.loopback_hub import HUB, LoopbackHub, Slow, Status
from tests.helpers.pages import open_tab, upload

SIGLIP, BLIP = "timm/ViT-B-32-SigLIP2-256", "Salesforce/blip-image-captioning-base"
SIGLIP_ID = "ViT-B-32-SigLIP2-256/webli"
LONG_QUERY = "a dog that runs on a very long beach in the evening with many people and their umbrellas"


SLOWLY = """
import time
from imgsearch.engine import Engine
stream = Engine.describe_stream
def describe_stream(self, *args, **options):
    for description in stream(self, *args, **options):
        time.sleep(0.1 if options.get("detail") == "detailed" else 0)
        yield description
Engine.describe_stream = describe_stream
"""


@pytest.fixture(scope="module")
def chat(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with an encoder and a chat captioner of the hub, all in place."""
    HUB.add("tiny/clip", tiny / "clip")
    HUB.add("tiny/talkative", talkative(tiny / "internvl", tmp_path_factory.mktemp("model") / "talkative"))
    cache = str(tmp_path_factory.mktemp("cache"))
    flags = ("--encoder", "hf-hub:tiny/clip", "--captioner", "tiny/talkative")
    with running_app(*flags, program=SLOWLY + PROGRAM, XDG_CACHE_HOME=cache, HF_HOME=cache) as app:
        wait_for_captions(Client(app.url, verbose=False))
        yield app


def wait_for_captions(client: Client) -> None:
    """Until the captioner answers and no longer the describer."""
    deadline = time.monotonic() + 120
    while "background" in client.predict(picture("stamps/food-fruit-orange_seville.jpg"), api_name="/describe")[0]:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def talkative(model: Path, folder: Path) -> Path:
    """A copy of the tiny chat model that never ends by itself."""
    shutil.copytree(model, folder)
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    tensors = load_file(folder / "model.safetensors")
    tensors["language_model.lm_head.weight"][end] = 0  # of many logits one is always above 0
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def picture(name: str) -> object:
    return handle_file(ROOT / "examples" / name)


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext]) -> Iterator[Callable[..., Page]]:
    errors: list[str] = []

    def visit(url: str, locale: str = "en-US") -> Page:
        page = new_context(viewport={"width": 1400, "height": 900}, locale=locale).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        open_tab(page, "describe")
        return page

    yield visit
    assert not errors


def test_auto_fetches_behind_the_page_and_swaps(
    visit: Callable[..., Page], hub: LoopbackHub, tiny: Path, fresh_cache: str
) -> None:
    hub.add(SIGLIP, tiny / "siglip")
    hub.add(BLIP, tiny / "blip")
    hub.fault = Slow(2)
    with running_app(XDG_CACHE_HOME=fresh_cache, HF_HOME=fresh_cache) as (url, _):
        page = visit(url)
        banner = page.locator("#banner")
        expect(banner).to_contain_text(re.compile(r"is being fetched: \d+ of 0 MB"), timeout=60_000)
        expect(banner).to_contain_text("starter/")
        expect(page.locator("#detail")).to_have_count(0)
        hub.fault = None
        expect(banner).to_contain_text(SIGLIP_ID, timeout=120_000)
        expect(banner).to_contain_text(BLIP, timeout=60_000)
        expect(banner).to_contain_text(f"{NUM_EXAMPLES} pictures")
        expect(page.locator("#detail")).to_be_visible()  # nobody had to reload the page
        upload(page, "describe", ROOT / "examples/skimage/coffee.jpg")
        sentence = page.locator("#sentence")
        expect(sentence).to_have_text(re.compile(r"^\w+( \w+)+$"), timeout=30_000)  # no full stop: a caption
        short = sentence.inner_text()
        page.get_by_role("radio", name="In detail").check()
        expect(sentence).not_to_have_text(short, timeout=30_000)
        client = Client(url, verbose=False)
        assert client.predict("a dog", 3, api_name="/search")[0]["hits"]
        assert client.predict(picture("skimage/coffee.jpg"), 1, api_name="/similar")[0]["hits"][0]["score"] > 0.99


def test_each_tab_answers_with_models_of_the_hub(chat: App) -> None:
    client = Client(chat.url, verbose=False)
    coffee = picture("skimage/coffee.jpg")
    caption, tags, note, colours = client.predict(coffee, api_name="/describe")
    assert caption and isinstance(tags, dict) and note.endswith(" s") and colours["confidences"]
    assert client.predict(coffee, "detailed", "", "en", api_name="/describe")[0] != caption
    assert client.predict(coffee, "short", "What is it?", "fr", api_name="/describe")[0] != caption
    assert client.predict(coffee, "short", "", "en", api_name="/describe")[0] == caption
    answer = client.predict(LONG_QUERY, 3, api_name="/search")
    assert answer[0]["cut"] and answer[0]["cut"] in answer[1]
    assert client.predict(coffee, 1, api_name="/similar")[0]["hits"][0]["id"] == "skimage/coffee.jpg"


def test_a_question_is_answered(visit: Callable[..., Page], chat: App) -> None:
    page = visit(chat.url)
    expect(page.locator("#question")).to_be_visible(timeout=30_000)
    upload(page, "describe", ROOT / "examples/skimage/coffee.jpg")
    sentence = page.locator("#sentence")
    expect(sentence).not_to_have_text("", timeout=30_000)
    described = sentence.inner_text()
    page.locator("#question textarea").fill("What is it?")
    page.locator("#question textarea").press("Enter")
    expect(sentence).not_to_have_text(described, timeout=30_000)


def test_a_long_caption_can_be_stopped(visit: Callable[..., Page], chat: App) -> None:
    coffee = picture("skimage/coffee.jpg")
    whole = Client(chat.url, verbose=False).predict(coffee, "detailed", "", "en", api_name="/describe")[0]
    page = visit(chat.url)
    expect(page.locator("#detail")).to_be_visible(timeout=30_000)
    upload(page, "describe", ROOT / "examples/skimage/coffee.jpg")
    sentence, stop = page.locator("#sentence"), page.locator("#stop")
    expect(sentence).not_to_have_text("", timeout=30_000)
    expect(stop).to_have_count(0)
    page.get_by_role("radio", name="In detail").check()
    expect(stop).to_be_visible()
    page.get_by_role("radio", name="Français").check()  # stops the one that is under way
    expect(sentence).not_to_have_text("", timeout=30_000)
    expect(stop).to_be_visible()
    expect(stop).to_have_count(0, timeout=30_000)
    page.get_by_role("radio", name="English").check()
    stop.click(timeout=10_000)
    expect(stop).to_have_count(0)
    stopped = sentence.inner_text()
    time.sleep(1.5)
    assert sentence.inner_text() == stopped
    assert len(stopped) < len(whole)


def test_a_french_visitor_is_answered_in_french(visit: Callable[..., Page], chat: App) -> None:
    page = visit(chat.url, "fr-FR")
    expect(page.locator("#language")).to_contain_text("Répondre en", timeout=30_000)
    expect(page.get_by_role("radio", name="Français")).to_be_checked()


def test_the_app_ends_while_it_fetches(hub: LoopbackHub, tiny: Path, fresh_cache: str) -> None:
    hub.add(SIGLIP, tiny / "siglip")
    hub.fault = Slow(60)
    with running_app(XDG_CACHE_HOME=fresh_cache, HF_HOME=fresh_cache) as (_, process):
        deadline = time.monotonic() + 60
        while not list(Path(fresh_cache).rglob("*.incomplete")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=15) == 0


def test_without_a_network_the_starter_answers_and_says_why(visit: Callable[..., Page], fresh_cache: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with running_app(XDG_CACHE_HOME=fresh_cache, HF_HOME=fresh_cache, HF_ENDPOINT=nowhere) as (url, _):
        page = visit(url, "fr-FR")
        summary, reason = page.locator("#banner summary"), page.get_by_text("la connexion au hub a échoué").first
        expect(summary).to_contain_text("hors ligne", timeout=60_000)
        expect(page.locator("#banner p")).to_have_count(0, timeout=60_000)  # nothing is under way, and nothing moves
        expect(reason).to_be_hidden()
        summary.click()
        expect(reason).to_be_visible()
        assert Client(url, verbose=False).predict("a dog", 1, api_name="/search")[0]["hits"]


@pytest.mark.parametrize("flags", [["--encoder", "siglip2"], ["--captioner", "blip"]])
def test_an_asked_model_that_cannot_be_had_ends_the_start_with_one_line(hub: LoopbackHub, flags: list[str]) -> None:
    hub.fault = Status(429)
    command = [sys.executable, "app.py", "--port", str(free_port()), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("imgsearch: ") and "429" in done.stderr.splitlines()[-1]


def test_the_app_ends_while_it_writes(chat: App) -> None:
    """The last of the tests that ask this app."""
    Client(chat.url, verbose=False).submit(picture("skimage/coffee.jpg"), "detailed", "", "en", api_name="/describe")
    time.sleep(0.5)
    chat.process.terminate()
    assert chat.process.wait(timeout=15) == 0
