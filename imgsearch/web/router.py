"""The page's address: each result has its own, a link opens it, and the browser's Back returns to the one before."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import gradio as gr

from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import HIDDEN, QUIET, SHOWN, with_error_messages
from imgsearch.web.page_state import KEYS, MAX_LINK, NOT_RUN, TABS, NavigationRequest, PageState, Tab, Uploads, tab_of


class TabView(Protocol):
    """The interface of a tab for the router."""

    link: gr.State  # the link to what the tab shows; "" before the first result
    restored: list[Any]  # the components that `restore` sets

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the tab's components for a state of the page; they run its query."""
        ...


class Router:
    """An invisible component whose value is a link: router.js writes it into the address and reports new addresses.

    Events of the component: `select` (a click on a tab), `input` (Back, Forward), `submit` (the page opens by a link).
    """

    def __init__(self) -> None:
        self.component = scripted_html("address", "<span></span>", "router", keys=list(KEYS))
        self.uploads = gr.State(Uploads())
        self.navigation = gr.State(("", 0.0))  # its change event restores the tab of the link
        # The change event of a tab's Run runs its query. Outside of the tabs: in one it also fires when the tab opens.
        self.runs = {tab: gr.State(NOT_RUN) for tab in TABS}

    def connect(self, tabs: gr.Tabs, collections: CollectionPicker, views: Mapping[Tab, TabView]) -> None:
        """Connect links, Back, Forward and clicks on tabs with the tabs in `views`."""
        links: dict[str, gr.State] = {tab: views[tab].link for tab in TABS}

        def selected(collection: str, event: gr.EventData, **links: str) -> str:
            """Return the link to what the clicked tab shows."""
            tab = tab_of(str(getattr(event, "tab", "")))
            return links[tab] or PageState(tab, collection=collections.named(collection)).to_link()

        named: dict[str, Any] = {"collection": collections.choice, **links}
        self.component.select(selected, inputs_kwargs=named, outputs=self.component, **QUIET)
        self.follow(self.component.input, _of_event)
        self.follow(self.component.submit, _of_event)

        def restore(navigation: NavigationRequest, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
            if not navigation[1]:  # Gradio also fires `change` when the page first receives the state: nothing to open
                return {self.component: gr.skip()}
            state = PageState.from_link(navigation[0])
            state = replace(state, collection=collections.named(state.collection))
            choice = state.collection or collections.default
            changes = {tabs: gr.Tabs(selected=state.tab), self.component: state.to_link(), collections.choice: choice}
            return {**changes, **views[state.tab].restore(state, uploads, request)}

        restored = (component for view in views.values() for component in view.restored)
        components = [tabs, self.component, collections.choice, *restored]
        inputs = [self.navigation, self.uploads]
        self.navigation.change(with_error_messages(restore), inputs, components, **SHOWN)

    def follow(self, trigger: Callable[..., Any], link: Callable[..., str | None], *inputs: Any) -> None:
        """On `trigger`, open the link that `link` makes from the inputs; do nothing if it returns None."""

        @functools.wraps(link)  # keeps the signature: Gradio reads it to pass events
        def want(*values: Any) -> Any:
            target = link(*values)
            return (target, time.time()) if target is not None else gr.skip()

        trigger(want, list(inputs) or None, self.navigation, **HIDDEN)


def _of_event(event: gr.EventData) -> str:
    link = str(getattr(event, "link", ""))[:MAX_LINK]
    return link if link.isascii() else ""  # the page's address is always ASCII
