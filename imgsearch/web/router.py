"""The address of the page: each answer has one, a link opens it, and the browser's Back undoes a step."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import gradio as gr

from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import HIDDEN, QUIET, SHOWN, with_error_messages
from imgsearch.web.page_state import KEYS, TABS, NavigationRequest, PageState, Tab, Uploads, tab_of


class TabView(Protocol):
    """A tab, as the address sees it."""

    @property
    def link(self) -> gr.State:
        """The link to what it shows; "" before the first answer."""
        ...

    @property
    def restored(self) -> Sequence[Any]:
        """The components that `restore` sets."""
        ...

    def restore(self, asked: PageState, uploads: Uploads, request: gr.Request) -> Mapping[Any, Any]:
        """What its components become for a state of the page."""
        ...

    def follow(self, trigger: Callable[..., Any], wanted: gr.State) -> Any:
        """Answer, on `trigger`, what the wanted link asks, if it asks this tab. Returns the event."""
        ...


class Router:
    """A component without a face: its value is a link, which it puts into the browser's address, and reads from it."""

    def __init__(self) -> None:
        """Draw it in the current layout, and the states that go with it."""
        self.component = scripted_html("address", "<span></span>", "router", keys=list(KEYS))
        self.uploads = gr.State(Uploads())
        self.wanted = gr.State(("", 0.0))  # the link to follow, and when it was asked for

    def connect(self, tabs: gr.Tabs, collections: CollectionPicker, views: Mapping[Tab, TabView]) -> None:
        """Have the page follow links, Back and Forward."""
        links = [views[tab].link for tab in TABS]

        def selected(describe: str, similar: str, search: str, collection: str, event: gr.EventData) -> str:
            """The link to what a tab shows, which the visitor has opened by a click."""
            tab = tab_of(str(event._data.get("tab", "")))
            shown = dict(zip(TABS, (describe, similar, search), strict=True))[tab]
            return shown or PageState(tab, collection=collections.named(collection)).to_link()

        self.component.select(selected, [*links, collections.choice], self.component, **QUIET)
        self.follow(self.component.input, _of_event)
        self.follow(self.component.submit, _of_event)

        def restore(wanted: NavigationRequest, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
            if not wanted[1]:  # the page reports a change of a state when it first hears of it
                return {self.component: gr.skip()}
            asked = collections.canonical(PageState.from_link(wanted[0]))
            choice = asked.collection or collections.default
            changes = {tabs: gr.Tabs(selected=asked.tab), self.component: asked.to_link(), collections.choice: choice}
            return {**changes, **views[asked.tab].restore(asked, uploads, request)}

        restored = (part for view in views.values() for part in view.restored)
        components = [tabs, self.component, collections.choice, *restored]
        event = self.wanted.change(with_error_messages(restore), [self.wanted, self.uploads], components, **SHOWN)
        for tab in reversed(TABS):  # a description takes longest
            event = views[tab].follow(event.then, self.wanted)

    def follow(self, trigger: Callable[..., Any], link: Callable[..., str | None], *inputs: Any) -> None:
        """Go, on `trigger`, to the link that `link` makes of the inputs; nowhere where that is None."""

        @functools.wraps(link)  # keeps the signature, by which Gradio passes events
        def want(*values: Any) -> Any:
            found = link(*values)
            return (found, time.time()) if found is not None else gr.skip()

        trigger(want, list(inputs) or None, self.wanted, **HIDDEN)


def _of_event(event: gr.EventData) -> str:
    return str(event._data.get("link", ""))
