"""The line under the title: which models answer, and for which collection."""

import html
import logging
from collections.abc import Iterator

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError
from imgsearch.tabs.words import num_pictures, word

log = logging.getLogger(__name__)


def draw(engine: Engine, app: gr.Blocks) -> None:
    """Draw the banner; each visit sees it loading until the models and the bundle are there."""
    banner = gr.HTML(padding=False, elem_id="banner")

    def show(request: gr.Request) -> Iterator[str]:
        yield f"<p>{word('loading', request)}</p>"
        try:
            facts = _facts(engine, request)
        except Exception:  # a model that cannot be loaded
            log.exception("the models cannot be loaded")
            yield f"<p>{word('failed', request)}</p>"
            return
        chips = (f"<li>{html.escape(name)} <b>{html.escape(fact)}</b></li>" for name, fact in facts.items())
        yield f"<ul>{''.join(chips)}</ul>"

    app.load(show, None, banner, api_visibility="private", show_progress="hidden", concurrency_limit=None)


def _facts(engine: Engine, request: gr.Request) -> dict[str, str]:
    try:
        collection = f"{engine.bundle.name}, {num_pictures(len(engine.index), request)}"
    except ImgsearchError as error:
        collection = str(error)
    return {
        word("encoder", request): engine.encoder.model_id,
        word("captioner", request): word("from_vectors", request),
        word("collection", request): collection,
    }
