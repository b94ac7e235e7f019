"""The line under the title: which models answer, and for which collection."""

import html
from collections.abc import Iterator

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError
from imgsearch.tabs.words import word


def draw(engine: Engine, app: gr.Blocks) -> None:
    """Draw the banner; each visit sees it loading until the models and the bundle are there."""
    banner = gr.HTML(padding=False, elem_id="banner")

    def show(request: gr.Request) -> Iterator[str]:
        yield f"<p>{word('loading', request)}</p>"
        facts = {
            word("encoder", request): engine.encoder.model_id,
            word("captioner", request): word("from_vectors", request),
        }
        try:
            facts[word("collection", request)] = (
                f"{engine.bundle.name}, {len(engine.index)} {word('pictures', request)}"
            )
        except ImgsearchError as error:
            facts[word("collection", request)] = str(error)
        chips = (f"<li>{html.escape(name)} <b>{html.escape(fact)}</b></li>" for name, fact in facts.items())
        yield f"<ul>{''.join(chips)}</ul>"

    app.load(show, None, banner, api_visibility="private", show_progress="hidden", concurrency_limit=None)
