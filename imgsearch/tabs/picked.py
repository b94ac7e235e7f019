"""The picture that a visitor has picked, among hits or on the map: large, with its data and what to do with it."""

import functools
import hashlib
import html
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from imgsearch.decoder import Decoder
from imgsearch.errors import ImgsearchError
from imgsearch.files import put
from imgsearch.images import Undecoded
from imgsearch.plain import short
from imgsearch.records import Item
from imgsearch.tabs.address import Address
from imgsearch.tabs.asked import Asked, Uploads
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.handlers import QUIET, SHOWN, guarded
from imgsearch.tabs.languages import translated, word

MAX_ROWS, MAX_NAME, MAX_TEXT = 100, 60, 2000  # fields of an item that are shown; characters of each


class Pictures:
    """Pictures as files in the folder of uploads: those that the page shows large, and those that visitors give."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def file(self, webp: bytes) -> str:
        """The path of a file with these bytes."""
        path = Path(get_upload_folder()) / "shown" / f"{hashlib.sha256(webp).hexdigest()}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, webp)  # another visitor may ask for it in this moment, or it may be swept
        return str(path)

    def given(self, path: Path) -> Undecoded:
        """A visitor's picture, to be decoded where it can do no harm; used now, it stays a while."""
        with suppress(OSError):  # gone by now, as decoding it will tell
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        return self._decoder.picture(path)

    def asked(self, asked: Asked, collections: Collections, uploads: Uploads, request: gr.Request) -> str | None:
        """The picture that a link asks with; a message where it is an upload that is not here any more."""
        if asked.item:
            try:
                return self.file(collections[asked.collection].large_picture(asked.item))
            except ImgsearchError as error:
                gr.Warning(html.escape(translated(str(error), request), quote=False))
                return None
        path = uploads.path(asked.upload) if asked.upload else None
        if asked.upload and not path:
            gr.Warning(word("not_here_any_more", request))
        return str(path) if path else None


class Picked:
    """Hidden until a picture is picked."""

    def __init__(self, collections: Collections, pictures: Pictures, address: Address, name: str, t: gr.I18n) -> None:
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
            return gr.Row(visible=True), file, _table(engine.index.find(id), score), (collection, id)

        trigger(guarded(show), list(inputs), outputs, **how)


def _similar_link(picked: tuple[str, str]) -> str:
    return Asked("similar", item=picked[1], collection=picked[0]).to_link()


def _describe_link(picked: tuple[str, str]) -> str:
    return Asked("describe", item=picked[1], collection=picked[0]).to_link()


def _table(item: Item, score: float | None) -> str:
    """The item's row as HTML; everything in it is text, never markup."""
    fields = [("id", item.id), ("caption", item.caption), *item.columns.items()]
    fields += [("score", f"{score:.3f}")] if score is not None else []
    shown = [(short(name, MAX_NAME), short(text, MAX_TEXT)) for name, text in fields[:MAX_ROWS] if text]
    shown += [("…", f"+ {len(fields) - MAX_ROWS}")] if len(fields) > MAX_ROWS else []
    rows = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in shown)
    return f'<dl class="row-data">{"".join(rows)}</dl>'
