"""Gradio components whose content our own scripts draw."""

import base64
from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parents[1] / "static"


def scripted_html(elem_id: str, html: str, *scripts: str, **props: Any) -> gr.HTML:
    """Draw a component that starts as `html` and that the given files of `static`, joined, fill from its value.

    Never put text of a collection into `html`: Gradio evaluates it as a template.
    """
    code = "".join((STATIC / f"{name}.js").read_text("utf-8") for name in scripts)
    return gr.HTML(
        None, html_template=html, js_on_load=code, padding=False, apply_default_css=False, elem_id=elem_id, **props
    )


def data_url(webp: bytes) -> str:
    """Return a picture as a data URL."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
