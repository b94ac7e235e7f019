"""The page's address is what was asked: every question is a link, and one event answers it.

router.js turns clicks, Back, Forward and the address at the start into events of the component: `select` for texts and
`input` for pictures, which have queues of their own, and `submit` for the description of a picture besides. Their data
are the link and the paths of the uploads that it names, so that the server keeps nothing of a visitor.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import gradio as gr

from imgsearch.web.components.picture_input import picture_words
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.wall import Wall
from imgsearch.web.handlers import PICTURES, TEXTS
from imgsearch.web.page_state import KEYS, PageState, Tab, Uploads
from imgsearch.web.retrieval import Retrieval, asked

PRIVATE: dict[str, Any] = {"api_visibility": "private"}


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

    def connect(self, tabs: gr.Tabs, views: Mapping[Tab, TabView], wall: Wall, retrieval: Retrieval) -> None:
        """Answer each link on the wall, and in the tab that it names."""
        collections = retrieval.collections

        def answer(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
            state, uploads = asked(event)
            collection = collections.named(state.collection)
            state = PageState(**{**vars(state), "collection": collection})
            changes: dict[Any, Any] = dict.fromkeys(pictures, picture_words(request))  # else Gradio drops the words
            changes[wall.component] = wall.answer(state, uploads, request)
            if state.start:  # more hits of the same answer
                return changes
            changes |= {tabs: gr.Tabs(selected=state.tab), collections.choice: collection or collections.default}
            return changes | views[state.tab].restore(state, uploads, request)

        inputs = [component for view in views.values() for component in view.inputs]
        pictures = [component for component in inputs if isinstance(component, gr.HTML)]
        outputs = [wall.component, tabs, collections.choice, *inputs]
        shown: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
        self.component.select(answer, None, outputs, **shown, **TEXTS)
        self.component.input(answer, None, outputs, **shown, **PICTURES)
