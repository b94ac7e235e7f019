"""The tab "search by text": takes a text, shows the pictures that match it."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from imgsearch.models.encoder import STARTER_IDS
from imgsearch.search.query import understood_languages
from imgsearch.web.components.choices import QuietDataset
from imgsearch.web.handlers import HIDDEN, QUIET
from imgsearch.web.i18n import example_queries
from imgsearch.web.page_state import PageState, Uploads, new_run
from imgsearch.web.tabs.query import QueryTab


class SearchTab(QueryTab):
    """The search for a text."""

    name = "search"

    def draw(self) -> None:
        """Draw the field for the text, its button and examples."""
        t = self.shared.t
        text = gr.Textbox(
            label=t("query"), info=t("query_info"), placeholder=t("query_placeholder"), max_lines=3, elem_id="query"
        )
        self._go = gr.Button(t("go"), variant="primary", size="sm", elem_id="query_go")
        self._examples = QuietDataset(
            components=[text], samples=_samples("", None), label=t("try_query"), elem_id="query_examples"
        )
        self.main = {"text": text}

    def connect(self) -> None:
        """Search on Enter, on the button and for an example; adapt hints and examples to the encoder."""
        text, models = self.main["text"], self.shared.models
        self.run_on(text.submit, api_name="search", is_required=True)
        self.run_on(self._go.click, is_required=True)
        self._examples.click(lambda sample: (sample[0], new_run()), self._examples, [text, self.run], **HIDDEN)
        models.change(self._adapt, models, [text, self._examples], **QUIET)

    def read(self, values: Mapping[str, Any], collection: str) -> tuple[dict[str, str], Uploads]:
        """Return the text."""
        return {"text": (values["text"] or "").strip()}, values["uploads"]

    def main_values(self, state: PageState, uploads: Uploads, request: gr.Request) -> tuple[Any, ...]:
        """Return the text of a state of the page."""
        return (state.text,)

    def _adapt(self, models: tuple[str, str, bool], request: gr.Request) -> tuple[Any, Any]:
        info = _info(models[0])
        placeholder = "query_placeholder_many" if info == "query_info_many" else "query_placeholder"
        query = gr.Textbox(info=self.shared.t(info), placeholder=self.shared.t(placeholder))
        return query, gr.Dataset(samples=_samples(models[0], request))


def _samples(encoder: str, request: gr.Request | None) -> list[list[str]]:
    return [[text] for text in example_queries(encoder, request)]


def _info(encoder: str) -> str:
    """Return the key of the words that say which languages an encoder understands."""
    if encoder in ("", *STARTER_IDS):
        return "query_info"
    languages = understood_languages(encoder)
    if languages is None:
        return "query_info_other"
    return "query_info_many" if len(languages) > 1 else "query_info_english"
