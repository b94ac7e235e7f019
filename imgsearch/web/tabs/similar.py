"""The tab "find similar": takes a picture or a part of it, shows the most similar ones of the collection."""

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

NO_ITEM = ("", "")  # the picture is an upload


class SimilarTab:
    """The components of the tab and their events."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, router: Router, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw the components in the current layout and connect their events."""
        self._collections, self._pictures = collections, pictures
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._picture = draw_upload("similar", t)
                examples = Examples(models, "similar_picture")
                self._item = gr.State(NO_ITEM)  # hidden: (collection, item id) if the picture is an item's
                self._box = gr.Textbox("", label=t("box_label"), info=t("box_info"), elem_id="similar_box")
                drawn = self._draw_box()
                refinement = self._refinement = Refinement(collections, router.uploads, "similar", t)
            with gr.Column(scale=5, min_width=300):
                results = self.results = Results(collections, pictures, router, "similar", t, _main)
        self.link = results.link
        self.restored = [self._picture, self._item, self._box, *refinement.restored]
        k, choice, *more_inputs = refinement.inputs
        inputs = [self._picture, k, choice, self._box, *more_inputs, self._item]
        changed = [self._picture.upload, self._picture.clear, examples.connect(self._picture)]
        resets = [trigger(lambda: (NO_ITEM, ""), None, [self._item, self._box], **QUIET) for trigger in changed]
        dragged = drawn.select(_dragged, None, self._box, **HIDDEN)
        triggers: list[Any] = [*(event.then for event in resets), dragged.then, self._box.submit]
        # The hidden button is never clicked: its event only gives API clients the endpoint /similar.
        results.connect(self._similar, inputs, gr.Button(visible=False).click, is_required=True, api_name="similar")
        results.connect(self._similar, inputs, *triggers, *refinement.changes)
        results.connect(self._similar, inputs, refinement.edits.change, edits=refinement.edits)
        results.connect_paging()
        refinement.connect(results.hits, results.displayed)

    def _draw_box(self) -> gr.HTML:
        """Draw the invisible component that lets a visitor drag a box on the picture; its value is the box."""
        drawn = scripted_html("similar_drawn", "<span></span>", "box", picture="#similar_picture")
        self._box.change(lambda box: box, self._box, drawn, **QUIET)
        return drawn

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page."""
        path = self._pictures.asked(state, self._collections, uploads, request)
        item = (self._collections.named(state.collection), state.item) if path else NO_ITEM
        changes = {self._picture: path, self._item: item, self._box: state.box}
        return {**changes, **self._refinement.restore(state, uploads, request)}

    def follow(self, trigger: Callable[..., Any], navigation: gr.State) -> Any:
        """On `trigger`, run the query of the link in `navigation` if it belongs to this tab. Return the event."""
        return self.results.follow(trigger, navigation)

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
        is_required: bool,
        edits: int,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        if not edits:  # Gradio has only loaded the counter into the page, see Results.connect
            return (gr.skip(),) * len(self.results.outputs)
        path = picture_path(image, request) if image or is_required else None
        name = self._collections.named(collection)
        item_id, token = item[1] if path and item[0] == name else "", ""  # ids are valid in their collection only
        if path and not item_id:
            uploads, token = uploads.remember(str(path))
        state = PageState(
            "similar",
            item=item_id,
            upload=token,
            box=(box or "").strip() if path else "",
            terms=tuple(terms),
            where=tuple(map(str, where or ())),
            k=k,
            fold=fold,
            collection=name,
        )
        return self.results.ask(state, uploads, request, is_required=is_required)


def _main(state: PageState, uploads: Uploads, request: gr.Request) -> list[Part]:
    path = uploads.path(state.upload)
    if state.item:
        return [Part(item=state.item, box=_box_of(state.box, request))]
    return [Part(image=path, name=path.name, box=_box_of(state.box, request))] if path else []


def _dragged(event: gr.EventData) -> str:
    return str(event._data.get("box", ""))[:100]


def _box_of(box: str, request: gr.Request) -> Box | None:
    try:
        return parse_box(box)
    except ValueError:
        raise gr.Error(tr("bad_box", request), print_exception=False) from None
