"""The item that a visitor has picked, among the hits or on the map: large picture, metadata and buttons."""

import functools
import html
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from imgsearch.records import Item
from imgsearch.text import truncate
from imgsearch.web.handlers import QUIET, SHOWN, with_error_messages
from imgsearch.web.page_state import PageState, Tab
from imgsearch.web.shared import Shared

MAX_ROWS, MAX_NAME, MAX_TEXT = 100, 60, 2000  # fields shown; characters of a field's name and text


class ItemDetail:
    """The components of one picked item, hidden until there is one."""

    def __init__(self, shared: Shared, name: str) -> None:
        self._shared, t = shared, shared.t
        self._item = gr.State(("", ""))  # (collection, item id), read by the two buttons
        with gr.Row(visible=False, elem_id=f"{name}_hit", elem_classes="hit") as self.row:
            self._large = gr.Image(
                label=t("hit"), show_label=False, interactive=False, buttons=["fullscreen", "download"], height=360
            )
            with gr.Column(min_width=240):
                self._data = gr.HTML(padding=False)
                with gr.Row(elem_classes="buttons"):
                    similar = gr.Button(t("similar_to_this"), size="sm", elem_id=f"{name}_hit_similar")
                    describe = gr.Button(t("describe_this"), size="sm", elem_id=f"{name}_hit_describe")
                    close = gr.Button(t("close"), size="sm")
        close.click(lambda: gr.Row(visible=False), None, self.row, **QUIET)
        shared.router.follow(similar.click, partial(_link, "similar"), self._item)
        shared.router.follow(describe.click, partial(_link, "describe"), self._item)

    def connect(
        self, trigger: Callable[..., Any], pick: Callable[..., tuple[str, str, float | None]], *inputs: Any
    ) -> None:
        """On `trigger`, show the item that `pick` returns for the event and inputs: (collection, item id, score)."""

        @functools.wraps(pick)  # keeps the signature: Gradio reads it to pass requests and events
        def show(*values: Any) -> tuple[Any, ...]:
            collection, item_id, score = pick(*values)
            engine = self._shared.collections[collection]
            file = self._shared.pictures.file(engine.large_picture(item_id))
            return gr.Row(visible=True), file, _table(engine.index.item_by_id(item_id), score), (collection, item_id)

        outputs = [self.row, self._large, self._data, self._item]
        trigger(with_error_messages(show), list(inputs), outputs, **SHOWN, scroll_to_output=True)


def _link(tab: Tab, item: tuple[str, str]) -> str:
    return PageState(tab, item=item[1], collection=item[0]).to_link()


def _table(item: Item, score: float | None) -> str:
    """Return the fields of an item as HTML; all of them are escaped."""
    fields = [("id", item.id), ("caption", item.caption), *item.columns.items()]
    fields += [("score", f"{score:.3f}")] if score is not None else []
    shown = [(truncate(name, MAX_NAME), truncate(text, MAX_TEXT)) for name, text in fields[:MAX_ROWS] if text]
    shown += [("…", f"+ {len(fields) - MAX_ROWS}")] if len(fields) > MAX_ROWS else []
    rows = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in shown)
    return f'<dl class="row-data">{"".join(rows)}</dl>'
