"""Find similar: a picture in, the most similar ones of the collection out."""

from typing import Any

import gradio as gr

from imgsearch.tabs.collections import Collections
from imgsearch.tabs.results import Results
from imgsearch.tabs.upload import draw_examples, draw_upload, picture_path


def draw(collections: Collections, t: gr.I18n) -> None:
    """Draw the tab's content in the current layout."""
    results = Results(collections, "similar", t)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            picture = draw_upload("similar", t)
            examples = draw_examples(picture, t)
            num_hits = results.draw_num_hits()
        with gr.Column(scale=5, min_width=300):
            results.draw()

    def similar(image: str | None, k: int, collection: str, request: gr.Request) -> tuple[Any, ...]:
        path = picture_path(image, request)
        return results.show(collections[collection].similar(path, k, path.name), collection, request)

    def similar_again(image: str | None, k: int, collection: str, request: gr.Request) -> tuple[Any, ...]:
        return similar(image, k, collection, request) if image else results.clear()

    inputs = [picture, num_hits, collections.choice]
    results.connect(similar, inputs, picture.upload, examples.load_input_event.then, api_name="similar")
    results.connect(similar_again, inputs, num_hits.change, picture.clear, *collections.changes)
