"""The public link: what it opens to whom is said before; it is opened behind the page, and closed with it."""

import hashlib
import queue
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
from gradio import tunneling
from gradio.networking import setup_tunnel

from imgsearch.text import sanitise_line

LIMIT_S = 30.0  # for the share server to answer
CLOSE_S = 1.0  # for the tunnel program to end
NO_LINK = "A public link could not be opened: is there internet? The local app goes on."


def announcement(names: Sequence[str], *, has_password: bool) -> str:
    """What a link will open, and to whom."""
    whom = "those who have the link and a password" if has_password else "everyone who has the link"
    return (
        f"--share opens this page to {whom}, for a week, by way of Gradio's servers. They may see and search\n"
        f"{', '.join(map(sanitise_line, names))}, and use this machine to compute. "
        "What they upload stays on it until the app ends at most."
    )


class Link:
    """A public link to a page that is being served."""

    def __init__(self, app: gr.Blocks) -> None:
        self._app = app
        self._is_closed = threading.Event()

    def open(self) -> None:
        """Open it behind the page, and print it, or that it could not be had."""
        threading.Thread(target=self._run, name="link", daemon=True).start()

    def close(self) -> None:
        """Close it, also where it is only being opened."""
        self._is_closed.set()
        for tunnel in tunneling.CURRENT_TUNNELS:
            process, tunnel.proc = tunnel.proc, None
            if process:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(CLOSE_S)

    def _run(self) -> None:
        urls: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=lambda: urls.put(self._url()), name="tunnel", daemon=True).start()
        try:
            url = urls.get(timeout=LIMIT_S)
        except queue.Empty:  # a name server, or the share server, that keeps silent
            url = ""
        if not url and not self._is_closed.is_set():
            self.close()
            print(NO_LINK, flush=True)
        elif url:
            print(f"and for a week on {url}", flush=True)

    def _url(self) -> str:
        """The address, once the link is open; "" where it cannot be had, whatever the reason."""
        try:
            _drop_other_program()
            app = self._app
            url = setup_tunnel(app.server_name, app.server_port, app.share_token, None, None)
            url = urlsplit(url)._replace(scheme=app.share_server_protocol).geturl()
        except Exception:  # Gradio's, httpx's, and of what frpc says
            url = ""
        if self._is_closed.is_set():
            self.close()
        return "" if self._is_closed.is_set() else url


def _drop_other_program() -> None:
    """Delete Gradio's tunnel program where its digest is not the known one: Gradio checks only what it has just got."""
    program = Path(tunneling.BINARY_PATH)
    known = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if known and program.exists() and hashlib.sha256(program.read_bytes()).hexdigest() != known:
        program.unlink()
