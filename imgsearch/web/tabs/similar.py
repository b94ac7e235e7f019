"""The tab "find similar": takes a picture or a part of it, whose most similar ones of the collection the wall shows."""

from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.web.components.examples import draw_examples, picture_examples
from imgsearch.web.components.inputs import draw_picture_input, picture_value
from imgsearch.web.page_state import PageState, Uploads
from imgsearch.web.retrieval import Retrieval


class SimilarTab:
    """The place for the picture, and examples."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval
        with gr.Row(elem_classes="question"):
            with gr.Column(scale=1, min_width=280):
                self.picture = draw_picture_input("similar")
            with gr.Column(scale=2, min_width=280):
                self.examples = draw_examples("similar")
        self.inputs = [self.picture]
        self.adapts = [self.examples]

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the picture of a state of the page, and the box in it."""
        return {self.picture: picture_value(self._retrieval.picture(state, uploads, request), state.box)}

    def adapted(self, engine: Engine, collection: str, request: gr.Request) -> dict[Any, Any]:
        """Return the examples of a collection."""
        return {self.examples: picture_examples("similar", engine, collection, request)}
