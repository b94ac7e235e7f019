"""The place for a visitor's picture in a tab: choose, drop or paste one, look at it, and select a part of it."""

from typing import Any

import gradio as gr

from imgsearch.web.components.scripted import data_url, scripted_html
from imgsearch.web.page_state import Tab


def draw_picture_input(tab: Tab) -> gr.HTML:
    """Draw the component, empty; `picture_value` is its value."""
    return scripted_html(f"{tab}_picture", f'<div class="picture" data-tab="{tab}"></div>', "elements", "picture")


def picture_value(picture: bytes | None, box: str) -> dict[str, Any]:
    """Return the component's value: a picture as WebP, None for none, and the box in it."""
    return {"src": data_url(picture) if picture else "", "box": box}
