"""What visitors leave behind goes: old files, answers nobody came for, and what a session was sent."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE, Popen

import gradio as gr
import pytest

from imgsearch.config import ROOT, Settings
from imgsearch.engine import Engine
from imgsearch.environment import temporary_folder
from imgsearch.web import page
from imgsearch.web.security import cleanup
from imgsearch.web.security.cleanup import sweep_files
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.server import launch
from tests.helpers.app import free_port, upload_raw, wait_until

SWEEP_S, MAX_AGE_S = 1, 4


def put(folder: Path, name: str, num_bytes: int, age_s: float) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(num_bytes))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_the_oldest_go_where_there_are_too_many(tmp_path: Path) -> None:
    files = [put(tmp_path, f"{number}/picture.jpg", 10, number) for number in range(10)]
    sweep_files(tmp_path, 35)
    assert [file.exists() for file in files] == [True] * 3 + [False] * 7
    for file in files:
        os.utime(file.parent, (time.time() - 100,) * 2)
    sweep_files(tmp_path, 35)
    assert [file.parent.exists() for file in files] == [True] * 3 + [False] * 7


def test_a_zip_is_not_kept_for_long(tmp_path: Path) -> None:
    files = [put(tmp_path, f"{age_s}/imgsearch.zip", 10, age_s) for age_s in (0, 500, 700)]
    sweep_files(tmp_path, 100)
    assert [file.exists() for file in files] == [True, True, False]


def test_what_a_killed_app_left_is_deleted_and_what_another_uses_is_not(tmp_path: Path) -> None:
    code = "from imgsearch.environment import temporary_folder as new; print((f := new()).name, flush=True); input()"
    environ = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path)}
    killed, running = (
        Popen([sys.executable, "-c", code], env=environ, stdin=PIPE, stdout=PIPE, text=True) for _ in range(2)
    )
    folders = [Path(process.stdout.readline().strip()) for process in (killed, running) if process.stdout]
    (folders[0] / "picture.jpg").write_bytes(b"x")
    killed.kill()
    killed.wait()
    assert [folder.exists() for folder in folders] == [True, True]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
        with temporary_folder() as own:
            assert sorted(map(str, tmp_path.iterdir())) == sorted([str(folders[1]), own])
    running.communicate("\n")


def test_apps_that_start_at_once_keep_their_folders(tmp_path: Path) -> None:
    code = (
        "from imgsearch.environment import temporary_folder as new; input(); "
        "made = [new() for _ in range(50)]; print(*(f.name for f in made), flush=True); input()"
    )
    environ = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path)}
    apps = [Popen([sys.executable, "-c", code], env=environ, stdin=PIPE, stdout=PIPE, text=True) for _ in range(3)]
    for app in apps:
        assert app.stdin
        app.stdin.write("\n")
        app.stdin.flush()
    made = [folder for app in apps if app.stdout for folder in app.stdout.readline().split()]
    assert len(made) == 150 and all(map(os.path.isdir, made))
    for app in apps:
        app.communicate("\n")


def test_a_link_is_deleted_and_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/kept.jpg", 10, 100)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(outside)
    os.utime(folder / "link.jpg", (time.time() - 100,) * 2, follow_symlinks=False)
    sweep_files(folder, 0)
    assert not (folder / "link.jpg").is_symlink()
    assert outside.exists()


@pytest.fixture(scope="module")
def served(starter_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """The app as it is served, in this process, and swept each second."""
    engine = Engine.open(starter_bundle, "starter", "starter")
    decoder = Decoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setattr(cleanup, "SWEEP_S", SWEEP_S)
        patch.setattr(page, "SWEEP_S", SWEEP_S)
        patch.setattr(page, "MAX_AGE_S", MAX_AGE_S)
        app = page.build_app([engine], decoder)
        launch(app, [engine], Settings(port=free_port()))
        yield app
        app.close()
    decoder.close()


def ask(app: gr.Blocks, *, is_fetched: bool) -> None:
    data = json.dumps({"data": ["a dog", 12, [], True]}).encode()
    headers, url = {"Content-Type": "application/json"}, f"{app.local_url}gradio_api/call/search"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
        event = json.load(answer)["event_id"]
    if is_fetched:
        with urllib.request.urlopen(f"{url}/{event}") as answer:
            assert b"event: complete" in answer.read()


def test_answers_that_nobody_came_for_are_forgotten(served: gr.Blocks) -> None:
    queue = served._queue
    ask(served, is_fetched=False)
    wait_until(lambda: not queue.event_ids_to_events)
    assert queue.pending_messages_per_session  # somebody may come yet
    wait_until(lambda: not queue.pending_messages_per_session and not queue.pending_event_ids_session)


def test_who_waits_is_kept(served: gr.Blocks) -> None:
    """Though the sweeps come much more often than in the app."""
    with ThreadPoolExecutor(40) as visitors:
        for asked in [visitors.submit(ask, served, is_fetched=True) for _ in range(80)]:
            asked.result()


def test_nothing_of_what_a_session_was_sent_is_kept(served: gr.Blocks) -> None:
    ask(served, is_fetched=True)
    sessions = served.state_holder.session_data
    assert sessions and len(sessions) <= served.state_session_capacity == 1000
    wait_until(lambda: not any(state.config_values for state in sessions.values()))
    assert any(state.state_data for state in sessions.values())  # but what it asked is


def test_an_upload_is_deleted_some_time_after_its_last_use(served: gr.Blocks) -> None:
    owl, coffee = (ROOT / "examples" / name for name in ("stamps/animals-birds-owl.jpg", "skimage/coffee.jpg"))
    unused, used = (Path(str(upload_raw(str(served.local_url), path)["path"])) for path in (owl, coffee))
    begin = time.monotonic()
    while unused.exists():
        assert used.exists() and time.monotonic() < begin + 20
        os.utime(used)
        time.sleep(0.2)
    assert time.monotonic() - begin >= MAX_AGE_S - 1
    wait_until(lambda: not used.exists())
