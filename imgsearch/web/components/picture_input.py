"""The place for a visitor's picture in a tab: choose, drop or paste one, look at it, and select a part of it."""

from typing import Any

import gradio as gr

from imgsearch.web.components.scripted import data_url, scripted_html
from imgsearch.web.i18n import tr
from imgsearch.web.page_state import Tab

WORDS = ("drop", "other", "picture", "box_label", "box_info", "box_select")


def draw_picture_input(tab: Tab) -> gr.HTML:
    """Draw the component, empty. `picture_words` gives it words, `picture_value` a picture."""
    template = f'<div class="picture" data-tab="{tab}"></div>'
    return scripted_html(f"{tab}_picture", template, "elements", "picture", words=None)


def picture_words(request: gr.Request) -> Any:
    """Return the update that gives the component its words, and keeps its picture."""
    return gr.HTML(words=_words(request))


def picture_value(picture: bytes | None, box: str, request: gr.Request) -> dict[str, Any]:
    """Return the component's value: a picture as WebP, None for none, and the box in it."""
    return {"src": data_url(picture) if picture else "", "box": box, "words": _words(request)}


def _words(request: gr.Request) -> dict[str, str]:
    return {key: tr(key, request) for key in WORDS}
