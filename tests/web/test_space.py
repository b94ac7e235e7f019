"""The repository is a Space: a clean copy of it runs there with no argument, under the limits of the free hardware."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from huggingface_hub import constants, hf_hub_download, metadata_load
from PIL import Image
from playwright.sync_api import Page, expect

from imgsearch.config import ROOT
from imgsearch.downloads import cached_snapshot
from imgsearch.hub import Repo
from imgsearch.models.clip import ClipSpec
from imgsearch.models.loading import captioner_files
from imgsearch.models.registry import PRESETS
from tests.helpers.app import App, free_port, running_app
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.loopback_hub import LoopbackHub

MEMORY_BYTES = 16 * 2**30
NUM_CPUS = 2
IS_ROOT = os.getuid() == 0 and shutil.which("setpriv") is not None
WITHOUT_RIGHTS = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"] if IS_ROOT else []
SPACE = {"SPACE_ID": "org/name", "SYSTEM": "spaces", "HOME": "/proc/none"}
HEADER: dict[str, Any] = metadata_load(ROOT / "README.md") or {}
AUTO = [next(preset for preset in PRESETS if preset.kind == kind) for kind in ("encoder", "captioner")]


def limit() -> None:
    """Hold a process to what a Space has."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:NUM_CPUS])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def test_the_copy_cannot_be_written_to(place: Path) -> None:
    """Else the tests below show less than they say."""
    code = "import sys; open(sys.argv[1], 'a')"
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", code, str(clean_copy(place / "copy") / "app.py")]
    assert "PermissionError" in subprocess.run(command, capture_output=True, text=True).stderr


def clean_copy(folder: Path) -> Path:
    """The files that git knows, or would know, and nothing else; none of them may be written to."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def facts_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def port() -> int:
    """A Space's own; another one where it is taken here."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return 7860 if probe.connect_ex(("127.0.0.1", 7860)) else free_port()


@contextmanager
def space(place: Path, hub: LoopbackHub, **variables: str) -> Iterator[App]:
    """A copy of the repository as a running Space, with a temporary folder of its own."""
    temporary = place / "tmp"
    temporary.mkdir(mode=0o1777)
    copy = clean_copy(place / "copy")
    before, number = facts_of(copy), port()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environ = kept | SPACE | {"TMPDIR": str(temporary), "HF_ENDPOINT": hub.url} | variables
    if number != 7860:
        environ["GRADIO_SERVER_PORT"] = str(number)
    options: dict[str, Any] = {"prefix": WITHOUT_RIGHTS, "cwd": copy, "environ": environ, "port": number}
    with running_app(**options, preexec_fn=limit) as app:
        yield app
    assert facts_of(copy) == before


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others reach; those of pytest are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "copy").mkdir()
    yield folder
    for path in (folder / "copy", *(path for path in (folder / "copy").rglob("*") if path.is_dir())):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_it_starts_with_no_argument_and_answers(place: Path, hub: LoopbackHub, page: Page) -> None:
    with space(place, hub) as app:
        page.goto(app.url)
        expect(page.locator("#banner")).to_contain_text(f"{NUM_EXAMPLES} pictures", timeout=60_000)
        page.locator("#wall .views button").last.click()
        expect(page.locator("#atlas canvas")).to_be_visible(timeout=120_000)
        client = Client(app.url, verbose=False)
        coffee: Any = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
        assert client.predict("a red fruit", 3, api_name="/search")[0]["hits"]
        assert client.predict(coffee, 1, api_name="/similar")[0]["hits"][0]["id"] == "skimage/coffee.jpg"
        assert "espresso" in client.predict(coffee, api_name="/describe")[0]
        [caches] = (place / "tmp").glob("imgsearch-*/imgsearch")
        assert caches.parent.stat().st_mode & 0o077 == 0
        assert app.end(signal.SIGTERM) == 0
        assert "Traceback" not in app.said() and "Error" not in app.said()
    assert list((place / "tmp").glob("imgsearch-*")) == [caches.parent]  # the visitors' pictures are gone


@pytest.mark.long
def test_variables_of_the_space_are_its_settings(place: Path, hub: LoopbackHub, starter_bundle: Path) -> None:
    """A collection of the hub too."""
    hub.add("org/pictures", starter_bundle, "dataset")
    variables = {"IMGSEARCH_AUTH": "ada:secret", "IMGSEARCH_SHARE": "1", "IMGSEARCH_ENCODER": "starter"}
    variables["IMGSEARCH_INDEX"] = "hf://datasets/org/pictures"
    with space(place, hub, **variables, IMGSEARCH_CAPTIONER="starter") as app:
        client = Client(app.url, verbose=False, auth=("ada", "secret"))
        assert client.predict("a dog", 1, api_name="/search")[0]["hits"]
        assert "so --share is left out" in app.said() and "secret" not in app.said()
        assert app.end(signal.SIGTERM) == 0
    assert any(request.path.startswith("/api/datasets/org/pictures") for request in hub.requests)
    assert not [request for request in hub.requests if request.path.startswith("/api/models/")]


def test_the_folder_of_another_user_is_not_taken(place: Path, hub: LoopbackHub) -> None:
    """Nor a link, nor what others may look into: the app makes one of its own."""
    for number, make in enumerate((lambda path: path.mkdir(0o777), lambda path: path.symlink_to(place))):
        temporary = place / str(number)
        temporary.mkdir()
        taken = temporary / f"imgsearch-{os.getuid()}"
        make(taken)
        if not taken.is_symlink():
            taken.chmod(0o777)
        code = "from imgsearch.environment import cache_folder; print(cache_folder())"
        env = {"PATH": os.environ["PATH"], "HOME": "/proc/none", "TMPDIR": str(temporary)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        folder = Path(done.stdout.strip())
        assert not folder.is_relative_to(taken) and folder.parent.stat().st_mode & 0o077 == 0
        assert taken.is_symlink() or not list(taken.iterdir())


def test_the_header_is_a_spaces() -> None:
    assert HEADER["sdk"] == "gradio" and HEADER["app_file"] == "app.py"
    assert HEADER["python_version"] == "3.11" and HEADER["license"] == "mit"
    assert len(HEADER["short_description"]) <= 60
    assert HEADER["models"] == [preset.repo for preset in AUTO]
    with Image.open(ROOT / HEADER["thumbnail"].rpartition("/main/")[2]) as thumbnail:
        assert thumbnail.size == (1200, 630)
    assert (ROOT / "imgsearch" / "LICENSE").read_text().startswith("MIT License")


def test_what_is_preloaded_is_used_without_a_request(
    hub: LoopbackHub, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File by file, as the Space's builder may do it: then nothing is noted of what else there is."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "client"))
    encoder, captioner = (preset.repo for preset in AUTO)
    choices = {
        encoder: ClipSpec(AUTO[0].model_id, encoder, tokenizer=encoder).choose,
        captioner: captioner_files,
    }
    assert [line.split()[0] for line in HEADER["preload_from_hub"]] == list(choices)
    for line in HEADER["preload_from_hub"]:
        repo, names = line.split()
        folder = tmp_path / repo
        folder.mkdir(parents=True)
        for name in (*names.split(","), "README.md", "open_clip_pytorch_model.bin", "pytorch_model.bin", "tf_model.h5"):
            (folder / name).write_text(name)
        hub.add(repo, folder)
        needed = partial(choices[repo], repo)
        assert set(needed([path.name for path in folder.iterdir()])) == set(names.split(","))
        for name in names.split(","):
            hf_hub_download(repo, name)
        hub.requests.clear()
        assert cached_snapshot(Repo(repo), needed) is None  # what is there may be no more than another program needed
        with monkeypatch.context() as on_space:
            on_space.setenv("SPACE_ID", "org/name")
            assert cached_snapshot(Repo(repo), needed) is not None
        assert not hub.requests
