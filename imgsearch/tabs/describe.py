"""Describe: a picture in; a sentence, tags as bars and the seconds out."""

from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.tabs.handlers import CAPTIONS, guarded
from imgsearch.tabs.upload import draw_examples, draw_upload, picture_path


def draw(engine: Engine, t: gr.I18n) -> None:
    """Draw the tab's content in the current layout."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            image = draw_upload("describe", t)
            examples = draw_examples(image, t)
        with gr.Column(scale=3, min_width=300):
            sentence = gr.Textbox(label=t("description"), lines=2, buttons=["copy"], visible=False, elem_id="sentence")
            tags = gr.Label(label=t("tags"), show_heading=False, visible=False, elem_id="tags")
            note = gr.Markdown(t("describe_hint"), elem_classes="note", elem_id="describe_note")
    outputs = [sentence, tags, note]

    def describe(path: str | None, request: gr.Request) -> tuple[Any, ...]:
        picture = picture_path(path, request)
        description = engine.describe(picture, picture.name)
        scores = {tag.tag: tag.score for tag in description.tags}
        return (
            gr.Textbox(description.caption, visible=True),
            gr.Label(scores or None, visible=bool(scores)),
            f"{description.seconds:.2f} s",
        )

    def clear() -> tuple[Any, ...]:
        return gr.Textbox("", visible=False), gr.Label(None, visible=False), t("describe_hint")

    image.upload(guarded(describe), image, outputs, api_name="describe", **CAPTIONS)
    examples.load_input_event.then(guarded(describe), image, outputs, api_visibility="private", **CAPTIONS)
    image.clear(clear, None, outputs, api_visibility="private", queue=False)
