"""The hits of a query, as both search tabs show them: judged cards, pages of them, and what became of the query."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.index.filters import Condition
from imgsearch.search.query import Part
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


class Results:
    """The components; `ask` tells what they become."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, address: Router, name: Tab, t: gr.I18n, main: Main
    ) -> None:
        """Draw them in the current layout: hidden until there are hits, but for a hint.

        `main` gives the parts of a question beside its terms.
        """
        self._collections, self._pictures, self._address = collections, pictures, address
        self._name, self._t, self._main = name, t, main
        self._queue = TEXTS if name == "search" else PICTURES
        self.shown = gr.State(None)
        self.link = gr.State("")
        self.picked = ItemDetail(collections, pictures, address, name, t)
        self._note = gr.HTML(t(f"{name}_hint"), elem_classes="note", elem_id=f"{name}_note", padding=False)
        self.hits = scripted_html(f"{name}_hits", '<div class="hits"></div>', "elements", "hits")
        with gr.Row(visible=False, elem_classes="buttons", elem_id=f"{name}_pages") as self._pages:
            self._previous = gr.Button(t("previous_page"), size="sm", elem_id=f"{name}_previous")
            self._next = gr.Button(t("next_page"), size="sm", elem_id=f"{name}_next")
        self._draw_insight()
        self._json = gr.JSON(visible=False)  # for the API
        self._starts = gr.State([0])  # of the pages up to this one
        self.outputs = [
            self._json,
            self._note,
            self.hits,
            address.component,
            self._scores,
            self.shown,
            self.link,
            address.uploads,
        ]
        self.picked.connect(self.hits.select, _pick, self.shown)
        address.follow(self.hits.submit, _item_link, self.shown)

    def _draw_insight(self) -> None:
        """Draw what tells more of an answer: its histogram, and the hits as a file."""
        name, t = self._name, self._t
        with gr.Accordion(t("scores_title"), open=False, visible=False, elem_id=f"{name}_insight") as self._insight:
            self._scores = gr.HTML(padding=False)
            with gr.Row(elem_classes="buttons"):
                csv = gr.Button(t("export_csv"), size="sm", elem_id=f"{name}_csv")
                jsn = gr.Button(t("export_json"), size="sm", elem_id=f"{name}_json")
        text, file = gr.Textbox(visible=False), gr.Textbox(visible=False)
        for button, make in ((csv, as_csv), (jsn, as_json)):
            button.click(make, self.shown, [text, file], **QUIET).then(None, [text, file], None, js=SAVE, **QUIET)

    def connect(
        self,
        read: Callable[..., Any],
        inputs: list[Any],
        *triggers: Callable[..., Any],
        is_asked: bool = False,
        edits: int | gr.State = 1,
        api_name: str = "",
    ) -> None:
        """Answer, on each trigger, the question that `read` makes of the inputs and hands to `ask`.

        Its last two inputs are whether a query is a must, and a number that is 0 where nothing happened yet.
        """
        how = self._queue | ({"api_name": api_name} if api_name else {"api_visibility": "private"})
        for trigger in triggers:
            states = [gr.State(is_asked), edits if isinstance(edits, gr.State) else gr.State(edits)]
            event = trigger(
                with_error_messages(read), [*inputs, *states], self.outputs, show_progress_on=self._note, **how
            )
            self._reveal(event)

    def connect_paging(self) -> None:
        """Let the buttons turn the pages of the answer shown."""
        how = self._queue | {"api_visibility": "private", "show_progress_on": self._note, "scroll_to_output": True}
        inputs, outputs = [self.shown, self._starts, self._address.uploads], [*self.outputs, self._starts]
        for button, turned in ((self._next, _forth), (self._previous, _back)):

            def turn(
                shown: DisplayedResult, starts: list[int], uploads: Uploads, request: gr.Request, turned: Any = turned
            ) -> tuple[Any, ...]:
                starts = turned(shown, starts)
                return *self.ask(replace(shown.asked, start=starts[-1]), uploads, request), starts

            self._reveal(button.click(with_error_messages(turn), inputs, outputs, **how))

    def follow(self, trigger: Callable[..., Any], wanted: gr.State) -> Any:
        """Answer, on `trigger`, what the wanted link asks, if it asks this tab. Returns the event."""

        def follow(wanted: NavigationRequest, uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
            asked = self._collections.canonical(PageState.from_link(wanted[0]))
            if not wanted[1] or asked.tab != self._name:
                return (gr.skip(),) * (len(self.outputs) + 1)
            return *self.ask(asked, uploads, request), [0, asked.start] if asked.start else [0]

        how = self._queue | {"api_visibility": "private", "show_progress_on": self._note}
        outputs = [*self.outputs, self._starts]
        event = trigger(with_error_messages(follow), [wanted, self._address.uploads], outputs, **how)
        self._reveal(event)
        return event

    def _reveal(self, event: Any) -> None:
        """After an answer, show what belongs to it and nothing else."""
        outputs = [self._pages, self._previous, self._next, self._insight, self.picked.row, self._starts]
        event.success(_reveal, [self.shown, self._starts], outputs, **QUIET)

    def ask(
        self, asked: PageState, uploads: Uploads, request: gr.Request, *, is_asked: bool = False
    ) -> tuple[Any, ...]:
        """What `outputs` become for a question; as before the first one where there is none, unless it is a must."""
        others = to_query_parts(asked.terms, uploads)
        if len(others) < len(asked.terms):
            gr.Warning(tr("not_here_any_more", request))
        parts = [*self._main(asked, uploads, request), *others]
        if not parts and not is_asked:
            return None, self._t(f"{self._name}_hint"), {}, asked.to_link(), "", None, "", uploads
        return self._show(asked, parts or [Part()], uploads, request)

    def _show(self, asked: PageState, parts: list[Part], uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
        engine = self._collections[asked.collection]
        conditions = [Condition.parse(text) for text in asked.where]
        parts = [
            replace(part, image=self._pictures.given(part.image)) if isinstance(part.image, Path) else part
            for part in parts
        ]
        answer = engine.query(parts, asked.size, start=asked.start, conditions=conditions, fold=asked.fold)
        begin = time.perf_counter()
        thumbnails = [engine.thumbnail(hit.item) for hit in answer.hits]
        seconds = time.perf_counter() - begin
        stages = {**answer.stages, "thumbnails": seconds}
        answer = replace(answer, stages=stages, seconds=answer.seconds + seconds)
        link = asked.to_link()
        hits = cards(answer, thumbnails, request)
        bare = [replace(hit, item=replace(hit.item, thumbnail=b"")) for hit in answer.hits]
        shown = DisplayedResult(asked, replace(answer, hits=bare, sample=()))
        scores = histogram(answer, request)
        return answer.to_json(), result_summary(answer, asked, request), hits, link, scores, shown, link, uploads


def _pick(shown: DisplayedResult | None, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
    hit = shown.hit(event) if shown else None
    if not shown or not hit:
        raise gr.Error(tr("no_such_hit", request), print_exception=False)
    return shown.asked.collection, hit.item.id, hit.score


def _item_link(shown: DisplayedResult | None, event: gr.EventData) -> str | None:
    """The link to "similar to this" or "describe this"."""
    hit = shown.hit(event) if shown else None
    tab = event._data.get("tab")
    if not shown or not hit or tab not in ("similar", "describe"):
        return None
    return PageState(tab, item=hit.item.id, collection=shown.asked.collection).to_link()


def _forth(shown: DisplayedResult, starts: list[int]) -> list[int]:
    return [*starts, shown.answer.following or 0]


def _back(shown: DisplayedResult, starts: list[int]) -> list[int]:
    return starts[:-1] or [0]


def _reveal(shown: DisplayedResult | None, starts: list[int]) -> tuple[Any, ...]:
    is_there = shown is not None and bool(shown.answer.hits)
    has_more = shown is not None and shown.answer.following is not None
    is_later = shown is not None and shown.answer.start > 0
    return (
        gr.Row(visible=has_more or is_later),
        gr.Button(interactive=is_later),
        gr.Button(interactive=has_more),
        gr.Accordion(visible=is_there),
        gr.Row(visible=False),
        starts if is_later else [0],
    )
