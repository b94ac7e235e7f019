"""Search by text: words in, the pictures that fit them out."""

from typing import Any

import gradio as gr

from imgsearch.models import PRESETS, STARTER_ID
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.handlers import QUIET
from imgsearch.tabs.results import Results

EXAMPLES = (
    "a dog",
    "something to eat for breakfast",
    "a musical instrument",
    "animal with horns",
    "a planet",
    "mountains",
)


def draw(collections: Collections, t: gr.I18n, models: gr.State) -> None:
    """Draw the tab's content in the current layout."""
    results = Results(collections, "search", t)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            query = gr.Textbox(
                label=t("query"),
                info=t("query_info"),
                placeholder=t("query_placeholder"),
                submit_btn=True,
                max_lines=3,
                elem_id="query",
            )
            examples = gr.Examples(
                [[text] for text in EXAMPLES],
                query,
                cache_examples=False,
                label=t("try_query"),
                api_visibility="private",
            )
            num_hits = results.draw_num_hits()
        with gr.Column(scale=5, min_width=300):
            results.draw()

    def search(text: str | None, k: int, collection: str, request: gr.Request) -> tuple[Any, ...]:
        return results.show(collections[collection].search(text or "", k), collection, request)

    def search_again(text: str | None, k: int, collection: str, request: gr.Request) -> tuple[Any, ...]:
        return search(text, k, collection, request) if (text or "").strip() else results.clear()

    def adapt(shown: tuple[str, str, bool]) -> Any:
        info = _info(shown[0])
        placeholder = "query_placeholder_many" if info == "query_info_many" else "query_placeholder"
        return gr.Textbox(info=t(info), placeholder=t(placeholder))

    models.change(adapt, models, query, **QUIET)
    inputs = [query, num_hits, collections.choice]
    results.connect(search, inputs, query.submit, examples.load_input_event.then, api_name="search")
    results.connect(search_again, inputs, num_hits.change, *collections.changes)


def _info(encoder: str) -> str:
    """The key of the words that tell which languages an encoder understands."""
    if encoder in ("", STARTER_ID):
        return "query_info"
    languages = next((preset.languages for preset in PRESETS if preset.model_id == encoder), None)
    return {None: "query_info_other", "English": "query_info_english"}.get(languages, "query_info_many")
