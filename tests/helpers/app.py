"""The app as a process of its own, as a user starts it."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imgsearch.config import ROOT

TIMEOUT_S = 120
FORM = "multipart/form-data; boundary=XXX"
STARTER = ("--encoder", "starter", "--captioner", "starter")
PROGRAM = "\nimport runpy, sys; sys.argv[0] = 'app.py'; runpy.run_path('app.py', run_name='__main__')\n"
"""Python that runs `app.py`, to put something before."""


@dataclass(frozen=True)
class App:
    """A running app; taken apart, it is its address and its process."""

    url: str
    process: "subprocess.Popen[bytes]"
    output: Path
    seconds: float  # to its first answer

    def __iter__(self) -> Iterator[object]:
        return iter((self.url, self.process))

    def said(self) -> str:
        """All that it has printed so far, errors too."""
        return self.output.read_text("utf-8", "replace")

    def wait_for(self, words: str) -> str:
        """Until it has printed these words; all that it has printed."""
        deadline = time.monotonic() + TIMEOUT_S
        while words not in self.said():
            assert time.monotonic() < deadline and self.process.poll() is None, self.said()
            time.sleep(0.05)
        return self.said()

    def end(self, number: int, limit_s: float = 5) -> int:
        """Send a signal; the exit code, which is to come within so many seconds."""
        self.process.send_signal(number)
        return self.process.wait(limit_s)


@contextmanager
def running_app(
    *flags: str,
    program: str = "",
    prefix: Sequence[str] = (),
    cwd: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
    preexec_fn: Callable[[], None] | None = None,
    **variables: str,
) -> Iterator[App]:
    """`python app.py`, or a `program` in its place, up to its first answer; what it prints is kept.

    `environ` is all of its environment but for the `variables`, where given; without a `port` it gets a free one by
    flag. On failure what it printed is shown.
    """
    asked = [] if port else ["--port", str(free_port())]
    url = f"http://127.0.0.1:{port or asked[1]}/"
    command = [*prefix, sys.executable, *(["-c", program] if program else ["app.py"]), *asked, *flags]
    env = dict(os.environ if environ is None else environ) | variables
    with tempfile.NamedTemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output, preexec_fn=preexec_fn)
        try:
            while not _answers(url):
                assert process.poll() is None, "the app ended before it answered"
                assert time.perf_counter() < start + TIMEOUT_S, "the app did not answer"
                time.sleep(0.01)
            yield App(url, process, Path(output.name), time.perf_counter() - start)
        except BaseException:
            print(Path(output.name).read_text("utf-8", "replace"))
            raise
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError:  # it asks for a password
        return True
    except OSError:
        return False
    return True


def avoid_end_of_window() -> None:
    """Wait for the next half minute of the clock, with which a rate's count begins anew, unless this one lasts."""
    left = 30 - time.time() % 30
    if left < 10:
        time.sleep(left)


def free_port() -> int:
    """A port that nobody listens on, and that no connection takes by chance: Linux gives these 32768 and above."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def form_of(*parts: tuple[str, bytes]) -> bytes:
    """A FORM of files, with their names as they are."""
    head = b'--XXX\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\nContent-Type: image/gif\r\n\r\n'
    return b"".join(head % name.encode("utf-8", "replace") + data + b"\r\n" for name, data in parts) + b"--XXX--\r\n"


def upload_raw(url: str, picture: Path) -> dict[str, object]:
    """What stands for a picture in a raw call, once it is uploaded."""
    body, form = form_of((re.sub(r'["\r\n\\]', "_", picture.name), picture.read_bytes())), {"Content-Type": FORM}
    with urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/upload", body, form), timeout=30) as answer:
        return {"path": json.load(answer)[0], "meta": {"_type": "gradio.FileData"}}


def resident_mib(pid: int) -> float:
    """VmRSS of a process; 0 of one that has ended."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/status").read_text("ascii").split("VmRSS:")[1].split()[0]) / 1024
    return 0.0


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    with suppress(OSError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        own = [int(child) for thread in threads for child in (thread / "children").read_text("ascii").split()]
        return [process for child in own for process in (child, *children_of(child))]
    return []


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition is true; fail after 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
