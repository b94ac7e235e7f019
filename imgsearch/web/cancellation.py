"""Stop descriptions that are being written: each visitor can stop their own, and a time limit stops the rest."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

MAX_CAPTION_S = 120.0  # seconds that a captioner may write, from the first word on
MAX_VISITORS = 1000  # entries kept: a visitor who begins but never runs a description leaves one behind


class Cancellations:
    """Holds one stop event per visitor, for the description that is running or waits in the queue."""

    def __init__(self) -> None:
        self._stopped: dict[str | None, threading.Event] = {}

    def begin(self, request: gr.Request) -> None:
        """Register a new description of this visitor and stop the one before."""
        self.stop(request)
        self._stopped[request.session_hash] = threading.Event()
        if len(self._stopped) > MAX_VISITORS:
            self._stopped.pop(next(iter(self._stopped)), None)

    @contextmanager
    def as_latest(self, request: gr.Request) -> Iterator[Callable[[], bool]]:
        """Yield a function for the running description to call often: it returns True once it must stop.

        The time limit counts from its first call.
        """
        event = self._stopped.setdefault(request.session_hash, threading.Event())
        end = math.inf

        def stop() -> bool:
            nonlocal end
            end = min(end, time.monotonic() + MAX_CAPTION_S)
            return event.is_set() or time.monotonic() > end

        try:
            yield stop
        finally:
            if self._stopped.get(request.session_hash) is event:
                del self._stopped[request.session_hash]

    def stop(self, request: gr.Request) -> None:
        """Stop the description of this visitor, if there is one."""
        if event := self._stopped.get(request.session_hash):
            event.set()

    def is_under_way(self, request: gr.Request) -> bool:
        """Return whether this visitor has a description that can be stopped."""
        event = self._stopped.get(request.session_hash)
        return event is not None and not event.is_set()
