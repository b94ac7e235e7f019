"""What visitors leave behind, pictures in the temporary folder and answers nobody fetched: swept meanwhile."""

import logging
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

MAX_AGE_S = 3600.0  # since a picture was last used
MAX_BYTES = 2**30  # of all of them: beyond it those go that were used longest ago
IDLE_S = 60.0  # since a session last asked something
SWEEP_S = 30.0
log = logging.getLogger(__name__)


class NullConfigStore(dict[int, dict[str, Any]]):
    """What each component of a page is to be: as far as Gradio can see it is there, but nothing of it is kept."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: int) -> dict[str, Any]:
        return {}

    def __setitem__(self, key: int, value: dict[str, Any]) -> None:
        pass


class SessionStates(StateHolder):
    """The states of visitors, without the half a megabyte that Gradio keeps of each for deep links."""

    def __getitem__(self, session_id: str) -> SessionState:
        state = super().__getitem__(session_id)
        state.config_values = NullConfigStore()
        return state


class Janitor:
    """The sweeper of a page that is being served."""

    def __init__(self, app: gr.Blocks, folder: Path) -> None:
        """`folder` is where all files of visitors lie, and nothing else."""
        self._app, self._folder = app, folder
        app.app.state_holder = SessionStates()  # type: ignore[no-untyped-call]
        app.app.state_holder.set_blocks(app)

    def sweep_for_ever(self) -> NoReturn:
        """Sweep, and sweep again, until interrupted."""
        while True:
            time.sleep(SWEEP_S)
            try:
                self.sweep()
            except Exception:
                log.exception("not all could be swept")

    def sweep(self) -> None:
        """Take away what nobody will come for."""
        sweep_files(self._folder, MAX_AGE_S, MAX_BYTES)
        loop = self._app.server.servers[0].get_loop()
        loop.call_soon_threadsafe(self._sweep_sessions)  # between two steps of any request

    def _sweep_sessions(self) -> None:
        """Forget sessions whose page is closed, and the answers that nobody has come for.

        Gradio keeps both for ever, and makes them anew for a session that asks again.
        """
        queue, holder = self._app._queue, self._app.state_holder
        for session in filter(self._is_idle, {*queue.pending_messages_per_session, *queue.pending_event_ids_session}):
            queue.pending_messages_per_session.pop(session, None)
            queue.pending_event_ids_session.pop(session, None)
        with holder.lock:
            closed = [session for session, state in holder.session_data.items() if state.is_closed]
        for session in closed:
            if self._age_s(session) < MAX_AGE_S:
                continue  # Gradio says so, too, of a page whose connection broke, which may be back
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)

    def _is_idle(self, session: str) -> bool:
        events = self._app._queue.pending_event_ids_session.get(session, ())
        if any(event in self._app._queue.event_ids_to_events for event in events):  # waits, or is being answered
            return False
        return self._age_s(session) > IDLE_S

    def _age_s(self, session: str) -> float:
        """Since a session last asked something; infinite where it never did."""
        last = self._app.state_holder.time_last_used.get(session)
        return time.time() - last.timestamp() if last else math.inf


def sweep_files(folder: Path, max_age_s: float, max_bytes: int) -> None:
    """Delete the files that were last used longest ago, until none is older and all together are no larger."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # another thread may be faster
            facts = path.lstat()
            if not path.is_dir():
                found.append((max(facts.st_atime, facts.st_mtime), facts.st_size, path))
    num_bytes = sum(size for _, size, _ in found)
    for used, size, path in sorted(found):
        if time.time() - used <= max_age_s and num_bytes <= max_bytes:
            break
        num_bytes -= size
        with suppress(OSError):
            path.unlink()
        if path.parent != folder:
            with suppress(OSError):  # not empty
                path.parent.rmdir()
