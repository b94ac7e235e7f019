"""Gradio components whose content our own scripts draw."""

import asyncio
import base64
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.errors import ImgsearchError

STATIC = Path(__file__).parents[1] / "static"


def scripted_html(elem_id: str, html: str, *scripts: str, **props: Any) -> gr.HTML:
    """Draw a component that starts as `html` and that the given files of `static`, joined, fill from its value.

    Never put text of a collection into `html`: Gradio evaluates it as a template.
    """
    code = "".join((STATIC / f"{name}.js").read_text("utf-8") for name in scripts)
    return gr.HTML(
        None, html_template=html, js_on_load=code, padding=False, apply_default_css=False, elem_id=elem_id, **props
    )


def server_function(answer: Callable[[str, Any, gr.Request], Any], kind: type) -> Any:
    """Return a function for a script: the answer for [collection, place of that kind], None for all else.

    It runs in a thread of its own: none of Gradio's is to wait for pictures that are decoded.
    """

    async def answer_script(place: Any, request: gr.Request) -> Any:
        match place:
            case [str(collection), value] if type(value) is kind:
                with suppress(ImgsearchError):
                    return await asyncio.to_thread(answer, collection, value, request)
        return None

    answer_script.__name__ = answer.__name__
    return answer_script


def data_url(webp: bytes) -> str:
    """Return a picture as a data URL."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
