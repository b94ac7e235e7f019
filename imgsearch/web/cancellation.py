"""Descriptions that are being written: each visitor may stop the own one, and none goes on for ever."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr

MAX_CAPTION_S = 120.0  # that a captioner may write, from the first word on
MAX_VISITORS = 1000  # that are remembered: who begins and never asks leaves an entry


class Cancellations:
    """The description of each visitor that is under way or waits for its turn, which the visitor may stop."""

    def __init__(self) -> None:
        self._stopped: dict[str, threading.Event] = {}

    def begin(self, request: gr.Request) -> None:
        """Another one is wanted: the one before it is stopped."""
        self.stop(request)
        self._stopped[_session(request)] = threading.Event()
        if len(self._stopped) > MAX_VISITORS:
            self._stopped.pop(next(iter(self._stopped)), None)

    @contextmanager
    def as_latest(self, request: gr.Request) -> Iterator[Callable[[], bool]]:
        """Whether it is to stop, asked for as long as it runs: the visitor wants so, or it has taken too long."""
        event = self._stopped.setdefault(_session(request), threading.Event())
        try:
            yield _in_time(event.is_set)
        finally:
            if self._stopped.get(_session(request)) is event:
                del self._stopped[_session(request)]

    def stop(self, request: gr.Request) -> None:
        """Stop what is under way for this visitor, if anything is."""
        event = self._stopped.get(_session(request))
        if event:
            event.set()

    def is_under_way(self, request: gr.Request) -> bool:
        """Whether there is something to stop."""
        event = self._stopped.get(_session(request))
        return event is not None and not event.is_set()


def _session(request: gr.Request) -> str:
    return request.session_hash or ""


def _in_time(is_stopped: Callable[[], bool]) -> Callable[[], bool]:
    """Whether the visitor has stopped it, or it has been written for too long since it was first asked."""
    end = math.inf

    def stop() -> bool:
        nonlocal end
        end = min(end, time.monotonic() + MAX_CAPTION_S)
        return is_stopped() or time.monotonic() > end

    return stop
