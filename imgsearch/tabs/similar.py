"""Find similar: a picture in, the most similar ones of the collection out."""

from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.tabs.results import Results
from imgsearch.tabs.upload import draw_examples, draw_upload, picture_path


def draw(engine: Engine, t: gr.I18n) -> None:
    """Draw the tab's content in the current layout."""
    results = Results(engine, "similar", t)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            image = draw_upload("similar", t)
            examples = draw_examples(image, t)
            k = results.draw_num_hits()
        with gr.Column(scale=5, min_width=300):
            results.draw()

    def similar(path: str | None, k: int, request: gr.Request) -> tuple[Any, ...]:
        picture = picture_path(path, request)
        return results.show(engine.similar(picture, k, picture.name), request)

    def similar_again(path: str | None, k: int, request: gr.Request) -> tuple[Any, ...]:
        return similar(path, k, request) if path else results.clear()

    results.connect(similar, [image, k], image.upload, examples.load_input_event.then, api_name="similar")
    results.connect(similar_again, [image, k], k.release, image.clear)
