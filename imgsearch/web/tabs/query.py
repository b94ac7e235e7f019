"""`QueryTab`: what both search tabs share. A query is read from the components of its tab, run, and shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr

from imgsearch.web.components.refine import Refinement
from imgsearch.web.components.results import Results
from imgsearch.web.components.upload import picture_path
from imgsearch.web.handlers import PICTURES, TEXTS, with_error_messages
from imgsearch.web.page_state import NOT_RUN, PageState, Run, Tab, Uploads, new_run
from imgsearch.web.shared import Shared


class QueryTab(ABC):
    """The components of a search tab and their events.

    The query runs on the tab's own events and when the state `run` changes: handlers that edit the query set it, too,
    so that it runs after their new values are in place; a link (`restore`) does the same.
    """

    name: Tab

    def __init__(self, shared: Shared) -> None:
        """Draw the components in the current layout and connect their events."""
        self.shared = shared
        self.run = gr.State(NOT_RUN)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.draw_query()
                refinement = self._refinement = Refinement(shared, self.name, self.run)
            with gr.Column(scale=5, min_width=300):
                results = self.results = Results(shared, self.name)
        self.link = results.link
        self.connect_query(refinement)
        self.connect(partial(gr.on, refinement.changes))
        self.connect(self.run.change, run=self.run)
        refinement.connect(results.hits, results.displayed)

    @abstractmethod
    def draw_query(self) -> None:
        """Draw the components of what is asked for, above the ones that refine it."""

    @abstractmethod
    def connect_query(self, refinement: Refinement) -> None:
        """Connect the events of these components, the public one with `connect`."""

    @abstractmethod
    def inputs(self, refining: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a query by name, in the order of the API; `refining` holds those that refine it."""

    @abstractmethod
    def main(self, values: Mapping[str, Any], collection: str) -> tuple[dict[str, str], Uploads]:
        """Return the main part of a query, as fields of a `PageState`, from the inputs; and the uploads with it."""

    @property
    def restored(self) -> list[Any]:
        """Return the components that `restore` sets."""
        return [self.run, *self._refinement.restored]

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page; they run its query."""
        return {self.run: new_run(state.start), **self._refinement.restore(state, uploads, request)}

    def connect(
        self, trigger: Callable[..., Any], *, api_name: str = "", is_required: bool = False, **more: gr.State
    ) -> None:
        """Run the query on a trigger. With `is_required` an empty query is an error; else it clears the results."""
        api: dict[str, Any] = {"api_name": api_name} if api_name else {"api_visibility": "private"}
        trigger(
            with_error_messages(self._ask, self.name, is_required=is_required),
            inputs_kwargs=self.inputs(self._refinement.inputs) | more,
            outputs=self.results.outputs,
            show_progress_on=self.results.note,
            **api,
            **(TEXTS if self.name == "search" else PICTURES),
        )

    def _ask(
        self, request: gr.Request, *, is_required: bool = False, run: Run | None = None, **values: Any
    ) -> tuple[Any, ...]:
        if run == NOT_RUN:  # Gradio also fires `change` when the page first receives the state
            return (gr.skip(),) * len(self.results.outputs)
        if is_required and "image" in values:
            picture_path(values["image"], request)
        collection = self.shared.collections.named(values["collection"])
        main, uploads = self.main(values, collection)
        state = PageState(
            self.name,
            terms=tuple(values["terms"]),
            where=tuple(map(str, values["where"] or ())),
            k=values["k"],
            start=run[1] if run else 0,
            fold=values["fold"],
            collection=collection,
            **main,
        )
        return self.results.ask(state, uploads, request, is_required=is_required)
