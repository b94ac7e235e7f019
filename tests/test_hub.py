"""Model files: what is asked of a hub, and every way in which it can fail. The real client over real HTTP."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import _detect_agent
from transformers.utils import logging

from imgsearch.config import ROOT
from imgsearch.errors import ModelError, SettingsError
from imgsearch.hub import Repo, cached_snapshot, fetch_snapshot
from imgsearch.models.weight_files import captioner_files
from tests.helpers.loopback_hub import Corrupt, Cut, Hang, LoopbackHub, Slow, Status, sentence

REPO = Repo("tiny/model")
CHOOSE = partial(captioner_files, REPO.id)
SMALL, LARGE, CHUNK = "config.json", "model.safetensors", 1 << 16


@pytest.fixture(autouse=True)
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client with a cache of its own, in small steps and without pauses; its telemetry asks nothing."""
    for module in ("file_download", "utils._http"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "client"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(_detect_agent, "_registry", {})


@pytest.fixture
def model(hub: LoopbackHub, empty_cache: Path, tmp_path: Path) -> Path:
    """The folder of a model that the hub has, a small file and a large one of use, and much that is not."""
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    (folder / SMALL).write_text('{"a": 1}')
    (folder / LARGE).write_bytes(os.urandom(5 * CHUNK + 99))
    for name in ("README.md", "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "onnx/config.json"):
        (folder / name).write_bytes(b"not of use")
    hub.add(REPO.id, folder)
    return folder


def get(repo: Repo = REPO) -> Path:
    return fetch_snapshot(repo, CHOOSE, lambda done, total: None).folder


def failure(repo: Repo = REPO) -> str:
    with pytest.raises(ModelError) as caught:
        get(repo)
    return sentence(caught.value, str(repo))


def assert_whole(folder: Path, model: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [SMALL, LARGE]
    assert all((folder / name).read_bytes() == (model / name).read_bytes() for name in (SMALL, LARGE))


def asked(hub: LoopbackHub) -> list[str]:
    """The files that were asked for."""
    return [request.path.split("/", 5)[-1] for request in hub.requests if "/resolve/" in request.path]


def test_only_what_is_needed_is_fetched_and_once(hub: LoopbackHub, model: Path) -> None:
    seen: list[tuple[int, int]] = []
    snapshot = fetch_snapshot(REPO, CHOOSE, lambda done, total: seen.append((done, total)))
    assert_whole(snapshot.folder, model)
    assert snapshot.folder.name == snapshot.commit == hub.commit(REPO.id)
    assert asked(hub) == [SMALL, LARGE] and len(hub.requests) == 3
    hub.requests.clear()
    assert fetch_snapshot(REPO, CHOOSE, lambda done, total: None) == cached_snapshot(REPO, CHOOSE) == snapshot
    assert not hub.requests


def test_progress_grows_to_the_total(
    hub: LoopbackHub, model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the console too, though transformers has switched the client's own bars off."""
    logging.disable_progress_bar()
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 5)
    hub.fault = Slow(0.2)
    seen: list[tuple[int, int]] = []
    fetch_snapshot(REPO, CHOOSE, lambda done, total: seen.append((done, total)))
    total = sum((model / name).stat().st_size for name in (SMALL, LARGE))
    assert seen == sorted(seen) and seen[-1] == (total, total) and len(set(seen)) >= 6
    assert f"{REPO.id}: {LARGE}" in capfd.readouterr().err


def test_a_branch_is_not_followed_once_it_is_here_and_a_commit_is_pinned(hub: LoopbackHub, model: Path) -> None:
    first = get()
    (model / SMALL).write_text('{"a": 2}')
    commit = hub.add(REPO.id, model)
    assert get() == first and commit != first.name
    assert_whole(get(Repo.parse(f"tiny/model@{commit}")), model)
    shutil.rmtree(first)
    assert get().name == commit
    old = get(Repo(REPO.id, first.name))
    assert old == first and (old / SMALL).read_text() == '{"a": 1}'
    assert "tiny/model@v9 cannot be had" in failure(Repo(REPO.id, "v9"))


def test_what_is_here_for_one_use_is_completed_for_another(model: Path) -> None:
    fetch_snapshot(REPO, lambda names: [SMALL], lambda done, total: None)
    assert cached_snapshot(REPO, CHOOSE) is None
    assert_whole(get(), model)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Status(401), "does not show it to you"),
        (Status(403), "Ask for access"),
        (Status(404), "no such model or revision"),
        (Status(429), "too many requests"),
        (Status(500), "answers 500. Try later"),
        (Status(429, "/resolve/"), "too many requests"),
        (Status(500, "/resolve/"), "answers 500. Try later"),
        (Hang(), "did not answer within 3 s"),
        (Hang("/resolve/"), "Check the network"),
        (Cut(3 * CHUNK), "Check the network"),
        (Cut(3 * CHUNK, stall=True), "Check the network"),
        (Corrupt(), f"{LARGE} arrived damaged"),
        (Corrupt(SMALL, 2), f"{SMALL} arrived damaged"),
    ],
    ids=repr,
)
def test_every_fault_is_told_and_got_over(hub: LoopbackHub, model: Path, fault: Any, words: str) -> None:
    hub.fault = fault
    start = time.monotonic()
    assert words in failure()
    assert time.monotonic() - start < 5
    assert cached_snapshot(REPO, CHOOSE) is None
    hub.fault = None
    hub.requests.clear()
    assert_whole(get(), model)
    [ranges] = [request.range for request in hub.requests if request.path.endswith(LARGE)]
    assert ranges == (f"bytes={3 * CHUNK}-" if isinstance(fault, Cut) else "")


def test_a_short_break_goes_unnoticed(hub: LoopbackHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mend(seconds: float) -> None:
        hub.fault = None

    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=mend))
    hub.fault = Cut(2 * CHUNK)
    assert_whole(get(), model)
    assert [request.range for request in hub.requests][-2:] == ["", f"bytes={2 * CHUNK}-"]


def test_a_killed_download_goes_on_where_it_ended(hub: LoopbackHub, model: Path, empty_cache: Path) -> None:
    hub.fault = Slow(0.1)
    code = f"""
from functools import partial
from huggingface_hub import constants
from imgsearch.models.weight_files import captioner_files
from imgsearch.hub import Repo, fetch_snapshot
constants.DOWNLOAD_CHUNK_SIZE = {CHUNK}
fetch_snapshot(Repo("tiny/model"), partial(captioner_files, "tiny/model"), lambda done, total: None)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    part = empty_cache / "hub" / "tiny--model" / hub.commit(REPO.id) / f"{LARGE}.part"
    while not (part.is_file() and part.stat().st_size >= CHUNK):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.fault, size = None, part.stat().st_size
    hub.requests.clear()
    assert 0 < size < (model / LARGE).stat().st_size
    seen: list[int] = []
    assert_whole(fetch_snapshot(REPO, CHOOSE, lambda done, total: seen.append(done)).folder, model)
    assert [request.range for request in hub.requests] == ["", f"bytes={size}-"]
    assert seen[0] > size and seen[-1] == sum((model / name).stat().st_size for name in (SMALL, LARGE))


@pytest.mark.parametrize("size", [5 * CHUNK + 99, 6 * CHUNK])
def test_a_part_of_other_bytes_is_thrown_away(hub: LoopbackHub, model: Path, empty_cache: Path, size: int) -> None:
    """As long as the file, or longer: a crash of the machine may leave either."""
    folder = empty_cache / "hub" / "tiny--model" / hub.commit(REPO.id)
    folder.mkdir(parents=True)
    (folder / f"{LARGE}.part").write_bytes(bytes(size))
    with suppress(ModelError):  # it may take another start
        get()
    assert_whole(get(), model)


def test_no_hub_at_all(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "Check the network" in failure()


def test_offline_is_named_and_what_is_here_is_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = get()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get() == folder
    (folder / SMALL).unlink()
    assert "HF_HUB_OFFLINE is set" in failure()


def test_a_store_that_cannot_be_written(hub: LoopbackHub, model: Path, empty_cache: Path) -> None:
    folder = empty_cache / "hub" / "tiny--model" / hub.commit(REPO.id)
    folder.mkdir(parents=True)
    (folder / f"{LARGE}.part").symlink_to("/dev/full")
    assert "No space left on device (while fetching). Make room, or set XDG_CACHE_HOME" in failure()
    shutil.rmtree(empty_cache / "hub")
    (empty_cache / "hub").touch()
    assert "Not a directory (" in failure()


def test_two_at_once(hub: LoopbackHub, model: Path, empty_cache: Path) -> None:
    folder = empty_cache / "hub" / "tiny--model" / hub.commit(REPO.id)
    folder.mkdir(parents=True)
    with FileLock(folder.with_suffix(".lock")):
        assert "another process is fetching it" in failure()
    assert_whole(get(), model)


def test_what_another_program_fetched_is_found_when_it_is_all_there(hub: LoopbackHub, model: Path) -> None:
    snapshot_download(REPO.id, allow_patterns=[SMALL])
    assert cached_snapshot(REPO, CHOOSE) is None
    theirs = Path(snapshot_download(REPO.id, allow_patterns=[SMALL, LARGE]))
    hub.requests.clear()
    hub.fault = Hang()
    assert get() == theirs and get(Repo(REPO.id, theirs.name)) == theirs
    assert not hub.requests


@pytest.mark.parametrize("id", ["a b/c", "../x", "a/b/c"])
def test_a_name_that_no_hub_has(hub: LoopbackHub, id: str) -> None:
    assert "Check the name" in failure(Repo(id))


@pytest.mark.parametrize("text", ["", "a", "a/", "/b", "a/b/c", "a/b@"])
def test_what_is_not_a_name(text: str) -> None:
    with pytest.raises(SettingsError, match="not the name of a model"):
        Repo.parse(text)
