"""The hits of a query, as both search tabs show them: a gallery, and the hit that was clicked."""

import hashlib
import html
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.records import Answer, Item
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.handlers import SEARCHES, guarded
from imgsearch.tabs.words import language_of, num_pictures, word

MAX_HITS = 50


class NumHits(gr.Slider):
    """The choice of k. An API call may ask for more than the slider reaches: it gets all the slider gives."""

    is_template = True  # the browser draws it as the stock component

    def preprocess(self, payload: Any) -> int:
        """k as a whole number of at most MAX_HITS."""
        try:
            return min(int(payload), MAX_HITS)
        except (TypeError, ValueError, OverflowError):
            raise gr.Error(word("bad_k", None), print_exception=False) from None


class Results:
    """The components of one tab that show hits; `show` fills them."""

    def __init__(self, collections: Collections, name: str, t: gr.I18n) -> None:
        self._collections = collections
        self._name = name
        self._t = t
        self._folder = tempfile.TemporaryDirectory(prefix="imgsearch-")

    def draw_num_hits(self) -> gr.Slider:
        """Draw the choice of k."""
        return NumHits(1, MAX_HITS, 12, step=1, precision=0, label=self._t("num_hits"), elem_id=f"{self._name}_k")

    def draw(self) -> None:
        """Draw the gallery, hidden until there are hits, and above it the hit that is clicked, with its row's data."""
        with gr.Row(visible=False, elem_id=f"{self._name}_hit", elem_classes="hit") as self._hit:
            self._large = gr.Image(
                label=self._t("hit"),
                show_label=False,
                interactive=False,
                buttons=["fullscreen", "download"],
                height=360,
            )
            with gr.Column(min_width=240):
                self._row_data = gr.HTML(padding=False)
                close = gr.Button(self._t("close"), size="sm")
        close.click(_hide, None, self._hit, queue=False, api_visibility="private")
        self._note = gr.Markdown(self._t(f"{self._name}_hint"), elem_classes="note", elem_id=f"{self._name}_note")
        self._gallery = gr.Gallery(
            label=self._t("hits"),
            show_label=False,
            columns=4,
            height="auto",
            object_fit="contain",
            allow_preview=False,
            interactive=False,
            buttons=[],
            visible=False,
            elem_id=f"{self._name}_gallery",
        )
        answer = gr.JSON(visible=False)  # for the API
        self._ids = gr.State([])  # of the hits shown: their collection and their own
        self.outputs = [self._gallery, self._note, answer, self._ids]
        self._gallery.select(
            guarded(self._pick),
            self._ids,
            [self._hit, self._large, self._row_data],
            api_visibility="private",
            show_progress="hidden",
            scroll_to_output=True,
            **SEARCHES,
        )

    def connect(self, handler: Callable[..., Any], inputs: list[Any], *triggers: Any, api_name: str = "") -> None:
        """Run `handler`, which returns what `show` or `clear` do, on each trigger; the first one is the API's."""
        for trigger in triggers:
            api = {"api_name": api_name} if api_name and trigger is triggers[0] else {"api_visibility": "private"}
            answered = trigger(guarded(handler), inputs, self.outputs, show_progress_on=self._note, **api, **SEARCHES)
            answered.success(_reveal, self._ids, [self._gallery, self._hit], queue=False, api_visibility="private")

    def show(self, answer: Answer, collection: str, request: gr.Request) -> tuple[Any, ...]:
        """What `outputs` become: thumbnails with captions and scores, a line of figures, the answer as JSON."""
        language, engine = language_of(request), self._collections[collection]
        thumbnails = [
            (self._file(engine.thumbnail(hit.item)), f"{hit.score:.2f} · {_caption(hit.item, language)}")
            for hit in answer.hits
        ]
        note = f"{num_pictures(len(answer.hits), request)} · {answer.seconds:.2f} s"
        if answer.cut:
            note += f" · {word('query_cut', request).format(answer.cut)}"
        return thumbnails, note, answer.to_json(), [(collection, hit.item.id) for hit in answer.hits]

    def clear(self) -> tuple[Any, ...]:
        """`outputs` as they were before the first query."""
        return [], self._t(f"{self._name}_hint"), None, []

    def _pick(self, event: gr.SelectData, ids: list[tuple[str, str]], request: gr.Request) -> tuple[Any, ...]:
        if not isinstance(event.index, int) or not 0 <= event.index < len(ids):
            raise gr.Error(word("no_such_hit", request), print_exception=False)
        collection, id = ids[event.index]
        engine = self._collections[collection]
        return gr.Row(visible=True), self._file(engine.large_picture(id)), _table(engine.index.find(id))

    def _file(self, webp: bytes) -> str:
        path = Path(self._folder.name) / f"{hashlib.sha256(webp).hexdigest()}.webp"
        if not path.exists():
            path.write_bytes(webp)
        return str(path)


def _hide() -> Any:
    return gr.Row(visible=False)


def _reveal(ids: list[tuple[str, str]]) -> tuple[Any, Any]:
    """The gallery, shown if it holds hits and with none selected, and the place of the selected one, hidden."""
    return gr.Gallery(visible=bool(ids), selected_index=None), gr.Row(visible=False)


def _caption(item: Item, language: str) -> str:
    return item.columns.get(f"caption_{language}") or item.caption or item.id


def _table(item: Item) -> str:
    """The item's row as HTML; everything in it is text, never markup."""
    fields = [("id", item.id), ("caption", item.caption), *item.columns.items()]
    rows = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in fields if text)
    return f'<dl class="row-data">{"".join(rows)}</dl>'
