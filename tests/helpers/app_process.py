"""Run the app in its own process on a free port of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from imgsearch.config import ROOT

TIMEOUT_S = 120
Served = tuple[str, "subprocess.Popen[bytes]", float]
"""URL, process, and seconds until the first HTTP 200."""


@contextmanager
def serve_app(models: str, cache: str) -> Iterator[Served]:
    """Run the app with the starter collection, without access to the hub and with its own folder `cache`."""
    command = ["app.py", "--encoder", models, "--captioner", models, "--port"]
    environ = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": cache, "XDG_CACHE_HOME": cache}
    with serve(command, environ) as served:
        yield served


@contextmanager
def serve(command: list[str], environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[Served]:
    """Run Python with `command` and a free port as last argument; yield URL, process and seconds until HTTP 200."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with suppress(OSError):
                urllib.request.urlopen(url, timeout=TIMEOUT_S).close()
                break
            if process.poll() is not None or time.perf_counter() - start > TIMEOUT_S:
                raise RuntimeError(f"{command[0]} did not answer")
            time.sleep(0.01)
        yield url, process, time.perf_counter() - start
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)


def resident_mib(pid: int) -> float:
    """Return VmRSS of a process in MiB; 0 if it has ended."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/status").read_text("ascii").split("VmRSS:")[1].split()[0]) / 1024
    return 0.0


def children_of(pid: int) -> list[int]:
    """Return the ids of all processes that a process has started, directly or through its children."""
    with suppress(OSError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        direct = [int(child) for thread in threads for child in (thread / "children").read_text("ascii").split()]
        return [process for child in direct for process in (child, *children_of(child))]
    return []
