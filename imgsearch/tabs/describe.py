"""Describe: a picture in; a sentence, tags as bars and the seconds out."""

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.tabs.handlers import CAPTIONS, guarded
from imgsearch.tabs.upload import draw_examples, draw_upload, picture_path


def draw(engine: Engine, t: gr.I18n) -> None:
    """Draw the tab's content in the current layout."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            picture = draw_upload("describe", t)
            examples = draw_examples(picture, t)
        with gr.Column(scale=3, min_width=300):
            with gr.Column(visible=False) as answer:
                sentence = gr.Textbox(label=t("description"), lines=2, buttons=["copy"], elem_id="sentence")
                tags = gr.Label(label=t("tags"), show_heading=False, elem_id="tags")
            note = gr.Markdown(t("describe_hint"), elem_classes="note", elem_id="describe_note")

    def describe(image: str | None, request: gr.Request) -> tuple[str, dict[str, float], str]:
        path = picture_path(image, request)
        description = engine.describe(path, path.name)
        return description.caption, {tag.tag: tag.score for tag in description.tags}, f"{description.seconds:.2f} s"

    outputs = [sentence, tags, note]
    uploaded = picture.upload(guarded(describe), picture, outputs, api_name="describe", **CAPTIONS)
    chosen = examples.load_input_event.then(guarded(describe), picture, outputs, api_visibility="private", **CAPTIONS)
    for answered in (uploaded, chosen):
        answered.success(lambda: gr.Column(visible=True), None, answer, queue=False, api_visibility="private")
    picture.clear(
        lambda: (gr.Column(visible=False), t("describe_hint")),
        None,
        [answer, note],
        queue=False,
        api_visibility="private",
    )
