"""The page's address is what was asked: every question is a link, and one event answers it.

router.js turns clicks, Back, Forward and the address at the start into events of the component: `select` for texts and
`input` for pictures, which have queues of their own, and `submit` for the description of a picture besides. Their data
are the link, the paths of the uploads that it names, so that the server keeps nothing of a visitor, and the number of
the question in its window: an answer that comes late never replaces a later one.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import gradio as gr

from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.wall import Wall
from imgsearch.web.handlers import PICTURES, TEXTS
from imgsearch.web.page_state import KEYS, PageState, Tab, Uploads
from imgsearch.web.retrieval import Retrieval, asked

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
MAX_WINDOWS = 10_000  # whose last question is known


class TabView(Protocol):
    """The interface of a tab for the router."""

    inputs: list[Any]  # the components in which a visitor asks

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the values of the inputs for a state of the page."""
        ...


class Router:
    """The invisible component."""

    def __init__(self) -> None:
        self.component = scripted_html("address", "<span></span>", "elements", "router", keys=list(KEYS))
        self._last: dict[str | None, int] = {}  # window -> number of its last question

    def connect(self, tabs: gr.Tabs, views: Mapping[Tab, TabView], wall: Wall, retrieval: Retrieval) -> None:
        """Answer each link on the wall, and in the tab that it names."""
        collections = retrieval.collections

        def answer(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
            is_last = self.numbered(event, request)
            state, uploads = asked(event)
            collection = collections.named(state.collection)
            state = PageState(**{**vars(state), "collection": collection})
            changes: dict[Any, Any] = {wall.component: wall.answer(state, uploads, request)}
            if not state.start:  # else they are more hits of the same answer
                changes[collections.choice] = collection or collections.default
                if state.tab != "search" and not getattr(event, "number", 0):  # later on, router.js opens the tab
                    changes[tabs] = gr.Tabs(selected=state.tab)
                if not getattr(event, "isTyped", False):  # who has typed may type on
                    changes |= views[state.tab].restore(state, uploads, request)
            return changes if is_last() else {wall.component: gr.skip()}

        inputs = (component for view in views.values() for component in view.inputs)
        outputs = [wall.component, tabs, collections.choice, *inputs]
        shown: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple", **PRIVATE}
        self.component.select(answer, None, outputs, **TEXTS | shown)
        self.component.input(answer, None, outputs, **PICTURES | shown)

    def numbered(self, event: gr.EventData, request: gr.Request) -> Callable[[], bool]:
        """Note the number of a question; return a function that tells whether none has been asked after it."""
        window, number = request.session_hash, getattr(event, "number", 0)
        number = number if isinstance(number, int) else 0
        self._last[window] = max(number, self._last.pop(window, 0))
        if len(self._last) > MAX_WINDOWS:
            self._last.pop(next(iter(self._last)), None)
        return lambda: number >= self._last.get(window, 0)
