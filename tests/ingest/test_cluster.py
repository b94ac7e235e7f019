"""A build on a real Ray cluster of this machine makes what one process makes, also if a worker is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imgsearch.config import ROOT
from imgsearch.index.manifest import read_manifest
from tests.helpers.app import children_of
from tests.helpers.commands import run_module, run_process

BUILD = ("build", "--encoder", "starter", "--shard-size", "8", "--no-thumbnails")
THREADS = {"OMP_NUM_THREADS": "1"}  # of all builds: sums of another number of threads differ in their last bit


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted(examples.glob("*/*.jpg"))[:64]:
        shutil.copy(path, folder)
    return folder


def workers(process: int) -> list[int]:
    """The processes of Ray that build a part."""
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children_of(process)}
    return [child for child, command in commands.items() if command.startswith(b"ray::_build_part")]


def test_a_killed_worker_changes_nothing(pictures: Path, tmp_path: Path) -> None:
    assert run_process(*BUILD, pictures, "--out", tmp_path / "alone", **THREADS).code == 0
    command = [sys.executable, "-m", "imgsearch", *BUILD, str(pictures), "--out", str(tmp_path / "many")]
    flags = ("--ray", "local", "--parts", "2", "--lance", f"lance://{tmp_path}/many")
    thesis = tmp_path / "many.parts" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.touch()
    with subprocess.Popen([*command, *flags], cwd=ROOT, env=os.environ | THREADS, stderr=subprocess.PIPE) as process:
        while not list(tmp_path.glob("many.parts/.1-of-2.build/*/*.arrow")):  # a finished shard
            assert process.poll() is None
            time.sleep(0.05)
        victims = workers(process.pid)
        assert victims
        os.kill(victims[0], signal.SIGKILL)
        said = process.communicate()[1].decode()
    assert process.returncode == 0, said
    assert "Part 1 of 2: 32 pictures" in said and "Part 2 of 2: 32 pictures" in said
    assert "64 rows are in" in said and "Warning" not in said
    alone, many = (read_manifest(tmp_path / name).files for name in ("alone", "many"))
    same = alone.keys() & many.keys()  # their names hold their digests
    assert {name.split("-")[0] for name in same} >= {"vectors", "items", "words"}
    assert list(thesis.parent.iterdir()) == [thesis]


def test_what_a_failed_run_leaves_is_of_use_to_the_same_options_only(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted(pictures.iterdir())[:15]:
        shutil.copy(path, folder)
    (folder / "z.jpg").write_bytes(b"")  # in the second shard
    alone, many = tmp_path / "alone", tmp_path / "many"
    by_ray = ("--out", many, "--ray", "local", "--parts", "2")
    failed = run_process(*BUILD, folder, *by_ray, "--strict", **THREADS)
    assert failed.code == 2 and "1 of 2 parts failed: z.jpg cannot be indexed" in failed.err
    assert "Part 1 of 2: 8 pictures, 0 encoded" in run_process(*BUILD, folder, *by_ray, "--strict", **THREADS).err
    others = (*BUILD[:-1], "--no-exif", folder)  # with thumbnails
    assert run_process(*others, *by_ray, **THREADS).code == 0
    assert run_process(*others, "--out", alone, **THREADS).code == 0
    assert read_manifest(many).files == read_manifest(alone).files


def test_without_a_picture_it_says_what_one_machine_says(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"")
    alone = run_process(*BUILD, folder, "--out", tmp_path / "alone")
    many = run_process(*BUILD, folder, "--out", tmp_path / "many", "--ray", "local", "--parts", "2")
    said = alone.err.splitlines()[-1]
    assert "holds no picture that can be read (2 skipped; a.jpg" in said
    assert (many.code, many.err.splitlines()[-1]) == (2, said)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("many*/*")} == {"many/report.json"}
    assert not (tmp_path / "many.parts").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--ray", "127.0.0.1:1"), "No Ray cluster answers at 127.0.0.1:1"),
        (("--ray", "nowhere"), "No Ray cluster answers at nowhere"),
        (("--ray", "[::1"), "No Ray cluster answers at [::1"),
        (("--parts", "4"), "--parts needs --ray"),
        (("--ray", "local", "--shard", "1/2"), "--ray goes neither with"),
        (("--ray", "local", "--parts", "0"), "--parts is 0"),
    ],
)
def test_a_wrong_address_is_said_at_once(
    capsys: pytest.CaptureFixture[str], pictures: Path, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    ended = run_module(capsys, "imgsearch", *BUILD, pictures, "--out", tmp_path / "out", *flags)
    assert words in ended.refusal()


@pytest.mark.parametrize("kind", ["web server", "silent"])
def test_another_program_at_the_address_is_said(
    capsys: pytest.CaptureFixture[str], pictures: Path, tmp_path: Path, kind: str
) -> None:
    with ExitStack() as stack:
        if kind == "silent":
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        else:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            port = server.server_port
        flags = ("--ray", f"127.0.0.1:{port}")
        ended = run_module(capsys, "imgsearch", *BUILD, pictures, "--out", tmp_path / "out", *flags)
    assert f"No Ray cluster answers at 127.0.0.1:{port}" in ended.err.splitlines()[-1] and ended.code == 2
