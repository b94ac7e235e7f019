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
from imgsearch.web.page_state import PageState, Run, Tab, Uploads, new_run
from imgsearch.web.shared import Shared


class QueryTab(ABC):
    """The components of a search tab and their events; a subclass has those for the main part of the query.

    The query runs on the tab's own events and when the state `run` changes: handlers that edit the query set it, too,
    so that it runs after their new values are in place; a link (`restore`) does the same.
    """

    name: Tab
    main: dict[str, Any]  # name -> component of the main part; its first input comes before k in the API

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.run = shared.router.runs[self.name]
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.draw()
                refinement = Refinement(shared, self.name, self.run)
            with gr.Column(scale=5, min_width=300):
                results = self.results = Results(shared, self.name)
        self.link = results.link
        self._refinement = refinement
        first = next(iter(self.main))
        k = {name: refinement.inputs[name] for name in ("k", "collection")}
        self._inputs = {first: self.main[first], **k, **self.main, **refinement.inputs, **refinement.states}
        self.restored = [*self.main.values(), *refinement.restored, self.run]
        self.connect()
        self.run_on(partial(gr.on, refinement.changes))
        self.run_on(self.run.change, run=self.run)
        refinement.connect(results.hits, results.displayed)

    @abstractmethod
    def draw(self) -> None:
        """Draw the components of `main`."""

    @abstractmethod
    def connect(self) -> None:
        """Connect their events, the public one first."""

    @abstractmethod
    def read(self, values: Mapping[str, Any], collection: str) -> tuple[dict[str, str], Uploads]:
        """Return the main part of a query, as fields of a `PageState`, from the inputs; and the uploads with it."""

    @abstractmethod
    def main_values(self, state: PageState, uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
        """Return the values of `main` for a state of the page."""

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page; they run its query."""
        values = *self.main_values(state, uploads, request), *self._refinement.restore(state)
        return dict(zip(self.restored, (*values, new_run(state.start)), strict=True))

    def run_on(
        self, trigger: Callable[..., Any], *, api_name: str = "", is_required: bool = False, **more: gr.State
    ) -> None:
        """Run the query on a trigger. With `is_required` an empty query is an error; else it clears the results."""
        api: dict[str, Any] = {"api_name": api_name} if api_name else {"api_visibility": "private"}
        trigger(
            with_error_messages(self._ask, self.name, is_required=is_required),
            inputs_kwargs=self._inputs | more,
            outputs=self.results.outputs,
            show_progress_on=self.results.note,
            **api,
            **(TEXTS if self.name == "search" else PICTURES),
        )

    def _ask(
        self, request: gr.Request, *, is_required: bool = False, run: Run | None = None, **values: Any
    ) -> tuple[Any, ...]:
        if is_required and "image" in values:
            picture_path(values["image"], request)
        collection = self.shared.collections.named(values["collection"])
        main, uploads = self.read(values, collection)
        state = PageState(
            self.name,
            terms=tuple(values["terms"]),
            where=tuple(values["where"]),
            k=values["k"],
            start=run[1] if run else 0,
            fold=values["fold"],
            collection=collection,
            **main,
        )
        return self.results.ask(state, uploads, request, is_required=is_required)
