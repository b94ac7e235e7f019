"""The results of a query, as both search tabs show them: cards of hits, pages, notes about the query, a histogram."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.index.filters import Condition
from imgsearch.search.query import Part, check_parts
from imgsearch.web.components.cards import DisplayedResult, as_csv, as_json, cards, result_summary
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.detail import ItemDetail
from imgsearch.web.components.histogram import histogram
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import PICTURES, QUIET, TEXTS, with_error_messages
from imgsearch.web.i18n import tr
from imgsearch.web.page_state import NavigationRequest, PageState, Tab, Uploads, to_query_parts
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router

SAVE = """(text, name) => {
  const link = document.createElement('a');
  link.download = name;
  link.href = URL.createObjectURL(new Blob([text]));
  link.click();
  URL.revokeObjectURL(link.href);
}"""
Main = Callable[[PageState, Uploads, gr.Request], list[Part]]
"""Return the main part of a query, [] if there is none."""


class Results:
    """The components of a result; `ask` runs a query and returns their new values (`outputs`)."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, router: Router, name: Tab, t: gr.I18n, main: Main
    ) -> None:
        """Draw the components in the current layout: only a hint at first, the rest is hidden until there are hits."""
        self._collections, self._pictures, self._router = collections, pictures, router
        self._name, self._t, self._main = name, t, main
        self._queue = TEXTS if name == "search" else PICTURES
        self.displayed = gr.State(None)  # hidden: the DisplayedResult, for paging, clicks on hits, export and the map
        self.link = gr.State("")  # hidden: the link to the result, for when the visitor comes back to this tab
        self.detail = ItemDetail(collections, pictures, router, name, t)
        self._note = gr.HTML(t(f"{name}_hint"), elem_classes="note", elem_id=f"{name}_note", padding=False)
        self.hits = scripted_html(f"{name}_hits", '<div class="hits"></div>', "elements", "hits")
        with gr.Row(visible=False, elem_classes="buttons", elem_id=f"{name}_pages") as self._pages:
            self._previous = gr.Button(t("previous_page"), size="sm", elem_id=f"{name}_previous")
            self._next = gr.Button(t("next_page"), size="sm", elem_id=f"{name}_next")
        self._draw_insight()
        self._json = gr.JSON(visible=False)  # hidden: the result for API clients
        self._starts = gr.State([0])  # hidden: `start` of each page up to the current one, for "previous"
        self.outputs = [
            self._json,
            self._note,
            self.hits,
            router.component,
            self._scores,
            self.displayed,
            self.link,
            router.uploads,
        ]
        self.detail.connect(self.hits.select, _pick, self.displayed)
        router.follow(self.hits.submit, _item_link, self.displayed)

    def _draw_insight(self) -> None:
        """Draw the histogram of the scores and the buttons that save the hits as a file."""
        name, t = self._name, self._t
        with gr.Accordion(t("scores_title"), open=False, visible=False, elem_id=f"{name}_insight") as self._insight:
            self._scores = gr.HTML(padding=False)
            with gr.Row(elem_classes="buttons"):
                csv = gr.Button(t("export_csv"), size="sm", elem_id=f"{name}_csv")
                jsn = gr.Button(t("export_json"), size="sm", elem_id=f"{name}_json")
        text, file = gr.Textbox(visible=False), gr.Textbox(visible=False)
        for button, make in ((csv, as_csv), (jsn, as_json)):
            button.click(make, self.displayed, [text, file], **QUIET).then(None, [text, file], None, js=SAVE, **QUIET)

    def connect(
        self,
        read: Callable[..., Any],
        inputs: list[Any],
        *triggers: Callable[..., Any],
        is_required: bool = False,
        edits: int | gr.State = 1,
        api_name: str = "",
    ) -> None:
        """On each trigger, run the query that `read` makes from the inputs and passes to `ask`.

        `read` gets two more inputs, as states: `is_required` (see `ask`) and `edits`. If `edits` is 0, nothing has
        been edited and Gradio has only loaded this counter into the page: `read` must then do nothing.
        """
        options = self._queue | ({"api_name": api_name} if api_name else {"api_visibility": "private"})
        for trigger in triggers:
            states = [gr.State(is_required), edits if isinstance(edits, gr.State) else gr.State(edits)]
            handler = with_error_messages(read)
            event = trigger(handler, [*inputs, *states], self.outputs, show_progress_on=self._note, **options)
            self._reveal(event)

    def connect_paging(self) -> None:
        """Connect the buttons that turn the pages of the displayed result."""
        options = self._queue | {"api_visibility": "private", "show_progress_on": self._note, "scroll_to_output": True}
        inputs, outputs = [self.displayed, self._starts, self._router.uploads], [*self.outputs, self._starts]
        for button, step in ((self._next, _next_starts), (self._previous, _previous_starts)):

            def turn(
                displayed: DisplayedResult, starts: list[int], uploads: Uploads, request: gr.Request, step: Any = step
            ) -> tuple[Any, ...]:
                starts = step(displayed, starts)
                return *self.ask(replace(displayed.state, start=starts[-1]), uploads, request), starts

            self._reveal(button.click(with_error_messages(turn), inputs, outputs, **options))

    def follow(self, trigger: Callable[..., Any], navigation: gr.State) -> Any:
        """On `trigger`, run the query of the link in `navigation` if it belongs to this tab. Return the event."""

        def follow(navigation: NavigationRequest, uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
            state = self._collections.canonical(PageState.from_link(navigation[0]))
            if not navigation[1] or state.tab != self._name:
                return (gr.skip(),) * (len(self.outputs) + 1)
            return *self.ask(state, uploads, request), [0, state.start] if state.start else [0]

        options = self._queue | {"api_visibility": "private", "show_progress_on": self._note}
        outputs = [*self.outputs, self._starts]
        event = trigger(with_error_messages(follow), [navigation, self._router.uploads], outputs, **options)
        self._reveal(event)
        return event

    def _reveal(self, event: Any) -> None:
        """After a result, show the buttons and boxes that belong to it and hide the others."""
        outputs = [self._pages, self._previous, self._next, self._insight, self.detail.row, self._starts]
        event.success(_reveal, [self.displayed, self._starts], outputs, **QUIET)

    def ask(
        self, state: PageState, uploads: Uploads, request: gr.Request, *, is_required: bool = False
    ) -> tuple[Any, ...]:
        """Run a query; return the new values of `outputs`. An empty query clears them, or fails if `is_required`."""
        extra = to_query_parts(state.terms, uploads)
        if len(extra) < len(state.terms):
            gr.Warning(tr("not_here_any_more", request))
        parts = [*self._main(state, uploads, request), *extra]
        if not parts and not is_required:
            return None, self._t(f"{self._name}_hint"), {}, state.to_link(), "", None, "", uploads
        return self._show(state, parts or [Part()], uploads, request)

    def _show(self, state: PageState, parts: list[Part], uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
        engine = self._collections[state.collection]
        conditions = [Condition.parse(text) for text in state.where]
        begin = time.monotonic()
        parts = [self._decoded(part, engine, begin) for part in check_parts(parts)]
        result = engine.query(parts, state.size, start=state.start, conditions=conditions, fold=state.fold)
        begin = time.perf_counter()
        thumbnails = [engine.thumbnail(hit.item) for hit in result.hits]
        seconds = time.perf_counter() - begin
        stages = {**result.stages, "thumbnails": seconds}
        result = replace(result, stages=stages, seconds=result.seconds + seconds)
        link = state.to_link()
        hits = cards(result, thumbnails, state, request)
        small_hits = [replace(hit, item=replace(hit.item, thumbnail=b"")) for hit in result.hits]  # to save memory
        displayed = DisplayedResult(state, replace(result, hits=small_hits, sample=()))
        scores = histogram(result, request)
        return result.to_json(), result_summary(result, state, request), hits, link, scores, displayed, link, uploads

    def _decoded(self, part: Part, engine: Engine, begin: float) -> Part:
        """Return a part with the picture instead of its path, decoded as large as the encoder will look at it."""
        if not isinstance(part.image, Path):
            return part
        left, top, right, bottom = part.box or (0.0, 0.0, 1.0, 1.0)
        side = round(engine.searcher.encoder.image_side / min(right - left, bottom - top))
        return replace(part, image=self._pictures.open_rgb(part.image, part.name, side, begin))


def _pick(displayed: DisplayedResult | None, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
    hit = displayed.hit(event) if displayed else None
    if not displayed or not hit:
        raise gr.Error(tr("no_such_hit", request), print_exception=False)
    return displayed.state.collection, hit.item.id, hit.score


def _item_link(displayed: DisplayedResult | None, event: gr.EventData) -> str | None:
    """Return the link of "similar to this" or "describe this" for a hit; None if the event is not valid."""
    hit = displayed.hit(event) if displayed else None
    tab = event._data.get("tab")
    if not displayed or not hit or tab not in ("similar", "describe"):
        return None
    return PageState(tab, item=hit.item.id, collection=displayed.state.collection).to_link()


def _next_starts(displayed: DisplayedResult, starts: list[int]) -> list[int]:
    return [*starts, displayed.result.following or 0]


def _previous_starts(displayed: DisplayedResult, starts: list[int]) -> list[int]:
    return starts[:-1] or [0]


def _reveal(displayed: DisplayedResult | None, starts: list[int]) -> tuple[Any, ...]:
    has_hits = displayed is not None and bool(displayed.result.hits)
    has_more = displayed is not None and displayed.result.following is not None
    is_later = displayed is not None and displayed.result.start > 0
    return (
        gr.Row(visible=has_more or is_later),
        gr.Button(interactive=is_later),
        gr.Button(interactive=has_more),
        gr.Accordion(visible=has_hits),
        gr.Row(visible=False),
        starts if is_later else [0],
    )
