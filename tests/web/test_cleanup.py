"""What visitors leave behind goes: old files, answers nobody came for, sessions whose page is closed."""

import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import pytest

from imgsearch.config import Settings
from imgsearch.engine import Engine
from imgsearch.web.page import build_app
from imgsearch.web.security import cleanup
from imgsearch.web.security.cleanup import Janitor, SessionStates, sweep_files
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.server import launch
from tests.helpers.app import free_port


def put(folder: Path, name: str, num_bytes: int, age_s: float) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(num_bytes))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_old_files_go(tmp_path: Path) -> None:
    old, new = put(tmp_path, "a/old.jpg", 10, 100), put(tmp_path, "b/new.jpg", 10, 1)
    sweep_files(tmp_path, 50, 1000)
    assert not old.parent.exists()
    assert new.exists()


def test_the_oldest_go_where_there_are_too_many(tmp_path: Path) -> None:
    files = [put(tmp_path, f"{number}/picture.jpg", 10, number) for number in range(10)]
    sweep_files(tmp_path, 1000, 35)
    assert [file.exists() for file in files] == [True] * 3 + [False] * 7


def test_a_link_is_deleted_and_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/kept.jpg", 10, 100)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(outside)
    os.utime(folder / "link.jpg", (time.time() - 100,) * 2, follow_symlinks=False)
    sweep_files(folder, 50, 1000)
    assert not (folder / "link.jpg").is_symlink()
    assert outside.exists()


@dataclass
class Served:
    """The app as it is served, in this process."""

    app: gr.Blocks
    url: str
    sweeper: Janitor

    def sweep(self) -> None:
        """Sweep, and wait until it is done."""
        self.sweeper.sweep()
        done = threading.Event()
        self.app.server.servers[0].get_loop().call_soon_threadsafe(done.set)
        assert done.wait(10)


@pytest.fixture(scope="module")
def served(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    engine = Engine.open(starter_bundle, "starter", "starter")
    decoder = Decoder()
    app = build_app([engine], decoder)
    launch(app, [engine], Settings(port=free_port()))
    yield Served(app, str(app.local_url), Janitor(app, tmp_path_factory.mktemp("uploads")))
    app.close()
    decoder.close()


def ask(url: str, *, is_fetched: bool) -> None:
    data = json.dumps({"data": ["a dog", 12, [], True]}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/call/search", data, headers)) as answer:
        event = json.load(answer)["event_id"]
    if is_fetched:
        with urllib.request.urlopen(f"{url}gradio_api/call/search/{event}") as answer:
            assert b"event: complete" in answer.read()


def test_answers_that_nobody_came_for_are_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = served.app._queue
    ask(served.url, is_fetched=True)
    ask(served.url, is_fetched=False)
    while queue.event_ids_to_events:
        time.sleep(0.05)
    assert len(queue.pending_messages_per_session) == 2
    served.sweep()
    assert len(queue.pending_messages_per_session) == 2  # somebody may come yet
    monkeypatch.setattr(cleanup, "IDLE_S", 0)
    served.sweep()
    assert not queue.pending_messages_per_session
    assert not queue.pending_event_ids_session


def test_who_waits_is_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "IDLE_S", 1)
    with ThreadPoolExecutor(40) as visitors:
        asking = [visitors.submit(ask, served.url, is_fetched=True) for _ in range(80)]
        while not all(asked.done() for asked in asking):
            served.sweep()
    for asked in asking:
        asked.result()


def test_closed_sessions_are_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = served.app.state_holder
    assert isinstance(holder, SessionStates)
    before = set(holder.session_data)
    ask(served.url, is_fetched=True)
    ask(served.url, is_fetched=True)
    closed, kept = set(holder.session_data) - before
    holder.session_data[closed].is_closed = True
    monkeypatch.setattr(cleanup, "MAX_AGE_S", 0)
    served.sweep()
    assert closed not in holder.session_data and kept in holder.session_data
    assert holder.session_data[kept].state_data
    assert not list(holder.session_data[kept].components)  # nothing of what it was sent
