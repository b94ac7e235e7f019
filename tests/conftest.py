"""Fixtures: the real starter model, the committed bundle, and the app as a process of its own."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from imgsearch.config import ROOT
from imgsearch.describe.describer import Describer
from imgsearch.engine import Engine
from imgsearch.index.index import Index
from imgsearch.models.encoder import PLAIN_STARTER_ID, Encoder
from imgsearch.models.registry import load_encoder
from imgsearch.search.projection import Projection, compute_projection
from tests.helpers.app import running_app
from tests.helpers.commands import Run, run_module
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.loopback_hub import HUB, LoopbackHub
from tests.helpers.pages import PROXY_NAME, WIDE, Open, tiles_of

BROWSER = os.environ.get("TEST_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")


CACHE = Path(tempfile.mkdtemp(prefix="imgsearch-tests-"))


def pytest_configure() -> None:
    """Nothing of the user's own cache takes part in a test, and the hub is ours: its client reads this at import."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else processes started from a background job ignore it
    HUB.__enter__()
    os.environ |= {"HF_ENDPOINT": HUB.url, "HF_HOME": str(CACHE / "huggingface"), "XDG_CACHE_HOME": str(CACHE)}


def pytest_unconfigure() -> None:
    HUB.__exit__(None, None, None)
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(scope="session")
def own_cache() -> Path:
    """The cache folder of the tests."""
    return CACHE / "imgsearch"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for one test, and an empty cache of the hub's client."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "client"))
    return tmp_path / "cache" / "imgsearch"


@pytest.fixture
def fresh_cache(own_cache: Path, encoder: Encoder, tmp_path: Path) -> str:
    """The cache of an app that never ran; the vocabulary's embeddings, which take seconds, are there."""
    Describer(encoder, own_cache).preload()
    (tmp_path / "cache" / "imgsearch").mkdir(parents=True)
    for file in own_cache.glob("vocabulary-*"):
        shutil.copy(file, tmp_path / "cache" / "imgsearch")
    return str(tmp_path / "cache")


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """The hub that the clients ask; what a test adds or breaks is gone after it."""
    HUB.requests.clear()  # of apps that ran before
    yield HUB
    HUB.fault = None
    HUB.repos.clear()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny checkpoints: clip, siglip, blip, internvl."""
    from tests.helpers.tiny_models import save_tiny_blip, save_tiny_clip, save_tiny_internvl, save_tiny_siglip

    folder = tmp_path_factory.mktemp("tiny")
    for save in (save_tiny_clip, save_tiny_siglip, save_tiny_blip, save_tiny_internvl):
        save(folder / save.__name__.removeprefix("save_tiny_"))
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    return ROOT / "examples"


@pytest.fixture(scope="session")
def starter_bundle() -> Path:
    return ROOT / "indexes" / "starter"


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return load_encoder("starter")


@pytest.fixture(scope="session")
def plain_encoder() -> Encoder:
    """The starter encoder without colours, by which the bundles of older formats were made."""
    return load_encoder(PLAIN_STARTER_ID)


@pytest.fixture(scope="session")
def tiny_encoder(tiny: Path) -> Encoder:
    """In float32, for CLI runs with `--precision float32` to go on where it was, and the other way round."""
    return load_encoder(f"local-dir:{tiny}/clip", "float32")


@pytest.fixture(scope="session")
def engine(starter_bundle: Path) -> Engine:
    return Engine.open(starter_bundle)


@pytest.fixture(scope="session")
def index(starter_bundle: Path) -> Index:
    return Index.load(starter_bundle)


@pytest.fixture(scope="session")
def drawn(index: Index) -> Projection:
    """The map of the starter bundle: it takes seconds."""
    return compute_projection(index)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of the command line in this process."""
    return partial(run_module, capsys, "imgsearch")


@pytest.fixture
def copy_bundle(starter_bundle: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of the starter bundle that a test may damage."""

    def copy() -> Path:
        return Path(shutil.copytree(starter_bundle, tmp_path / f"bundle{len(list(tmp_path.iterdir()))}"))

    return copy


@pytest.fixture(scope="session")
def six_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six photos with a metadata.csv, to be left as it is."""
    target = tmp_path_factory.mktemp("six") / "pictures"
    target.mkdir()
    names = ["animals-birds-owl", "animals-mammals-badger", "food-fruit-lemon", "food-fruit-kiwi", "household-key"]
    for name in (*names, "coffee"):
        shutil.copy(ROOT / "tests" / "bundles" / "pictures" / f"{name}.jpg", target / f"{name}.jpg")
    lines = ["file_name,caption,subject", *(f"{name}.jpg,a {name.split('-')[-1]},{name[:4]}" for name in names)]
    (target / "metadata.csv").write_text("\n".join([*lines, "coffee.jpg,a cup of coffee,food"]) + "\n", "utf-8")
    return target


@pytest.fixture
def folder(six_photos: Path, tmp_path: Path) -> Path:
    """The same of one's own."""
    return Path(shutil.copytree(six_photos, tmp_path / "pictures"))


@pytest.fixture(scope="session")
def photo(examples: Path) -> Image.Image:
    with Image.open(examples / "skimage" / "chelsea.jpg") as image:
        return image.convert("RGB")


@pytest.fixture(scope="session")
def app_url() -> Iterator[str]:
    with running_app() as (url, _):
        yield url


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], app_url: str) -> Open:
    """Opens the app; a script error or a request to elsewhere fails the test."""
    errors: list[str] = []
    outside: list[str] = []

    def visit(viewport: dict[str, int] = WIDE, locale: str = "en-US", color_scheme: str = "light") -> Page:
        page = new_context(viewport=viewport, locale=locale, color_scheme=color_scheme).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: outside.append(request.url))
        page.goto(app_url)
        expect(page.locator("#banner")).to_contain_text(str(NUM_EXAMPLES), timeout=60_000)
        tiles_of(page).first.wait_for(timeout=60_000)
        return page

    yield visit
    assert not errors
    assert not [url for url in outside if not url.startswith((app_url, "data:", "blob:"))]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what needs a browser."""
    if {"page", "new_context"} & set(getattr(item, "fixturenames", ())):
        item.add_marker("browser")
        if not BROWSER:
            item.add_marker(pytest.mark.skip(reason="NO BROWSER ON THIS MACHINE: install chromium"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file's tests together: pytest puts all that need a browser first."""
    items.sort(key=lambda item: item.path)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, object]:
    flags = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    flags += ["disable-component-update", "disable-sync", f"host-resolver-rules=MAP {PROXY_NAME} 127.0.0.1"]
    return {"executable_path": BROWSER, "args": [f"--{flag}" for flag in flags]}
