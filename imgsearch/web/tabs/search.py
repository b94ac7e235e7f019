"""The tab "search by text": takes a text, whose hits the wall shows."""

from typing import Any

import gradio as gr

from imgsearch.search.query import understood_languages
from imgsearch.web.components.examples import draw_examples
from imgsearch.web.handlers import QUIET
from imgsearch.web.i18n import example_queries
from imgsearch.web.page_state import PageState, Uploads

ASK = """(text, collection) => document.dispatchEvent(new CustomEvent('ask', {detail: {isTyped: true,
  link: '?' + new URLSearchParams({tab: 'search', q: text || '', in: collection || ''})}}))"""


class SearchTab:
    """The field for the text, its button and examples."""

    def __init__(self, t: gr.I18n, choice: Any) -> None:
        self._t = t
        with gr.Row(elem_id="search_row"):
            self.text = gr.Textbox(
                label=t("query"),
                show_label=False,
                placeholder=t("query_placeholder"),
                max_lines=3,
                container=False,
                scale=1,
                elem_id="query",
                autofocus=True,
            )
            go = gr.Button(t("go"), variant="primary", scale=0, min_width=120, elem_id="query_go")
        self.examples = draw_examples("search")
        self.inputs = [self.text]
        self.adapts = [self.text, self.examples]
        gr.on([self.text.submit, go.click], None, [self.text, choice], None, js=ASK, **QUIET)

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the text of a state of the page."""
        return {self.text: state.text}

    def adapted(self, encoder: str, collection: str, request: gr.Request) -> dict[Any, Any]:
        """Return the hints and examples for an encoder."""
        is_english = understood_languages(encoder) == frozenset({"en"})  # and nothing else
        hint = "query_placeholder_english" if is_english else "query_placeholder"
        states = [PageState(text=text, collection=collection) for text in example_queries(encoder, request)]
        examples = [{"label": state.text, "link": state.to_link()} for state in states]
        return {
            self.text: gr.Textbox(placeholder=self._t(hint)),
            self.examples: {"title": "try_query", "examples": examples},
        }
