"""Questions to try with one click: texts, or pictures of the collection."""

from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError
from imgsearch.records import Item
from imgsearch.web.components.scripted import data_url, scripted_html
from imgsearch.web.i18n import caption_of
from imgsearch.web.page_state import PageState, Tab

NUM_PICTURES = 5
EXAMPLES = (  # of the packaged photos
    "stamps/animals-birds-owl.jpg",
    "skimage/chelsea.jpg",
    "wallpapers/yellow_flower.jpg",
    "places/colosseum.jpg",
    "wallpapers/mountain_path.jpg",
)


class Examples:
    """The component of one tab, empty at first.

    Its value holds the key of its title, and examples with a label and a link; a picture has a `src`, too.
    """

    def __init__(self, tab: Tab) -> None:
        template = '<div class="tries"><p class="label"></p><ul class="examples"></ul></div>'
        self._tab = tab
        self.component = scripted_html(f"{tab}_examples", template, "elements", "examples")

    def pictures(self, engine: Engine, collection: str, request: gr.Request) -> dict[str, Any]:
        """Return the value that offers pictures of a collection; none while it is not loaded."""
        try:
            items = _items(engine)
        except ImgsearchError:
            items = []
        examples = [
            {
                "label": caption_of(item, request),
                "src": data_url(engine.thumbnail(item)),
                "link": PageState(self._tab, item=item.id, collection=collection).to_link(),
            }
            for item in items
        ]
        return {"title": "try_picture", "examples": examples}


def _items(engine: Engine) -> list[Item]:
    """Return the preferred items that the collection has, else some from all parts of it."""
    found = []
    for item_id in EXAMPLES:
        try:
            found.append(engine.index.item_by_id(item_id))
        except ImgsearchError:
            break
    return found if len(found) == NUM_PICTURES else [hit.item for hit in engine.browse(NUM_PICTURES).hits]
