"""The tab "find similar": takes a picture or a part of it, shows the most similar ones of the collection."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from imgsearch.web.components.examples import draw_examples
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.upload import draw_upload
from imgsearch.web.handlers import HIDDEN, QUIET
from imgsearch.web.page_state import PageState, Run, Uploads, new_run
from imgsearch.web.tabs.query import QueryTab

NO_ITEM = ("", "")  # the picture is an upload
MAX_BOX = 100  # characters


class SimilarTab(QueryTab):
    """The search for a picture."""

    name = "similar"

    def draw(self) -> None:
        """Draw the picture, its examples, and the box that a visitor may drag on it."""
        t = self.shared.t
        picture = draw_upload("similar", t)
        self._chosen = draw_examples(self.shared.models, picture, "similar_picture")
        item = gr.State(NO_ITEM)  # hidden: (collection, item id) if the picture is an item's
        box = gr.Textbox("", label=t("box_label"), info=t("box_info"), elem_id="similar_box")
        self._drawn = scripted_html("similar_drawn", "<span></span>", "box", picture="#similar_picture")
        self.main = {"image": picture, "box": box, "item": item}

    def connect(self) -> None:
        """Search for a new picture and a new box. Another picture is not an item, and has no box yet."""
        picture, box, item = self.main.values()
        # The hidden button is never clicked: its event only gives API clients the endpoint /similar.
        self.run_on(gr.Button(visible=False).click, api_name="similar", is_required=True)
        self.run_on(box.submit)
        box.change(lambda box: box, box, self._drawn, **QUIET)
        self._drawn.select(_dragged, None, [box, self.run], **HIDDEN)
        for trigger in (partial(gr.on, [picture.upload, picture.clear]), self._chosen):
            trigger(lambda: (NO_ITEM, "", new_run()), None, [item, box, self.run], **HIDDEN)

    def read(self, values: Mapping[str, Any], collection: str) -> tuple[dict[str, str], Uploads]:
        """Return the item or the upload, and the box in it."""
        path, (name, item), uploads = values["image"], values["item"], values["uploads"]
        if not path:
            return {}, uploads
        box = (values["box"] or "").strip()[:MAX_BOX]
        if item and name == collection:  # ids are valid in their collection only
            return {"item": item, "box": box}, uploads
        uploads, token = uploads.remember(path)
        return {"upload": token, "box": box}, uploads

    def main_values(self, state: PageState, uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
        """Return path, box and item of a state of the page; warn if its picture is not here any more."""
        path = self.shared.pictures.asked(state, self.shared.collections, uploads, request)
        return path, state.box, (self.shared.collections.named(state.collection), state.item) if path else NO_ITEM


def _dragged(event: gr.EventData) -> tuple[str, Run]:
    return str(getattr(event, "box", ""))[:MAX_BOX], new_run()
