"""The page's address is what was asked: every question is a link, and one event answers it.

router.js turns clicks, Back, Forward and the address at the start into events of the component: `select` for texts and
`input` for pictures, which have queues of their own, and `submit` for the description of a picture besides. Their data
are the link, the paths of the uploads that it names, so that the server keeps nothing of a visitor, and the number of
the question in its window: a later one ends those before, and an answer that comes late never replaces it.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import gradio as gr

from imgsearch.text import truncate
from imgsearch.web.components.scripted import data_url, scripted_html
from imgsearch.web.components.wall import Wall
from imgsearch.web.handlers import PICTURES, TEXTS
from imgsearch.web.i18n import MAX_CAPTION, tr
from imgsearch.web.page_state import KEYS, PageState, Tab, Uploads
from imgsearch.web.retrieval import Retrieval, asked

MAX_WINDOWS = 10_000  # whose last question is known


@dataclass
class Question:
    """A question of a window, for which there may be several events: pictures, and a description."""

    number: int
    is_last: bool = True
    is_stopped: bool = False  # by its asker

    def is_over(self) -> bool:
        """Return whether nothing more is to be written about it."""
        return self.is_stopped or not self.is_last


class Router:
    """The invisible component."""

    def __init__(self) -> None:
        self.component = scripted_html("address", "<span></span>", "elements", "router", keys=[*KEYS.values(), "open"])
        self._last: dict[str | None, Question] = {}  # of each window
        self._lock = Lock()

    def connect(self, tabs: gr.Tabs, inputs: Mapping[Tab, Any], wall: Wall, retrieval: Retrieval) -> None:
        """Answer each link on the wall, and put what it asks into the input of its tab."""
        collections = retrieval.collections

        def restored(state: PageState, uploads: Uploads, request: gr.Request) -> Any:
            if state.tab == "search":
                return state.text
            picture = retrieval.picture(state, uploads, request)
            return {"src": data_url(picture) if picture else "", "box": state.box}

        def answer(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
            question = self.question(event, request)
            state, uploads = asked(event)
            collection = collections.named(state.collection)
            if state.collection not in ("", collection, collections.default):
                gr.Warning(html.escape(tr("no_collection", request).format(truncate(state.collection, MAX_CAPTION))))
            state = replace(state, collection=collection)
            changes: dict[Any, Any] = {wall.component: wall.answer(state, uploads, request)}
            if not state.start:  # else they are more hits of the same answer
                changes[collections.choice] = collection or collections.default
                if state.tab != "search" and not getattr(event, "number", 0):  # later on, router.js opens the tab
                    changes[tabs] = gr.Tabs(selected=state.tab)
                if not getattr(event, "isTyped", False):  # who has typed may type on
                    changes[inputs[state.tab]] = restored(state, uploads, request)
            return changes if question.is_last else {wall.component: gr.skip()}

        outputs = [wall.component, tabs, collections.choice, *inputs.values()]
        self.component.select(answer, None, outputs, api_visibility="private", **TEXTS)
        self.component.input(answer, None, outputs, api_visibility="private", **PICTURES)

    def question(self, event: gr.EventData, request: gr.Request) -> Question:
        """Return the question of an event; those before it in its window are over."""
        number = getattr(event, "number", 0)
        asked = Question(number if isinstance(number, int) else 0)
        with self._lock:
            last = self._last.pop(request.session_hash, asked)
            asked.is_last = asked.number > last.number
            last.is_last = not asked.is_last
            self._last[request.session_hash] = asked if asked.is_last else last
            if len(self._last) > MAX_WINDOWS:
                self._last.pop(next(iter(self._last)))
        return last if asked.number == last.number else asked

    def stop(self, request: gr.Request) -> None:
        """Stop what is still written about the last question of a window."""
        if question := self._last.get(request.session_hash):
            question.is_stopped = True
