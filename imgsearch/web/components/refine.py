"""The controls that refine a query: more parts (wanted or unwanted), filters, number of hits, folding of duplicates."""

import base64
from dataclasses import replace
from itertools import islice
from typing import Any

import gradio as gr

from imgsearch.errors import ImgsearchError
from imgsearch.index.filters import MAX_CONDITIONS, MAX_LENGTH
from imgsearch.search.query import MAX_PARTS, MAX_TEXT, MAX_WEIGHT
from imgsearch.text import truncate
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.upload import draw_upload
from imgsearch.web.handlers import EDITS, HIDDEN, QUIET, with_error_messages
from imgsearch.web.i18n import MAX_CAPTION, caption_of, choice_of, tr
from imgsearch.web.page_state import MAX_HITS, NUM_HITS, PageState, QueryTerm, Run, Uploads, new_run
from imgsearch.web.shared import Shared

SHOW_SCORES = "(on) => document.body.classList.toggle('numbers', on)"
NUM_COLUMNS, NUM_VALUES = 50, 30  # columns that are offered as filters, and values of each
Terms = tuple[QueryTerm, ...]


class NumHits(gr.Slider):
    """The slider for k. An API call that asks for more than MAX_HITS gets MAX_HITS instead of an error."""

    is_template = True  # the browser draws it as the stock component

    def preprocess(self, payload: Any) -> int:
        """Return k as an int of at most MAX_HITS; raise gr.Error if it is no number."""
        try:
            return min(int(payload), MAX_HITS)
        except (TypeError, ValueError, OverflowError):
            raise gr.Error(tr("bad_k", None), print_exception=False) from None


class Filters(gr.Dropdown):
    """The menu of filters. It lets in one filter, and one character of each, more than a search takes and refuses."""

    is_template = True

    def preprocess(self, payload: Any) -> list[str]:
        """Return at most MAX_CONDITIONS + 1 texts of at most MAX_LENGTH + 1 characters."""
        return [str(text)[: MAX_LENGTH + 1] for text in islice(payload or (), MAX_CONDITIONS + 1)]


class Refinement:
    """The components of the controls. The query must run again on the events in `changes`; edits set `run`."""

    def __init__(self, shared: Shared, name: str, run: gr.State) -> None:
        self._collections, t = shared.collections, shared.t
        self._k = NumHits(1, MAX_HITS, NUM_HITS, step=1, precision=0, label=t("num_hits"), elem_id=f"{name}_k")
        self._terms = gr.State(())  # a tuple of QueryTerm
        self._filters = gr.State([])  # the filters that were set last, by the visitor or by a link
        with gr.Accordion(t("refine"), open=False, elem_id=f"{name}_refine") as accordion:
            self._view = scripted_html(f"{name}_terms", '<ul class="terms"></ul>', "elements", "refine")
            text = gr.Textbox(label=t("add_part"), max_lines=2, elem_id=f"{name}_part")
            with gr.Row(elem_classes="buttons"):
                more = gr.Button(t("more_like_it"), size="sm", elem_id=f"{name}_more")
                less = gr.Button(t("less_like_it"), size="sm", elem_id=f"{name}_less")
            picture = draw_upload(f"{name}_part", t, "add_picture", 140)
            where = self._where = Filters(
                [],
                value=[],
                multiselect=True,
                allow_custom_value=True,
                label=t("filters"),
                info=t("filters_info"),
                elem_id=f"{name}_where",
            )
            self._fold = gr.Checkbox(True, label=t("fold_copies"), elem_id=f"{name}_fold")
            scores = gr.Checkbox(False, label=t("show_scores"), elem_id=f"{name}_numbers")
        scores.change(None, scores, None, js=SHOW_SCORES, **QUIET)
        self.restored = [self._k, self._terms, where, self._filters, self._fold]
        choice, uploads = self._collections.choice, shared.router.uploads
        self.inputs = {"k": self._k, "collection": choice, "where": where, "fold": self._fold}
        self.states = {"terms": self._terms, "uploads": uploads}
        self.changes = [self._k.input, self._fold.input]
        self._edited = [self._terms, run]
        self._terms.change(with_error_messages(self._chips), [self._terms, choice, uploads], self._view, **HIDDEN)
        self._connect_parts(text, more, less, picture, uploads)
        # Not the input event, which does not fire for a typed value. _filtered skips changes that `restore` made.
        where.change(with_error_messages(_filtered), [where, self._filters], [self._filters, run], **EDITS)
        accordion.expand(with_error_messages(self._offer), [choice, where], where, **QUIET)

    def _connect_parts(
        self, text: gr.Textbox, more: gr.Button, less: gr.Button, picture: gr.Image, uploads: gr.State
    ) -> None:
        terms, edited = self._terms, self._edited
        for triggers, weight in (([more.click, text.submit], 1.0), ([less.click], -1.0)):
            add = with_error_messages(_add_text, weight=weight)
            gr.on(triggers, add, [text, terms], [text, *edited], **EDITS)
        picture.upload(
            with_error_messages(_add_picture), [picture, terms, uploads], [picture, uploads, *edited], **EDITS
        )
        self._view.edit(with_error_messages(_edit), terms, edited, **EDITS)
        for chosen in self._collections.choices:
            chosen(with_error_messages(_without_items), terms, edited, **EDITS)

    def connect(self, hits: gr.HTML, displayed: gr.State) -> None:
        """Make a hit a part of the query when its + or - is clicked."""

        def like(
            displayed: Any, terms: Terms, collection: str, event: gr.EventData, request: gr.Request
        ) -> tuple[Terms, Run]:
            hit = displayed.hit(event) if displayed else None
            if not hit or displayed.state.collection != self._collections.named(collection):
                raise gr.Error(tr("no_such_hit", request), print_exception=False)
            return _with_term(QueryTerm("item", hit.item.id, 1.0 if getattr(event, "liked", False) else -1.0), terms)

        inputs = [displayed, self._terms, self._collections.choice]
        hits.like(with_error_messages(like), inputs, self._edited, **EDITS)

    def restore(self, state: PageState) -> tuple[Any, ...]:
        """Return the new values of the components in `restored` for a state of the page."""
        where = list(state.where)
        return state.k, state.terms, where, where, state.fold

    def _chips(self, terms: Terms, collection: str, uploads: Uploads, request: gr.Request) -> dict[str, Any]:
        words = {"more": "more_like", "less": "less_like", "weight": "weight", "remove": "remove_part"}
        return {
            "terms": [self._chip(term, collection, uploads, request) for term in terms],
            "words": {name: tr(key, request) for name, key in words.items()},
        }

    def _chip(self, term: QueryTerm, collection: str, uploads: Uploads, request: gr.Request) -> dict[str, Any]:
        label, src = term.value, ""
        if term.kind == "upload":
            path = uploads.path(term.value)
            label = path.name if path else tr("not_here_any_more", request)
        elif term.kind == "item":
            engine = self._collections[collection]
            try:
                item = engine.index.item_by_id(term.value)
                label, src = caption_of(item, request), data_url(engine.thumbnail(item))
            except ImgsearchError:
                pass  # the search will report it
        return {"shown": truncate(label, MAX_CAPTION), "src": src, "weight": term.weight}

    def _offer(self, collection: str, chosen: list[str]) -> Any:
        """Offer filters on the values that exist as a menu; keep those that are chosen."""
        try:
            table = self._collections[collection].searcher.table
        except ImgsearchError:
            return gr.skip()
        names = [name for name in table.metadata if not set(name) & set("=~")][:NUM_COLUMNS]  # such a name is ambiguous
        offered = [f"{name}={value}" for name in names for value, _ in table.values(name, NUM_VALUES)]
        offered = [text for text in offered if len(text) <= MAX_LENGTH]
        return gr.Dropdown(choices=[choice_of(text) for text in dict.fromkeys([*offered, *(chosen or [])])])


def _with_term(term: QueryTerm, terms: Terms) -> tuple[Terms, Run]:
    """Return the outputs of an edit that adds a part; if the part exists already it gets the new weight."""
    others = tuple(other for other in terms if (other.kind, other.value) != (term.kind, term.value))
    return (*others, term)[-MAX_PARTS + 1 :], new_run()


def _add_text(text: str, terms: Terms, *, weight: float = 1.0) -> tuple[Any, ...]:
    text = (text or "").strip()[:MAX_TEXT]
    return ("", *_with_term(QueryTerm("text", text, weight), terms)) if text else (gr.skip(),) * 3


def _add_picture(path: str | None, terms: Terms, uploads: Uploads) -> tuple[Any, ...]:
    if path is None:
        return (gr.skip(),) * 4
    uploads, token = uploads.remember(path)
    return None, uploads, *_with_term(QueryTerm("upload", token), terms)


def _edit(terms: Terms, event: gr.EventData) -> tuple[Terms, Run]:
    """Change the weight of a part, or remove the part if the weight is None. Ignore invalid values."""
    index, weight = getattr(event, "number", None), getattr(event, "weight", None)
    is_weight = isinstance(weight, int | float) and 0.01 <= abs(weight) <= MAX_WEIGHT
    if isinstance(index, int) and 0 <= index < len(terms) and (weight is None or is_weight):
        edited = () if weight is None else (replace(terms[index], weight=float(weight)),)
        terms = (*terms[:index], *edited, *terms[index + 1 :])
    return terms, new_run()


def _without_items(terms: Terms) -> tuple[Terms, Run]:
    """Remove the items: in another collection their ids mean other items or none."""
    return tuple(term for term in terms if term.kind != "item"), new_run()


def _filtered(where: list[str], last: list[str]) -> Any:
    return (gr.skip(), gr.skip()) if where == last else (where, new_run())


def data_url(webp: bytes) -> str:
    """Return a picture as a data URL."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
