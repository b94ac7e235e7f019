"""The tab "find similar": takes a picture or a part of it, shows the most similar ones of the collection."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from imgsearch.web.components.examples import Examples
from imgsearch.web.components.refine import Refinement
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.upload import draw_upload
from imgsearch.web.handlers import HIDDEN, QUIET
from imgsearch.web.page_state import PageState, Run, Uploads, new_run
from imgsearch.web.tabs.query import QueryTab

NO_ITEM = ("", "")  # the picture is an upload


class SimilarTab(QueryTab):
    """The search for a picture."""

    name = "similar"

    def draw_query(self) -> None:
        """Draw the picture, its examples, and the box that a visitor may drag on it."""
        t = self.shared.t
        self._picture = draw_upload("similar", t)
        self._examples = Examples(self.shared.models, "similar_picture")
        self._item = gr.State(NO_ITEM)  # hidden: (collection, item id) if the picture is an item's
        self._box = gr.Textbox("", label=t("box_label"), info=t("box_info"), elem_id="similar_box")
        self._drawn = scripted_html("similar_drawn", "<span></span>", "box", picture="#similar_picture")

    def connect_query(self, refinement: Refinement) -> None:
        """Search for a new picture and a new box. Another picture is not an item, and has no box yet."""
        # The hidden button is never clicked: its event only gives API clients the endpoint /similar.
        self.connect(gr.Button(visible=False).click, api_name="similar", is_required=True)
        self.connect(self._box.submit)
        self._box.change(lambda box: box, self._box, self._drawn, **QUIET)
        self._drawn.select(_dragged, None, [self._box, self.run], **HIDDEN)
        for trigger in (self._picture.upload, self._picture.clear, self._examples.connect(self._picture)):
            trigger(lambda: (NO_ITEM, "", new_run()), None, [self._item, self._box, self.run], **HIDDEN)

    def inputs(self, refining: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a query by name."""
        first = {"image": self._picture, "k": refining["k"], "collection": refining["collection"], "box": self._box}
        return {**first, **refining, "item": self._item}

    def main(self, values: Mapping[str, Any], collection: str) -> tuple[dict[str, str], Uploads]:
        """Return the item or the upload, and the box in it."""
        path, (name, item), uploads = values["image"], values["item"], values["uploads"]
        if not path:
            return {}, uploads
        box = (values["box"] or "").strip()
        if item and name == collection:  # ids are valid in their collection only
            return {"item": item, "box": box}, uploads
        uploads, token = uploads.remember(path)
        return {"upload": token, "box": box}, uploads

    @property
    def restored(self) -> list[Any]:
        """Return the components that `restore` sets."""
        return [self._picture, self._item, self._box, *super().restored]

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page; they run its query."""
        path = self.shared.pictures.asked(state, self.shared.collections, uploads, request)
        item = (self.shared.collections.named(state.collection), state.item) if path else NO_ITEM
        changes = {self._picture: path, self._item: item, self._box: state.box}
        return {**changes, **super().restore(state, uploads, request)}


def _dragged(event: gr.EventData) -> tuple[str, Run]:
    return str(getattr(event, "box", ""))[:100], new_run()
