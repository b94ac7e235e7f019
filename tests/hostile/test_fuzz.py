"""Damaged files, made up for a second or for half a minute a kind, in a process that they may end."""

import os
import subprocess
import sys

import pytest

from imgsearch.config import ROOT


@pytest.mark.parametrize("seconds", ["1", pytest.param("30", marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["pictures", "bundles"])
def test_damage_is_told(kind: str, seconds: str) -> None:
    command = [sys.executable, "-m", "tests.helpers.fuzz", kind, seconds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-5000:]
    assert int(done.stdout) > 100
