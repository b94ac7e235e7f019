"""The public link of --share: announce who will see what, open it in the background, close it with the app."""

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

LIMIT_S = 30.0  # seconds to wait for the share server
CLOSE_S = 1.0  # seconds to wait for the tunnel program to end
NO_LINK = "A public link could not be opened: is there internet? The local app goes on."


def announcement(names: Sequence[str], *, has_password: bool) -> str:
    """Return the text that says what the link opens and to whom."""
    audience = "those who have the link and a password" if has_password else "everyone who has the link"
    return (
        f"--share opens this page to {audience}, for a week, by way of Gradio's servers. They may see and search\n"
        f"{', '.join(map(sanitise_line, names))}, and use this machine to compute. "
        "What they upload stays on it until the app ends at most."
    )


class Link:
    """A public link to a page that is already served on this machine."""

    def __init__(self, app: gr.Blocks) -> None:
        self._app = app
        self._is_closed = threading.Event()

    def open(self) -> None:
        """Open the link in a background thread; print it, or NO_LINK if it cannot be opened."""
        threading.Thread(target=self._run, name="link", daemon=True).start()

    def close(self) -> None:
        """Close the link, even if it is still being opened."""
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
        except queue.Empty:  # DNS or the share server does not answer
            url = ""
        if not url and not self._is_closed.is_set():
            self.close()
            print(NO_LINK, flush=True)
        elif url:
            print(f"and for a week on {url}", flush=True)

    def _url(self) -> str:
        """Open the link and return its address; return "" if that fails for any reason."""
        try:
            _delete_wrong_tunnel_program()
            app = self._app
            url = setup_tunnel(app.server_name, app.server_port, app.share_token, None, None)
            url = urlsplit(url)._replace(scheme=app.share_server_protocol).geturl()
        except Exception:  # of Gradio, of httpx, or from unexpected output of frpc
            url = ""
        if self._is_closed.is_set():
            self.close()
        return "" if self._is_closed.is_set() else url


def _delete_wrong_tunnel_program() -> None:
    """Delete Gradio's tunnel program if its digest is wrong: Gradio checks the digest only after a download."""
    program = Path(tunneling.BINARY_PATH)
    expected = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if expected and program.exists() and hashlib.sha256(program.read_bytes()).hexdigest() != expected:
        program.unlink()
