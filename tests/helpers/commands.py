"""The command line: what a command prints, and how it ends."""

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imgsearch.config import ROOT


class Ended(NamedTuple):
    """A command that came to its end."""

    code: object
    out: str
    err: str

    def answer(self) -> Any:  # noqa: ANN401
        """The JSON that it printed."""
        assert self.code == 0, self.err
        return json.loads(self.out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))

    def refusal(self) -> str:
        """The one line that it ended with."""
        assert (self.code, self.out) == (2, "") and len(self.err.strip().splitlines()) == 1, self
        return self.err


Run = Callable[..., Ended]


def run_module(capsys: "pytest.CaptureFixture[str]", module: str, *arguments: str | Path) -> Ended:
    """Run `python -m MODULE ARGUMENTS` in this process, which has its libraries loaded.

    Leave its signals as they were: a build answers SIGTERM in its own way.
    """
    capsys.readouterr()
    code: object = 0
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [module, *map(str, arguments)])
            runpy.run_module(module, run_name="__main__")
    except SystemExit as exit:
        code = exit.code
    finally:
        signal.signal(signal.SIGTERM, before)
    return Ended(code, *capsys.readouterr())


def run_process(*arguments: str | Path, **environ: str) -> Ended:
    """Run a command as a user does: `python -m imgsearch`."""
    command = [sys.executable, "-m", "imgsearch", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ | environ)
    return Ended(done.returncode, done.stdout, done.stderr)
