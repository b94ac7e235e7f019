"""Delete what visitors leave behind while the app runs: files in the temporary folder, sessions, unfetched results."""

import logging
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

MAX_AGE_S = 3600.0  # seconds since a picture was last used
MAX_BYTES = 2**30  # of all pictures: beyond it the least recently used ones are deleted
IDLE_S = 60.0  # seconds since the last request of a session
SWEEP_S = 30.0  # seconds between two sweeps
log = logging.getLogger(__name__)


class NullConfigStore(dict[int, dict[str, Any]]):
    """A dict that pretends to hold every key and stores nothing, so that Gradio keeps no copy of the page's config."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}

    def __setitem__(self, key: int, value: dict[str, Any]) -> None:
        pass


class SessionStates(StateHolder):
    """Gradio's session states without the copy of the page's config, 0.5 MB per session, kept for its deep links."""

    def __getitem__(self, session_id: str) -> SessionState:
        state = super().__getitem__(session_id)
        # Gradio internal: SessionState.config_values, because no option turns this copy off.
        state.config_values = NullConfigStore()
        return state


class Janitor:
    """Cleans up at intervals behind a page that is being served."""

    def __init__(self, app: gr.Blocks, folder: Path) -> None:
        """Use SessionStates in `app`. `folder` must hold all files of visitors and nothing else."""
        self._app, self._folder = app, folder
        # Gradio internal: App.state_holder, because launch offers no way to pass another one.
        app.app.state_holder = SessionStates()  # type: ignore[no-untyped-call]
        app.app.state_holder.set_blocks(app)

    def sweep_for_ever(self) -> NoReturn:
        """Sweep every SWEEP_S seconds until interrupted."""
        while True:
            time.sleep(SWEEP_S)
            try:
                self.sweep()
            except Exception:
                log.exception("not all could be swept")

    def sweep(self) -> None:
        """Delete old files and forget idle sessions, once."""
        sweep_files(self._folder, MAX_AGE_S, MAX_BYTES)
        loop = self._app.server.servers[0].get_loop()
        loop.call_soon_threadsafe(self._sweep_sessions)  # in the server's thread, so that no request runs meanwhile

    def _sweep_sessions(self) -> None:
        """Forget sessions whose page is closed, and results that nobody fetched. A new request creates them again."""
        # Gradio internal: the dicts of Blocks._queue and of StateHolder, which Gradio never empties.
        queue, holder = self._app._queue, self._app.state_holder
        for session in filter(self._is_idle, {*queue.pending_messages_per_session, *queue.pending_event_ids_session}):
            queue.pending_messages_per_session.pop(session, None)
            queue.pending_event_ids_session.pop(session, None)
        with holder.lock:
            closed = [session for session, state in holder.session_data.items() if state.is_closed]
        for session in closed:
            if self._age_s(session) < MAX_AGE_S:
                continue  # Gradio also marks a page as closed if its connection broke: it may come back
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)

    def _is_idle(self, session: str) -> bool:
        events = self._app._queue.pending_event_ids_session.get(session, ())
        if any(event in self._app._queue.event_ids_to_events for event in events):  # in the queue or running
            return False
        return self._age_s(session) > IDLE_S

    def _age_s(self, session: str) -> float:
        """Return the seconds since the last request of a session; infinity if there was none."""
        last = self._app.state_holder.time_last_used.get(session)
        return time.time() - last.timestamp() if last else math.inf


def sweep_files(folder: Path, max_age_s: float, max_bytes: int) -> None:
    """Delete the least recently used files until all are at most `max_age_s` old and `max_bytes` large in total."""
    files = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # another thread may have deleted it
            status = path.lstat()
            if not path.is_dir():
                files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    num_bytes = sum(size for _, size, _ in files)
    for last_used, size, path in sorted(files):
        if time.time() - last_used <= max_age_s and num_bytes <= max_bytes:
            break
        num_bytes -= size
        with suppress(OSError):
            path.unlink()
        if path.parent != folder:
            with suppress(OSError):  # not empty
                path.parent.rmdir()
