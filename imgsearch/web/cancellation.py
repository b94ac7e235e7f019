"""Stop descriptions that are being written: each visitor can stop their own, and a time limit stops the rest."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

MAX_CAPTION_S = 120.0  # seconds that a captioner may write, from the first word on
MAX_VISITORS = 1000  # entries kept


class Cancellations:
    """Holds one stop event per visitor, for the description that is running or waits in the queue."""

    def __init__(self) -> None:
        self._stopped: dict[str | None, threading.Event] = {}

    @contextmanager
    def latest(self, request: gr.Request) -> Iterator[tuple[Callable[[], bool], Callable[[], bool]]]:
        """Register a description of this visitor, and stop the one before.

        Yield two functions for it: whether it must stop, to be called often (the time limit counts from the first
        call), and whether it is still this visitor's latest.
        """
        self.stop(request)
        visitor, event, end = request.session_hash, threading.Event(), math.inf
        self._stopped[visitor] = event
        if len(self._stopped) > MAX_VISITORS:
            self._stopped.pop(next(iter(self._stopped)), None)

        def must_stop() -> bool:
            nonlocal end
            end = min(end, time.monotonic() + MAX_CAPTION_S)
            return event.is_set() or time.monotonic() > end

        try:
            yield must_stop, lambda: self._stopped.get(visitor) is event
        finally:
            if self._stopped.get(visitor) is event:
                del self._stopped[visitor]

    def stop(self, request: gr.Request) -> None:
        """Stop the description of this visitor, if there is one."""
        if event := self._stopped.get(request.session_hash):
            event.set()
