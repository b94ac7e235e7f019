"""What refines a query: parts that are wanted or not, filters, and whether near-duplicates are folded."""

import base64
from dataclasses import replace
from typing import Any

import gradio as gr

from imgsearch.errors import ImgsearchError
from imgsearch.index.filters import MAX_LENGTH
from imgsearch.search.query import MAX_PARTS, MAX_TEXT, MAX_WEIGHT
from imgsearch.text import truncate
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.upload import draw_upload
from imgsearch.web.handlers import EDITS, QUIET, with_error_messages
from imgsearch.web.i18n import MAX_CAPTION, caption_of, choice_of, tr
from imgsearch.web.page_state import MAX_HITS, NUM_HITS, PageState, QueryTerm, Uploads

SHOW_SCORES = "(on) => document.body.classList.toggle('numbers', on)"
NUM_COLUMNS, NUM_VALUES = 50, 30  # columns, and values of each, that are offered as filters
Terms = tuple[QueryTerm, ...]


class NumHits(gr.Slider):
    """The choice of k. An API call may ask for more than the slider reaches: it gets all the slider gives."""

    is_template = True  # the browser draws it as the stock component

    def preprocess(self, payload: Any) -> int:
        """k as a whole number of at most MAX_HITS."""
        try:
            return min(int(payload), MAX_HITS)
        except (TypeError, ValueError, OverflowError):
            raise gr.Error(tr("bad_k", None), print_exception=False) from None


class Refinement:
    """The components; `changes` are the events on which the query is to be asked again."""

    def __init__(self, collections: CollectionPicker, uploads: gr.State, name: str, t: gr.I18n) -> None:
        """Draw them in the current layout, folded."""
        self._collections = collections
        self.k = NumHits(1, MAX_HITS, NUM_HITS, step=1, precision=0, label=t("num_hits"), elem_id=f"{name}_k")
        self.terms = gr.State(())
        self.edits = gr.State(0)  # its change is the event of an edit by the visitor
        self._filters = gr.State([])  # as they were set last
        with gr.Accordion(t("refine"), open=False, elem_id=f"{name}_refine") as self._accordion:
            self._view = scripted_html(f"{name}_terms", '<ul class="terms"></ul>', "elements", "refine")
            text = gr.Textbox(label=t("add_part"), max_lines=2, elem_id=f"{name}_part")
            with gr.Row(elem_classes="buttons"):
                more = gr.Button(t("more_like_it"), size="sm", elem_id=f"{name}_more")
                less = gr.Button(t("less_like_it"), size="sm", elem_id=f"{name}_less")
            picture = draw_upload(f"{name}_part", t, "add_picture", 140)
            self.where = gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                allow_custom_value=True,
                label=t("filters"),
                info=t("filters_info"),
                elem_id=f"{name}_where",
            )
            self.fold = gr.Checkbox(True, label=t("fold_copies"), elem_id=f"{name}_fold")
            scores = gr.Checkbox(False, label=t("show_scores"), elem_id=f"{name}_numbers")
        scores.change(None, scores, None, js=SHOW_SCORES, **QUIET)
        self.restored = [self.k, self.terms, self._view, self.where, self._filters, self.fold]
        self.inputs = [self.k, collections.choice, self.where, self.fold, self.terms, uploads]
        self.changes = [self.k.input, self.fold.input]
        self._state = [self.terms, self.edits, collections.choice, uploads]
        self._outputs = [self.terms, self._view, self.edits]
        self._connect(text, more, less, picture, uploads)

    def _connect(
        self, text: gr.Textbox, more: gr.Button, less: gr.Button, picture: gr.Image, uploads: gr.State
    ) -> None:
        state, edited, choice = self._state, self._outputs, self._collections.choice
        more.click(with_error_messages(self._add_text(1.0)), [text, *state], [text, *edited], **EDITS)
        text.submit(with_error_messages(self._add_text(1.0)), [text, *state], [text, *edited], **EDITS)
        less.click(with_error_messages(self._add_text(-1.0)), [text, *state], [text, *edited], **EDITS)
        picture.upload(with_error_messages(self._add_picture), [picture, *state], [picture, uploads, *edited], **EDITS)
        self._view.edit(with_error_messages(self._edit), state, edited, **EDITS)
        for chosen in self._collections.choices:
            chosen(with_error_messages(self._without_items), state, edited, **EDITS)
        # Not its input event, which a value that is typed does not bring about.
        self.where.change(
            with_error_messages(_filtered),
            [self.where, self._filters, self.edits],
            [self._filters, self.edits],
            **EDITS,
        )
        self._accordion.expand(with_error_messages(self._offer), [choice, self.where], self.where, **QUIET)

    def connect(self, hits: gr.HTML, shown: gr.State) -> None:
        """Have + and - on a hit make it a part."""

        def like(
            shown: Any,
            terms: Terms,
            edits: int,
            collection: str,
            uploads: Uploads,
            event: gr.EventData,
            request: gr.Request,
        ) -> tuple[Any, ...]:
            hit = shown.hit(event) if shown else None
            if not hit or shown.asked.collection != self._collections.named(collection):
                raise gr.Error(tr("no_such_hit", request), print_exception=False)
            term = QueryTerm("item", hit.item.id, 1.0 if event._data.get("liked") else -1.0)
            return self._added(term, terms, edits, collection, uploads, request)

        hits.like(with_error_messages(like), [shown, *self._state], self._outputs, **EDITS)

    def restore(self, asked: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """What the components become for a state of the page."""
        view = self._shown(asked.terms, asked.collection, uploads, request)
        return {
            self.k: asked.k,
            self.terms: asked.terms,
            self._view: view,
            self.where: list(asked.where),
            self._filters: list(asked.where),
            self.fold: asked.fold,
        }

    def _added(self, term: QueryTerm, terms: Terms, edits: int, *rest: Any) -> tuple[Terms, Any, int]:
        """With one more part; one that is there already gets the new weight."""
        others = tuple(other for other in terms if (other.kind, other.value) != (term.kind, term.value))
        return self._changed((*others, term)[-MAX_PARTS + 1 :], edits, *rest)

    def _changed(self, terms: Terms, edits: int, *rest: Any) -> tuple[Terms, Any, int]:
        return terms, self._shown(terms, *rest), edits + 1

    def _add_text(self, weight: float) -> Any:
        def add(
            text: str, terms: Terms, edits: int, collection: str, uploads: Uploads, request: gr.Request
        ) -> tuple[Any, ...]:
            text = (text or "").strip()[:MAX_TEXT]
            if not text:
                return (gr.skip(),) * 4
            return "", *self._added(QueryTerm("text", text, weight), terms, edits, collection, uploads, request)

        return add

    def _add_picture(
        self, path: str | None, terms: Terms, edits: int, collection: str, uploads: Uploads, request: gr.Request
    ) -> tuple[Any, ...]:
        if path is None:
            return (gr.skip(),) * 5
        uploads, token = uploads.remember(path)
        return None, uploads, *self._added(QueryTerm("upload", token), terms, edits, collection, uploads, request)

    def _edit(
        self,
        terms: Terms,
        edits: int,
        collection: str,
        uploads: Uploads,
        event: gr.EventData,
        request: gr.Request,
    ) -> tuple[Terms, Any, int]:
        """Give a part another weight, or take it out where there is none; what is impossible leaves all as it was."""
        data = event._data if isinstance(event._data, dict) else {}
        number, weight = data.get("number"), data.get("weight")
        is_weight = isinstance(weight, int | float) and 0.01 <= abs(weight) <= MAX_WEIGHT
        if isinstance(number, int) and 0 <= number < len(terms) and (weight is None or is_weight):
            edited = (replace(terms[number], weight=float(weight)),) if isinstance(weight, int | float) else ()
            terms = (*terms[:number], *edited, *terms[number + 1 :])
        return self._changed(terms, edits, collection, uploads, request)

    def _without_items(
        self, terms: Terms, edits: int, collection: str, uploads: Uploads, request: gr.Request
    ) -> tuple[Terms, Any, int]:
        """In another collection an id names another item, or none."""
        terms = tuple(term for term in terms if term.kind != "item")
        return self._changed(terms, edits, collection, uploads, request)

    def _shown(self, terms: Terms, collection: str, uploads: Uploads, request: gr.Request) -> dict[str, Any]:
        words = {"more": "more_like", "less": "less_like", "weight": "weight", "remove": "remove_part"}
        return {
            "terms": [self._chip(term, collection, uploads, request) for term in terms],
            "words": {name: tr(key, request) for name, key in words.items()},
        }

    def _chip(self, term: QueryTerm, collection: str, uploads: Uploads, request: gr.Request) -> dict[str, Any]:
        shown, src = term.value, ""
        if term.kind == "upload":
            path = uploads.path(term.value)
            shown = path.name if path else tr("not_here_any_more", request)
        elif term.kind == "item":
            engine = self._collections[collection]
            try:
                item = engine.index.item_by_id(term.value)
                shown, src = caption_of(item, request), data_url(engine.thumbnail(item))
            except ImgsearchError:
                pass  # the search will say so
        return {"shown": truncate(shown, MAX_CAPTION), "src": src, "weight": term.weight}

    def _offer(self, collection: str, chosen: list[str]) -> Any:
        """The filters on values that there are, as a menu; what is chosen stays."""
        try:
            table = self._collections[collection].searcher.table
        except ImgsearchError:
            return gr.skip()
        names = [name for name in table.metadata if not set(name) & set("=~")][:NUM_COLUMNS]  # their filters are others
        offered = [f"{name}={value}" for name in names for value, _ in table.values(name, NUM_VALUES)]
        offered = [text for text in offered if len(text) <= MAX_LENGTH]
        return gr.Dropdown(choices=[choice_of(text) for text in dict.fromkeys([*offered, *(chosen or [])])])


def _filtered(where: list[str], known: list[str], edits: int) -> Any:
    return (gr.skip(), gr.skip()) if where == known else (where, edits + 1)


def data_url(webp: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
