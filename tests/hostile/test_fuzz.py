"""Damaged files, made up for TEST_FUZZ_S seconds a kind (default: 30), in a process that they may end."""

import os
import subprocess
import sys

import pytest

from imgsearch.config import ROOT

SECONDS = os.environ.get("TEST_FUZZ_S", "30")


@pytest.mark.parametrize("kind", ["pictures", "bundles"])
def test_damage_is_told(kind: str) -> None:
    command = [sys.executable, "-m", "tests.helpers.fuzz", kind, SECONDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-5000:]
    assert int(done.stdout) > 100
