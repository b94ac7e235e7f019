"""The tab "search by text": takes a text, shows the pictures that match it."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from imgsearch.models.encoder import STARTER_IDS
from imgsearch.search.query import Part, understood_languages
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.refine import Refinement, Terms
from imgsearch.web.components.results import Results
from imgsearch.web.handlers import QUIET
from imgsearch.web.i18n import example_queries
from imgsearch.web.page_state import PageState, Uploads
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router


class SearchTab:
    """The components of the tab and their events."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, router: Router, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw the components in the current layout and connect their events."""
        self._collections, self._t = collections, t
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._query = gr.Textbox(
                    label=t("query"),
                    info=t("query_info"),
                    placeholder=t("query_placeholder"),
                    max_lines=3,
                    elem_id="query",
                )
                go = gr.Button(t("go"), variant="primary", size="sm", elem_id="query_go")
                examples = gr.Dataset(
                    components=[self._query], samples=_samples("", None), label=t("try_query"), elem_id="query_examples"
                )
                refinement = self._refinement = Refinement(collections, router.uploads, "search", t)
            with gr.Column(scale=5, min_width=300):
                results = self.results = Results(collections, pictures, router, "search", t, _main)
        self.link = results.link
        self.restored = [self._query, *refinement.restored]
        inputs = [self._query, *refinement.inputs]
        chosen = examples.click(lambda sample: sample[0], examples, self._query, **QUIET)
        results.connect(self._search, inputs, self._query.submit, is_required=True, api_name="search")
        results.connect(self._search, inputs, go.click, is_required=True)
        results.connect(self._search, inputs, chosen.then, *refinement.changes)
        results.connect(self._search, inputs, refinement.edits.change, edits=refinement.edits)
        results.connect_paging()
        refinement.connect(results.hits, results.displayed)
        models.change(self._adapt, models, [self._query, examples], **QUIET)

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page."""
        return {self._query: state.text, **self._refinement.restore(state, uploads, request)}

    def follow(self, trigger: Callable[..., Any], navigation: gr.State) -> Any:
        """On `trigger`, run the query of the link in `navigation` if it belongs to this tab. Return the event."""
        return self.results.follow(trigger, navigation)

    def _search(
        self,
        text: str | None,
        k: int,
        collection: str,
        where: list[str],
        fold: bool,
        terms: Terms,
        uploads: Uploads,
        is_required: bool,
        edits: int,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        if not edits:  # Gradio has only loaded the counter into the page, see Results.connect
            return (gr.skip(),) * len(self.results.outputs)
        state = PageState(
            "search",
            text=text or "",
            terms=tuple(terms),
            where=tuple(map(str, where or ())),
            k=k,
            fold=fold,
            collection=self._collections.named(collection),
        )
        return self.results.ask(state, uploads, request, is_required=is_required)

    def _adapt(self, models: tuple[str, str, bool], request: gr.Request) -> tuple[Any, Any]:
        info = _info(models[0])
        placeholder = "query_placeholder_many" if info == "query_info_many" else "query_placeholder"
        query = gr.Textbox(info=self._t(info), placeholder=self._t(placeholder))
        return query, gr.Dataset(samples=_samples(models[0], request))


def _main(state: PageState, uploads: Uploads, request: gr.Request) -> list[Part]:
    return [Part(text=state.text)] if state.text.strip() else []


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
