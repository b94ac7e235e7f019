"""What visitors leave behind goes: old files, answers nobody came for, sessions whose page is closed."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from conftest import free_port

from app import build_app, serve
from imgsearch.config import Settings
from imgsearch.decoder import Decoder
from imgsearch.engine import Engine
from imgsearch.tabs import leftovers
from imgsearch.tabs.leftovers import Leftovers, Sessions, sweep_files


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


@pytest.fixture(scope="module")
def served(starter_bundle: Path) -> Iterator[tuple[gr.Blocks, str]]:
    engine = Engine(starter_bundle, "starter", "starter")
    decoder = Decoder()
    app = build_app([engine], decoder)
    serve(app, [engine], Settings(port=free_port()))
    yield app, str(app.local_url)
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


def test_answers_are_forgotten_once_fetched_or_given_up(
    served: tuple[gr.Blocks, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, url = served
    sweeper = Leftovers(app, tmp_path)
    ask(url, is_fetched=True)
    ask(url, is_fetched=False)
    while app._queue.active_jobs != [None] * len(app._queue.active_jobs) or len(app._queue):
        time.sleep(0.05)
    assert len(app._queue.pending_messages_per_session) == 2
    sweeper.sweep()
    assert len(app._queue.pending_messages_per_session) == 1
    monkeypatch.setattr(leftovers, "IDLE_S", 0)
    sweeper.sweep()
    assert not app._queue.pending_messages_per_session
    assert not app._queue.pending_event_ids_session


def test_closed_sessions_are_forgotten_and_no_session_keeps_what_it_was_sent(
    served: tuple[gr.Blocks, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, url = served
    sweeper = Leftovers(app, tmp_path)
    ask(url, is_fetched=True)
    ask(url, is_fetched=True)
    holder = app.state_holder
    assert isinstance(holder, Sessions)
    first, second = holder.session_data
    assert not list(holder.session_data[first].components)
    assert holder.session_data[first].state_data
    monkeypatch.setattr(leftovers, "IDLE_S", 0)
    holder.session_data[first].is_closed = True
    sweeper.sweep()
    assert list(holder.session_data) == [second]
