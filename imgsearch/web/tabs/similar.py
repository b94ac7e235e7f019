"""Find similar: a picture in, whole or a part of it; the most similar ones of the collection out."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from imgsearch.search.query import Box, Part
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.examples import Examples
from imgsearch.web.components.refine import Refinement, Terms
from imgsearch.web.components.results import Results
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.upload import draw_upload, picture_path
from imgsearch.web.handlers import HIDDEN, QUIET
from imgsearch.web.i18n import tr
from imgsearch.web.page_state import PageState, Uploads, parse_box
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router

NO_ITEM = ("", "")  # an upload


class SimilarTab:
    """The tab's components and how they answer."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, address: Router, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw them in the current layout."""
        self._collections, self._pictures = collections, pictures
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._picture = draw_upload("similar", t)
                examples = Examples(models, "similar_picture")
                self._item = gr.State(NO_ITEM)  # whose picture it is: a collection and an id
                self._box = gr.Textbox("", label=t("box_label"), info=t("box_info"), elem_id="similar_box")
                drawn = self._draw_box()
                refinement = self._refinement = Refinement(collections, address.uploads, "similar", t)
            with gr.Column(scale=5, min_width=300):
                results = self.results = Results(collections, pictures, address, "similar", t, _main)
        self.link = results.link
        self.restored = [self._picture, self._item, self._box, *refinement.restored]
        k, choice, *others = refinement.inputs
        inputs = [self._picture, k, choice, self._box, *others, self._item]
        triggers = [self._picture.upload, self._picture.clear, examples.connect(self._picture)]
        anew = [trigger(lambda: (NO_ITEM, ""), None, [self._item, self._box], **QUIET) for trigger in triggers]
        dragged = drawn.select(_dragged, None, self._box, **HIDDEN)
        again: list[Any] = [*(event.then for event in anew), dragged.then, self._box.submit]
        results.connect(self._similar, inputs, gr.Button(visible=False).click, is_asked=True, api_name="similar")
        results.connect(self._similar, inputs, *again, *refinement.changes)
        results.connect(self._similar, inputs, refinement.edits.change, edits=refinement.edits)
        results.connect_paging()
        refinement.connect(results.hits, results.shown)

    def _draw_box(self) -> gr.HTML:
        """Draw what lets a visitor drag a box on the picture; its value is the box."""
        drawn = scripted_html("similar_drawn", "<span></span>", "box", picture="#similar_picture")
        self._box.change(lambda box: box, self._box, drawn, **QUIET)
        return drawn

    def restore(self, asked: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """What the components become for a state of the page."""
        path = self._pictures.asked(asked, self._collections, uploads, request)
        item = (self._collections.named(asked.collection), asked.item) if path else NO_ITEM
        changes = {self._picture: path, self._item: item, self._box: asked.box}
        return {**changes, **self._refinement.restore(asked, uploads, request)}

    def follow(self, trigger: Callable[..., Any], wanted: gr.State) -> Any:
        """Answer, on `trigger`, what the wanted link asks, if it asks this tab. Returns the event."""
        return self.results.follow(trigger, wanted)

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
        item: tuple[str, str],
        is_asked: bool,
        edits: int,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        if not edits:
            return (gr.skip(),) * len(self.results.outputs)
        path = picture_path(image, request) if image or is_asked else None
        name = self._collections.named(collection)
        id, token = item[1] if path and item[0] == name else "", ""  # in another collection it would be another item
        if path and not id:
            uploads, token = uploads.remember(str(path))
        asked = PageState(
            "similar",
            item=id,
            upload=token,
            box=(box or "").strip() if path else "",
            terms=tuple(terms),
            where=tuple(map(str, where or ())),
            k=k,
            fold=fold,
            collection=name,
        )
        return self.results.ask(asked, uploads, request, is_asked=is_asked)


def _main(asked: PageState, uploads: Uploads, request: gr.Request) -> list[Part]:
    path = uploads.path(asked.upload)
    if asked.item:
        return [Part(item=asked.item, box=_box_of(asked.box, request))]
    return [Part(image=path, name=path.name, box=_box_of(asked.box, request))] if path else []


def _dragged(event: gr.EventData) -> str:
    return str(event._data.get("box", ""))[:100]


def _box_of(box: str, request: gr.Request) -> Box | None:
    try:
        return parse_box(box)
    except ValueError:
        raise gr.Error(tr("bad_box", request), print_exception=False) from None
