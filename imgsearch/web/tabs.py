"""The three tabs: in each a visitor asks, by a text or a picture, and finds questions to try with one click."""

from contextlib import suppress
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.records import Item
from imgsearch.search.query import understood_languages
from imgsearch.web.components.description import DescriptionView
from imgsearch.web.components.scripted import data_url, scripted_html
from imgsearch.web.handlers import QUIET
from imgsearch.web.i18n import caption_of, example_queries
from imgsearch.web.page_state import PICTURE_TABS, PageState, Tab
from imgsearch.web.retrieval import Retrieval
from imgsearch.web.router import Router

EXAMPLES = (  # of the packaged photos
    "stamps/animals-birds-owl.jpg",
    "skimage/chelsea.jpg",
    "wallpapers/yellow_flower.jpg",
    "places/colosseum.jpg",
    "wallpapers/mountain_path.jpg",
)
ASK = """(text, collection) => document.dispatchEvent(new CustomEvent('ask', {detail: {isTyped: true,
  link: '?' + new URLSearchParams({tab: 'search', q: text || '', in: collection || ''})}}))"""


class Tabs:
    """The tabs. Each has one input, which a link fills, and examples, which the models and the collection change."""

    def __init__(self, retrieval: Retrieval, router: Router, t: gr.I18n) -> None:
        self._collections, self._t = retrieval.collections, t
        self.inputs: dict[Tab, Any] = {}
        self._examples: dict[Tab, gr.HTML] = {}
        with gr.Tabs(overflow_behavior="wrap", elem_id="tabs") as self.component:
            with gr.Tab(t("search_tab"), id="search", elem_id="search_tab"):
                self._draw_search()
            for tab in PICTURE_TABS:
                with gr.Tab(t(f"{tab}_tab"), id=tab, elem_id=f"{tab}_tab"), gr.Row(elem_classes="question"):
                    with gr.Column(scale=1, min_width=280):
                        place = f'<div class="picture" data-tab="{tab}"></div>'
                        self.inputs[tab] = scripted_html(f"{tab}_picture", place, "elements", "picture")
                    with gr.Column(scale=2, min_width=280):
                        if tab == "describe":
                            self._description = DescriptionView(retrieval, router, t)
                        self._draw_examples(tab)
        self.adapts = [self.inputs["search"], *self._examples.values(), *self._description.options]

    def adapted(self, collection: str, request: gr.Request) -> dict[Any, Any]:
        """Return hints, examples and options for a collection and the models that answer now."""
        engine, name = self._collections[collection], self._collections.named(collection)
        encoder = engine.status.encoder
        is_english = understood_languages(encoder) == frozenset({"en"})  # and nothing else
        hint = "query_placeholder_english" if is_english else "query_placeholder"
        queries = [PageState(text=text, collection=name) for text in example_queries(encoder, request)]
        tries = [{"label": state.text, "link": state.to_link()} for state in queries]
        pictures = [(item.id, caption_of(item, request), data_url(engine.thumbnail(item))) for item in _items(engine)]
        changes = self._description.adapted(self._collections.first.status, request) | {
            self.inputs["search"]: gr.Textbox(placeholder=self._t(hint)),
            self._examples["search"]: {"title": "try_query", "examples": tries},
        }
        for tab in PICTURE_TABS:
            tries = [
                {"label": caption, "src": src, "link": PageState(tab, item=item_id, collection=name).to_link()}
                for item_id, caption, src in pictures
            ]
            changes[self._examples[tab]] = {"title": "try_picture", "examples": tries}
        return changes

    def _draw_search(self) -> None:
        with gr.Row(elem_id="search_row"):
            text = self.inputs["search"] = gr.Textbox(
                label=self._t("query"),
                show_label=False,
                placeholder=self._t("query_placeholder"),
                max_lines=3,
                container=False,
                scale=1,
                elem_id="query",
                autofocus=True,
            )
            go = gr.Button(self._t("go"), variant="primary", scale=0, min_width=120, elem_id="query_go")
        self._draw_examples("search")
        gr.on([text.submit, go.click], None, [text, self._collections.choice], None, js=ASK, **QUIET)

    def _draw_examples(self, tab: Tab) -> None:
        """Draw the place of the examples, empty. Its value holds the key of its title, and labels with links."""
        template = '<div class="tries"><p class="label"></p><ul class="examples"></ul></div>'
        self._examples[tab] = scripted_html(f"{tab}_examples", template, "elements", "examples")


def _items(engine: Engine) -> list[Item]:
    """Return EXAMPLES if the collection has them, else some from all parts of it; none while it is not loaded."""
    with suppress(ImgsearchError):
        try:
            return [engine.index.item_by_id(item_id) for item_id in EXAMPLES]
        except InputError:
            return [hit.item for hit in engine.browse(len(EXAMPLES)).hits]
    return []
