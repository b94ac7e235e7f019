"""The picture that a visitor has picked, among hits or on the map: large, with its data and what to do with it."""

import functools
import html
from collections.abc import Callable
from typing import Any

import gradio as gr

from imgsearch.records import Item
from imgsearch.text import truncate
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.handlers import QUIET, SHOWN, with_error_messages
from imgsearch.web.page_state import PageState
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router

MAX_ROWS, MAX_NAME, MAX_TEXT = 100, 60, 2000  # fields of an item that are shown; characters of each


class ItemDetail:
    """Hidden until a picture is picked."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, address: Router, name: str, t: gr.I18n
    ) -> None:
        """Draw it in the current layout."""
        self._collections, self._pictures = collections, pictures
        self._picked = gr.State(("", ""))  # a collection and the id of an item
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
        address.follow(similar.click, _similar_link, self._picked)
        address.follow(describe.click, _describe_link, self._picked)

    def connect(
        self, trigger: Callable[..., Any], pick: Callable[..., tuple[str, str, float | None]], *inputs: Any
    ) -> None:
        """Show, on `trigger`, the item that `pick` gives of the event and inputs: its collection, id and score."""
        outputs = [self.row, self._large, self._data, self._picked]
        how = SHOWN | {"scroll_to_output": True}

        @functools.wraps(pick)  # keeps the signature, by which Gradio passes requests and events
        def show(*values: Any) -> tuple[Any, ...]:
            collection, id, score = pick(*values)
            engine = self._collections[collection]
            file = self._pictures.file(engine.large_picture(id))
            return gr.Row(visible=True), file, _table(engine.index.item_by_id(id), score), (collection, id)

        trigger(with_error_messages(show), list(inputs), outputs, **how)


def _similar_link(picked: tuple[str, str]) -> str:
    return PageState("similar", item=picked[1], collection=picked[0]).to_link()


def _describe_link(picked: tuple[str, str]) -> str:
    return PageState("describe", item=picked[1], collection=picked[0]).to_link()


def _table(item: Item, score: float | None) -> str:
    """The item's row as HTML; everything in it is text, never markup."""
    fields = [("id", item.id), ("caption", item.caption), *item.columns.items()]
    fields += [("score", f"{score:.3f}")] if score is not None else []
    shown = [(truncate(name, MAX_NAME), truncate(text, MAX_TEXT)) for name, text in fields[:MAX_ROWS] if text]
    shown += [("…", f"+ {len(fields) - MAX_ROWS}")] if len(fields) > MAX_ROWS else []
    rows = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in shown)
    return f'<dl class="row-data">{"".join(rows)}</dl>'
