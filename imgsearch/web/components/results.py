"""The results of a query, as both search tabs show them: cards of hits, pages, notes about the query, a histogram."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.index.filters import Condition
from imgsearch.search.query import Part, check_parts
from imgsearch.web.components.cards import DisplayedResult, as_csv, as_json, cards, result_summary
from imgsearch.web.components.detail import ItemDetail
from imgsearch.web.components.histogram import histogram
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import HIDDEN, QUIET
from imgsearch.web.i18n import tr
from imgsearch.web.page_state import PageState, Tab, Uploads, to_query_parts
from imgsearch.web.shared import Shared

SAVE = """(text, name) => {
  const link = document.createElement('a');
  link.download = name;
  link.href = URL.createObjectURL(new Blob([text]));
  link.click();
  URL.revokeObjectURL(link.href);
}"""
Pages = tuple[PageState | None, list[int]]
"""A query, and `start` of each of its pages up to the one that is shown."""


class Results:
    """The components of a result, at first only a hint; `ask` runs a query and returns their new values (`outputs`)."""

    def __init__(self, shared: Shared, name: Tab) -> None:
        self._shared, self._name, t = shared, name, shared.t
        self.displayed = gr.State(None)  # hidden: the DisplayedResult, for paging, clicks on hits, export and the map
        self.link = gr.State("")  # hidden: the link to the result, for when the visitor comes back to this tab
        self._shown_pages = gr.State((None, [0]))  # hidden: Pages, for "previous"
        self._detail = ItemDetail(shared, name)
        self.note = gr.HTML(t(f"{name}_hint"), elem_classes="note", elem_id=f"{name}_note", padding=False)
        self.hits = scripted_html(f"{name}_hits", '<div class="hits"></div>', "elements", "hits")
        with gr.Row(visible=False, elem_classes="buttons", elem_id=f"{name}_pages") as self._pages:
            self._previous = gr.Button(t("previous_page"), size="sm", elem_id=f"{name}_previous")
            self._next = gr.Button(t("next_page"), size="sm", elem_id=f"{name}_next")
        self._draw_insight()
        answer = gr.JSON(visible=False)  # hidden: the result for API clients
        router = shared.router
        self.outputs = [answer, self.note, self.hits, router.component]
        self.outputs += [self._scores, self.displayed, self.link, router.uploads]
        self._connect()

    def _draw_insight(self) -> None:
        """Draw the histogram of the scores and the buttons that save the hits as a file."""
        name, t = self._name, self._shared.t
        with gr.Accordion(t("scores_title"), open=False, visible=False, elem_id=f"{name}_insight") as self._insight:
            self._scores = gr.HTML(padding=False)
            with gr.Row(elem_classes="buttons"):
                csv = gr.Button(t("export_csv"), size="sm", elem_id=f"{name}_csv")
                jsn = gr.Button(t("export_json"), size="sm", elem_id=f"{name}_json")
        text, file = gr.Textbox(visible=False), gr.Textbox(visible=False)
        for button, make in ((csv, as_csv), (jsn, as_json)):
            button.click(make, self.displayed, [text, file], **QUIET).then(None, [text, file], None, js=SAVE, **QUIET)

    def _connect(self) -> None:
        """Connect the clicks on hits and pages; after each result, show what belongs to it."""
        router, inputs = self._shared.router, [self.displayed, self._shown_pages]
        self._detail.connect(self.hits.select, _pick, self.displayed)
        router.follow(self.hits.submit, _item_link, self.displayed)
        router.follow(self._next.click, _next_link, self.displayed)
        router.follow(self._previous.click, _previous_link, *inputs)
        outputs = [self._pages, self._previous, self._next, self._insight, self._detail.row, self._shown_pages]
        self.displayed.change(_reveal, inputs, outputs, **HIDDEN)

    def ask(
        self, state: PageState, uploads: Uploads, request: gr.Request, *, is_required: bool = False
    ) -> tuple[Any, ...]:
        """Run a query; return the new values of `outputs`. An empty query clears them, or fails if `is_required`."""
        try:
            parts = to_query_parts(state, uploads)
        except ValueError:
            raise gr.Error(tr("bad_box", request), print_exception=False) from None
        if len(parts) < len(state.terms) + bool(state.text.strip() or state.item or state.upload):
            gr.Warning(tr("not_here_any_more", request))
        if not parts and not is_required:
            return None, self._shared.t(f"{self._name}_hint"), {}, state.to_link(), "", None, "", uploads
        return self._show(state, parts or [Part()], uploads, request)

    def _show(self, state: PageState, parts: list[Part], uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
        engine = self._shared.collections[state.collection]
        conditions = [Condition.parse(text) for text in state.where]
        begin = time.monotonic()
        parts = [self._decoded(engine, begin, part, request) for part in check_parts(parts)]
        decode_s = time.monotonic() - begin
        result = engine.query(parts, state.size, start=state.start, conditions=conditions, fold=state.fold)
        begin = time.monotonic()
        thumbnails = [engine.thumbnail(hit.item) for hit in result.hits]
        thumbnails_s = time.monotonic() - begin
        stages = {**result.stages, "thumbnails": thumbnails_s}
        stages["encode"] = stages.get("encode", 0.0) + decode_s
        result = replace(result, stages=stages, seconds=result.seconds + decode_s + thumbnails_s)
        link = state.to_link()
        hits = cards(result, thumbnails, state, request)
        small_hits = [replace(hit, item=replace(hit.item, thumbnail=b"")) for hit in result.hits]  # to save memory
        displayed = DisplayedResult(state, replace(result, hits=small_hits, sample=()))
        scores = histogram(result, request)
        return result.to_json(), result_summary(result, state, request), hits, link, scores, displayed, link, uploads

    def _decoded(self, engine: Engine, begin: float, part: Part, request: gr.Request) -> Part:
        """Return a part with the picture instead of its path, decoded as large as the encoder will look at it."""
        if not isinstance(part.image, Path):
            return part
        left, top, right, bottom = part.box or (0.0, 0.0, 1.0, 1.0)
        side = round(engine.searcher.encoder.image_side / min(right - left, bottom - top))
        return replace(part, image=self._shared.pictures.open_rgb(part.image, part.name, request, side, begin))


def _pick(displayed: DisplayedResult | None, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
    hit = displayed.hit(event) if displayed else None
    if not displayed or not hit:
        raise gr.Error(tr("no_such_hit", request), print_exception=False)
    return displayed.state.collection, hit.item.id, hit.score


def _item_link(displayed: DisplayedResult | None, event: gr.EventData) -> str | None:
    """Return the link of "similar to this" or "describe this" for a hit; None if the event is not valid."""
    hit = displayed.hit(event) if displayed else None
    tab = getattr(event, "tab", None)
    if not displayed or not hit or tab not in ("similar", "describe"):
        return None
    return PageState(tab, item=hit.item.id, collection=displayed.state.collection).to_link()


def _next_link(displayed: DisplayedResult | None) -> str | None:
    if not displayed or not displayed.result.following:
        return None
    return replace(displayed.state, start=displayed.result.following).to_link()


def _previous_link(displayed: DisplayedResult | None, pages: Pages) -> str | None:
    return replace(displayed.state, start=max([0, *pages[1][:-1]])).to_link() if displayed else None


def _reveal(displayed: DisplayedResult | None, pages: Pages) -> tuple[Any, ...]:
    """Show the buttons and boxes that belong to the result and hide the others."""
    if displayed is None:
        return (
            gr.Row(visible=False),
            gr.skip(),
            gr.skip(),
            gr.Accordion(visible=False),
            gr.Row(visible=False),
            (None, [0]),
        )
    result, query = displayed.result, replace(displayed.state, start=0)
    has_more, is_later = result.following is not None, result.start > 0
    starts = pages[1] if pages[0] == query else [0]
    return (
        gr.Row(visible=has_more or is_later),
        gr.Button(interactive=is_later),
        gr.Button(interactive=has_more),
        gr.Accordion(visible=bool(result.hits)),
        gr.Row(visible=False),
        (query, [*(start for start in starts if start < result.start), result.start]),
    )
