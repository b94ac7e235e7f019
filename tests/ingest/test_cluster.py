"""A build on a real Ray cluster of this machine makes what one process makes, also if a worker is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
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
    assert not (tmp_path / "many.parts").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--ray", "127.0.0.1:1"), "No Ray cluster answers at 127.0.0.1:1"),
        (("--ray", "nowhere"), "No Ray cluster answers at nowhere"),
        (("--ray", "local", "--shard", "1/2"), "--ray goes neither with"),
        (("--ray", "local", "--parts", "0"), "--parts is 0"),
    ],
)
def test_a_wrong_address_is_said_at_once(
    capsys: pytest.CaptureFixture[str], pictures: Path, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    ended = run_module(capsys, "imgsearch", *BUILD, pictures, "--out", tmp_path / "out", *flags)
    assert words in ended.refusal()
