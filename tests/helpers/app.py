"""The app as a process of its own, as a user starts it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgsearch.config import ROOT

START_TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_app(*flags: str, cwd: Path = ROOT, **environ: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """`python app.py` in `cwd` on a free port, up to its first answer; its address and process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "app.py", "--port", str(port), *flags]
    process = subprocess.Popen(command, cwd=cwd, env=os.environ | environ)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the app ended before it answered"
                assert time.monotonic() < deadline, "the app did not answer"
                time.sleep(0.1)
        yield url, process
    finally:
        process.terminate()
        process.wait(timeout=20)


def upload_raw(url: str, picture: Path) -> dict[str, object]:
    """What stands for a picture in a raw call, once it is uploaded."""
    name = re.sub(r'["\r\n\\]', "_", picture.name).encode("utf-8", "replace")
    head = b'--XXX\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n' % name
    form = {"Content-Type": "multipart/form-data; boundary=XXX"}
    body = head + picture.read_bytes() + b"\r\n--XXX--\r\n"
    with urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/upload", body, form), timeout=30) as answer:
        return {"path": json.load(answer)[0], "meta": {"_type": "gradio.FileData"}}
