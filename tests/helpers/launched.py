"""The app as a process whose words are kept, with something done in it before it starts."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgsearch.config import ROOT
from tests.helpers.app import START_TIMEOUT_S, free_port

START = "\nimport runpy, sys; sys.argv[0] = 'app.py'; runpy.run_path('app.py', run_name='__main__')\n"


@dataclass(frozen=True)
class Launched:
    """A running app."""

    url: str
    process: "subprocess.Popen[bytes]"
    output: Path

    def said(self) -> str:
        """All that it has printed so far, errors too."""
        return self.output.read_text("utf-8")

    def wait_for(self, words: str) -> str:
        """Until it has printed these words; all that it has printed."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while words not in self.said():
            assert time.monotonic() < deadline and self.process.poll() is None, self.said()
            time.sleep(0.05)
        return self.said()

    def end(self, number: int) -> int:
        """Send a signal; the exit code, which is to come within 5 s."""
        self.process.send_signal(number)
        return self.process.wait(timeout=5)


@contextmanager
def launched(
    folder: Path,
    *flags: str,
    before: str = "",
    prefix: Sequence[str] = (),
    cwd: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
    **options: Any,
) -> Iterator[Launched]:
    """`app.py` up to its first answer, in a process that runs `before` first; its output is kept in `folder`.

    `environ` is all of its environment, where given; without a `port` it gets a free one by flag.
    """
    asked = () if port else ("--port", str(free_port()))
    url = f"http://127.0.0.1:{port or asked[1]}/"
    command = [*prefix, sys.executable, "-c", before + START, *asked, *flags]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=output, stderr=output, **options)
    app = Launched(url, process, folder / "output")
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(url):
            assert process.poll() is None, f"it ended before it answered: {app.said()}"
            assert time.monotonic() < deadline, f"it did not answer: {app.said()}"
            time.sleep(0.1)
        yield app
    except BaseException:
        print(app.said())
        raise
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:  # it asks for a password
        return True
    except OSError:
        return False
    return True


def environment(**variables: str) -> dict[str, str]:
    """That of the tests, with these variables."""
    return os.environ | variables
