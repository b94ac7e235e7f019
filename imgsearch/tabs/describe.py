"""Describe: a picture in; a sentence, tags as bars and the seconds out."""

from typing import Any, TypeAlias

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.tabs.handlers import CAPTIONS, guarded
from imgsearch.tabs.upload import draw_examples, draw_upload, picture_path

Bars: TypeAlias = dict[str, float]


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
                colours = gr.Label(label=t("colours"), show_heading=False, elem_id="colours")
            note = gr.Markdown(t("describe_hint"), elem_classes="note", elem_id="describe_note")

    def describe(image: str | None, request: gr.Request) -> tuple[str, Bars, str, Bars]:
        path = picture_path(image, request)
        description = engine.describe(path, path.name)
        bars, colour_bars = (
            {tag.tag: tag.score for tag in description.tags if (tag.group == "colours") == is_colour}
            for is_colour in (False, True)
        )
        return description.caption, bars, f"{description.seconds:.2f} s", colour_bars

    def hide() -> tuple[Any, Any]:
        return gr.Column(visible=False), t("describe_hint")

    run: dict[str, Any] = {
        "fn": guarded(describe),
        "inputs": picture,
        "outputs": [sentence, tags, note, colours],
        **CAPTIONS,
    }
    run["show_progress_on"] = note
    uploaded = picture.upload(**run, api_name="describe")
    chosen = examples.load_input_event.then(**run, api_visibility="private")
    quick: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    for answered in (uploaded, chosen):
        answered.success(lambda: gr.Column(visible=True), None, answer, **quick)
        answered.failure(hide, None, [answer, note], **quick)
    picture.clear(hide, None, [answer, note], cancels=[uploaded, chosen], **quick)
