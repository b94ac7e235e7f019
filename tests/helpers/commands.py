"""The command line: what a command prints, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imgsearch.cli.main import main
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


def run_here(capsys: "pytest.CaptureFixture[str]", *arguments: str | Path) -> Ended:
    """Run a command in this process, and leave its signals as they were: a build answers SIGTERM in its own way."""
    capsys.readouterr()
    before = signal.getsignal(signal.SIGTERM)
    try:
        code: object = main([*map(str, arguments)])
    except SystemExit as exit:  # of the parser
        code = exit.code
    finally:
        signal.signal(signal.SIGTERM, before)
    return Ended(code, *capsys.readouterr())


def run_process(*arguments: str | Path, **environ: str) -> Ended:
    """Run a command as a user does: `python -m imgsearch`."""
    command = [sys.executable, "-m", "imgsearch", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ | environ)
    return Ended(done.returncode, done.stdout, done.stderr)
