"""Find similar: a picture in, whole or a part of it; the most similar ones of the collection out."""

from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.query import Box, Part
from imgsearch.tabs.address import Address
from imgsearch.tabs.asked import Asked, Uploads, parts_of, read_box
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.examples import Examples
from imgsearch.tabs.handlers import HIDDEN, QUIET
from imgsearch.tabs.languages import word
from imgsearch.tabs.picked import Pictures
from imgsearch.tabs.refinement import Refinement, Terms
from imgsearch.tabs.results import Results
from imgsearch.tabs.upload import draw_upload, picture_path

SCRIPT = Path(__file__).parent / "box.js"


class SimilarTab:
    """The tab's components and how they answer."""

    def __init__(
        self, collections: Collections, pictures: Pictures, address: Address, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw them in the current layout."""
        self._collections, self._pictures = collections, pictures
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._picture = draw_upload("similar", t)
                examples = Examples(models, "similar_picture")
                self._item = gr.State("")  # whose picture it is; "" for an upload
                self._box = gr.Textbox("", label=t("box_label"), info=t("box_info"), elem_id="similar_box")
                drawn = self._draw_box()
                refinement = self._refinement = Refinement(collections, address.uploads, "similar", t)
            with gr.Column(scale=5, min_width=300):
                results = self.results = Results(collections, pictures, address, "similar", t)
        self.results, self.link = results, results.link
        self.restored = [self._picture, self._item, self._box, *refinement.restored, *results.restored]
        k, choice, *others = refinement.inputs
        inputs = [self._picture, k, choice, self._box, *others, self._item]
        triggers = [self._picture.upload, self._picture.clear, examples.connect(self._picture)]
        anew = [trigger(lambda: ("", ""), None, [self._item, self._box], **QUIET) for trigger in triggers]
        dragged = drawn.select(_dragged, None, self._box, **HIDDEN)
        again: list[Any] = [*(event.then for event in anew), dragged.then, self._box.submit]
        results.connect(self._similar, inputs, gr.Button(visible=False).click, is_asked=True, api_name="similar")
        results.connect(self._similar, inputs, *again, *refinement.changes)
        results.turn(self._similar, inputs)
        refinement.connect(results.hits, results.shown)

    def _draw_box(self) -> gr.HTML:
        """Draw what lets a visitor drag a box on the picture; its value is the box."""
        drawn = gr.HTML(
            "",
            html_template="<span></span>",
            js_on_load=SCRIPT.read_text("utf-8"),
            padding=False,
            apply_default_css=False,
            elem_id="similar_drawn",
            picture="#similar_picture",
        )
        self._box.change(lambda box: box, self._box, drawn, **QUIET)
        return drawn

    def restore(self, asked: Asked, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """What the components become for a state of the page."""
        path = self._pictures.asked(asked, self._collections, uploads, request)
        changes = {self._picture: path, self._item: asked.item, self._box: asked.box}
        return {**changes, **self._refinement.restore(asked, uploads, request), **self.results.restore(asked)}

    def _similar(
        self,
        image: str | None,
        k: int,
        collection: str,
        box: str | None,
        where: list[str],
        fold: bool,
        terms: Terms,
        uploads: Uploads,
        item: str,
        start: int,
        is_asked: bool,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        path = picture_path(image, request) if image or is_asked else None
        token = ""
        if path and not item:
            uploads, token = uploads.remember(str(path))
        asked = Asked(
            "similar",
            item=item if path else "",
            upload=token,
            box=(box or "").strip() if path else "",
            terms=tuple(terms),
            where=tuple(where or ()),
            k=k,
            start=start,
            fold=fold,
            collection=self._collections.named(collection),
        )
        main: list[Part] = []
        if path:
            edges = _edges(asked.box, request)
            main = [Part(item=item, box=edges) if item else Part(image=path, name=path.name, box=edges)]
        if not main and not terms:
            return self.results.clear(asked, uploads)
        return self.results.show(asked, [*main, *parts_of(terms, uploads)], uploads, request)


def _dragged(event: gr.EventData) -> str:
    return str(event._data.get("box", ""))[:100]


def _edges(box: str, request: gr.Request) -> Box | None:
    try:
        return read_box(box)
    except ValueError:
        raise gr.Error(word("bad_box", request), print_exception=False) from None
