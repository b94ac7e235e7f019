"""Model files: what is asked of a hub, and every way in which it can fail. The real client over real HTTP."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.utils import _detect_agent
from transformers.utils import logging

from imgsearch.config import ROOT
from imgsearch.downloads import cached_snapshot, fetch_snapshot
from imgsearch.errors import ModelError, SettingsError
from imgsearch.hub import Repo
from imgsearch.models.loading import captioner_files
from tests.helpers.loopback_hub import Corrupt, Cut, Forge, Hang, LoopbackHub, Slow, Status, sentence

REPO = Repo("tiny/model")
CHOOSE = partial(captioner_files, REPO.id)
SMALL, LARGE, CHUNK = "config.json", "model.safetensors", 1 << 16


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hub's client in small steps and without pauses; its telemetry asks nothing. No download outlives its test."""
    for module in ("file_download", "utils._http"):
        monkeypatch.setattr(f"huggingface_hub.{module}.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(_detect_agent, "_registry", {})
    monkeypatch.setattr("imgsearch.downloads.ANSWER_S", 1.0)
    yield
    for thread in threading.enumerate():
        if thread.name == "hub":
            thread.join(10)
            assert not thread.is_alive()


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
    return fetch_snapshot(repo, CHOOSE, lambda done, total: None)


def failure(repo: Repo = REPO) -> str:
    with pytest.raises(ModelError) as caught:
        get(repo)
    return sentence(caught.value, str(repo))


def assert_whole(folder: Path, model: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [SMALL, LARGE]
    assert all((folder / name).read_bytes() == (model / name).read_bytes() for name in (SMALL, LARGE))


def asked(hub: LoopbackHub) -> list[str]:
    """The files that were sent."""
    return [
        request.path.split("/", 5)[-1]
        for request in hub.requests
        if request.method == "GET" and "/resolve/" in request.path
    ]


def facts_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_needed_is_fetched_and_once(hub: LoopbackHub, model: Path) -> None:
    seen: list[tuple[int, int]] = []
    snapshot = fetch_snapshot(REPO, CHOOSE, lambda done, total: seen.append((done, total)))
    assert_whole(snapshot, model)
    assert snapshot.name == hub.commit(REPO.id)
    assert asked(hub) == [SMALL, LARGE]
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
        (Hang("/resolve/"), "did not answer within 1 s"),
        (Hang("/tree/"), "did not answer within 1 s"),
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
    assert asked(hub).count(LARGE) == (0 if fault in (Hang("/tree/"), Corrupt(SMALL, 2)) else 1)


def test_what_the_client_keeps_trying_is_told(hub: LoopbackHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits longer and longer after each error; we do not."""
    monkeypatch.setattr("huggingface_hub.utils._http.time", time)
    hub.fault = Status(500, "/resolve/")
    assert "answers 500. Try later" in failure()


def test_a_connection_that_sleeps_is_given_up(hub: LoopbackHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the client's own limits."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60)
    monkeypatch.setattr("imgsearch.downloads.STALL_S", 2.0)
    hub.fault = Cut(3 * CHUNK, stall=True)
    assert "did not answer within 2 s" in failure()


def test_a_short_break_goes_unnoticed(hub: LoopbackHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mend(seconds: float) -> None:
        hub.fault = None

    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=mend))
    hub.fault = Cut(2 * CHUNK)
    assert_whole(get(), model)
    ranges = [request.range for request in hub.requests if request.method == "GET" and request.path.endswith(LARGE)]
    assert ranges == ["", f"bytes={2 * CHUNK}-"]


PROGRAM = f"""
import sys
from functools import partial
from huggingface_hub import constants
from imgsearch import downloads
from imgsearch.errors import ModelError
from imgsearch.hub import Repo
from imgsearch.models.loading import captioner_files
constants.DOWNLOAD_CHUNK_SIZE, downloads.ANSWER_S = {CHUNK}, float(sys.argv[1])
try:
    downloads.fetch_snapshot(Repo("tiny/model"), partial(captioner_files, "tiny/model"), lambda done, total: None)
except ModelError as error:
    sys.exit(str(error))
"""


def program(answer_s: float = 60) -> subprocess.Popen[str]:
    """A process that fetches the model into the caches of the test."""
    environ = {**os.environ, "HF_HUB_CACHE": constants.HF_HUB_CACHE}
    command = [sys.executable, "-c", PROGRAM, str(answer_s)]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)


def test_a_process_that_gives_up_ends(hub: LoopbackHub, model: Path) -> None:
    """No thread of the client, which would go on trying for minutes, is waited for."""
    hub.fault = Hang("/resolve/")
    process = program(1)
    assert "did not answer within 1 s" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


def test_a_killed_download_is_not_taken_for_whole(hub: LoopbackHub, model: Path) -> None:
    """Killed while bytes arrive, and when all are here, before their digests are compared."""
    hub.fault = Slow(0.1)
    process, cache = program(), Path(constants.HF_HUB_CACHE)
    while not [path for path in cache.rglob("*.incomplete") if path.stat().st_size >= CHUNK]:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert cached_snapshot(REPO, CHOOSE) is None
    snapshot_download(REPO.id, allow_patterns=[SMALL])  # another program lists all files, which names what is missing
    hub.fault = Hang("/tree/")
    process = program()
    while not list(cache.rglob(f"snapshots/*/{LARGE}")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    hub.fault = None
    assert cached_snapshot(REPO, CHOOSE) is None
    hub.requests.clear()
    assert_whole(get(), model)
    assert not asked(hub)


def test_no_hub_at_all(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "Check the network" in failure()


def test_offline_is_named_and_what_is_here_is_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = get()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get() == folder
    (folder / SMALL).unlink()
    assert "HF_HUB_OFFLINE is set" in failure()


def test_a_store_that_cannot_be_written(hub: LoopbackHub, model: Path) -> None:
    folder = Path(constants.HF_HUB_CACHE) / "models--tiny--model"
    folder.mkdir(parents=True)
    (folder / "blobs").touch()
    assert "File exists (" in failure() or "Not a directory (" in failure()
    assert "Make room, or set HF_HOME" in failure()


def test_a_cache_that_can_only_be_read_is_read(
    hub: LoopbackHub, model: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert get().is_relative_to(empty_cache)
    hub.fault = Hang()
    assert_whole(get(), model)
    theirs = tmp_path / "theirs"
    shutil.move(empty_cache / "huggingface" / "hub", theirs)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(theirs))
    monkeypatch.setattr("imgsearch.downloads.can_write", lambda folder: False)
    assert get().is_relative_to(theirs)


def test_two_at_once(hub: LoopbackHub, model: Path, empty_cache: Path) -> None:
    (empty_cache / "hub").mkdir(parents=True)
    with FileLock(empty_cache / "hub" / f"models--tiny--model--{hub.commit(REPO.id)}.lock"):
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


def test_what_another_program_fetched_file_by_file_is_not_fetched_again(hub: LoopbackHub, model: Path) -> None:
    for name in (SMALL, LARGE):
        theirs = Path(hf_hub_download(REPO.id, name)).parent
    hub.requests.clear()
    assert get() == theirs and not asked(hub)


def test_what_is_fetched_is_there_for_other_programs(hub: LoopbackHub, model: Path) -> None:
    folder = get()
    hub.fault = Hang()
    for revision in ("main", folder.name):
        assert hf_hub_download(REPO.id, LARGE, revision=revision, local_files_only=True) == str(folder / LARGE)


def test_what_version_0_8_fetched_is_used_as_it_lies(hub: LoopbackHub, model: Path, empty_cache: Path) -> None:
    commit = hub.commit(REPO.id)
    folder = empty_cache / "hub" / "tiny--model" / commit
    folder.mkdir(parents=True)
    for name in (SMALL, LARGE):
        shutil.copy(model / name, folder)
    for revision in ("main", commit):
        (folder.parent / f"{revision}.txt").write_text("\n".join([commit, SMALL, LARGE, "README.md"]))
        assert fetch_snapshot(Repo(REPO.id, revision), CHOOSE, lambda done, total: None) == folder
    assert not hub.requests
    (folder / LARGE).unlink()
    assert_whole(get(), model)


@pytest.mark.parametrize(
    "fault",
    [
        *(Forge(sha=sha) for sha in ("{}/victim", "../../../../victim", "", "main", "0" * 39, "A" * 40)),
        *(Forge(headers=(("ETag", etag),)) for etag in ('"{}/victim/a"', "../../../../../victim/a", 'W/"../a"', "..")),
        *(Forge(headers=(("X-Linked-Etag", etag),)) for etag in ('"{}/victim/a"', "a/../../../../../victim/a")),
        *(Forge(headers=(("X-Repo-Commit", commit),)) for commit in ("{}/victim", "..", "f" * 40, "main")),
    ],
    ids=repr,
)
def test_a_hub_that_names_another_place_writes_and_deletes_nothing_there(
    hub: LoopbackHub, model: Path, tmp_path: Path, fault: Forge
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "b").write_text("not yours")
    before = facts_of(tmp_path)
    place = [(name, value.format(tmp_path)) for name, value in fault.headers]
    hub.fault = Forge(fault.sha.format(tmp_path) or "-" * (not place), tuple(place))
    assert "what answers is no hub. Check HF_ENDPOINT." in failure()
    after = facts_of(tmp_path)
    allowed = (constants.HF_HUB_CACHE, str(tmp_path / "cache"))
    assert {path: data for path, data in after.items() if not path.startswith(allowed)} == before
    assert not [path for path in after if path.startswith(allowed) and Path(path).name in (LARGE, SMALL, "a")]


@pytest.mark.parametrize("id", ["a b/c", "../x", "a/b/c"])
def test_a_name_that_no_hub_has(hub: LoopbackHub, id: str) -> None:
    assert "Check the name" in failure(Repo(id))


@pytest.mark.parametrize("text", ["", "a", "a/", "/b", "a/b/c", "a/b@"])
def test_what_is_not_a_name(text: str) -> None:
    with pytest.raises(SettingsError, match="not the name of a model"):
        Repo.parse(text)
