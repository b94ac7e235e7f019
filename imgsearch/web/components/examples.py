"""Questions to try with one click: texts, or pictures of the collection."""

from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.records import Item
from imgsearch.web.components.scripted import data_url, scripted_html
from imgsearch.web.i18n import caption_of
from imgsearch.web.page_state import PageState, Tab

EXAMPLES = (  # of the packaged photos
    "stamps/animals-birds-owl.jpg",
    "skimage/chelsea.jpg",
    "wallpapers/yellow_flower.jpg",
    "places/colosseum.jpg",
    "wallpapers/mountain_path.jpg",
)


def draw_examples(tab: Tab) -> gr.HTML:
    """Draw the component of a tab, empty. Its value holds the key of its title, and examples with label and link."""
    template = '<div class="tries"><p class="label"></p><ul class="examples"></ul></div>'
    return scripted_html(f"{tab}_examples", template, "elements", "examples")


def picture_examples(tab: Tab, engine: Engine, collection: str, request: gr.Request) -> dict[str, Any]:
    """Return the value that offers pictures of a collection; none while it is not loaded."""
    try:
        items = _items(engine)
    except ImgsearchError:
        items = []
    examples = [
        {
            "label": caption_of(item, request),
            "src": data_url(engine.thumbnail(item)),
            "link": PageState(tab, item=item.id, collection=collection).to_link(),
        }
        for item in items
    ]
    return {"title": "try_picture", "examples": examples}


def _items(engine: Engine) -> list[Item]:
    """Return the preferred items that the collection has, else some from all parts of it."""
    try:
        return [engine.index.item_by_id(item_id) for item_id in EXAMPLES]
    except InputError:
        return [hit.item for hit in engine.browse(len(EXAMPLES)).hits]
