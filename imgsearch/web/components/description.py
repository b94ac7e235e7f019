"""The description of a picture: a sentence while it is written, tags, colours and what to do next."""

import html
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from imgsearch.describe.sentence import tag_name
from imgsearch.models.captioner import MAX_QUESTION, Detail
from imgsearch.records import Description, Status
from imgsearch.search.query import MAX_TEXT
from imgsearch.web.components.inputs import QuietRadio
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import CAPTIONS, QUIET, with_error_messages
from imgsearch.web.i18n import LANGUAGES, format_number, language_of
from imgsearch.web.page_state import PageState, Uploads
from imgsearch.web.retrieval import Retrieval, asked
from imgsearch.web.router import Router

AGAIN = "() => document.dispatchEvent(new CustomEvent('describe'))"  # router.js asks for the shown picture again


class DescriptionView:
    """The description, and the options of a captioner."""

    def __init__(self, retrieval: Retrieval, router: Router, t: gr.I18n) -> None:
        self._retrieval, self._router = retrieval, router
        self._stop = gr.Button(t("stop"), size="sm", visible=False, elem_id="stop")
        place = '<div class="description"></div>'
        self._component = scripted_html("description", place, "elements", "description")
        self.options = _draw_options(t)
        detail, question, language, ask = self.options
        gr.on([question.submit, ask.click, detail.input, language.input], None, None, None, js=AGAIN, **QUIET)
        router.component.submit(
            self._describe,
            inputs_kwargs={"detail": detail, "question": question, "language": language},
            outputs=[self._component, self._stop],
            api_visibility="private",
            **CAPTIONS,
        )
        self._stop.click(router.stop, None, None, **QUIET)

    def adapted(self, captions: Status, request: gr.Request) -> dict[Any, Any]:
        """Return the options that the captioner takes."""
        detail, question, language, ask = self.options
        return {
            detail: gr.Radio(visible=bool(captions.captioner)),
            question: gr.Textbox(visible=captions.takes_questions),
            language: gr.Radio(visible=captions.takes_questions, value=language_of(request)),
            ask: gr.Button(visible=captions.takes_questions),
        }

    def _describe(
        self, event: gr.EventData, request: gr.Request, detail: Detail, question: str | None, language: str
    ) -> Iterator[dict[Any, Any]]:
        about = self._router.question(event, request)
        if not about.is_last:
            return
        state, uploads = asked(event)
        first = self._retrieval.collections.first.status
        language = language if first.takes_questions else language_of(request)
        options = {"detail": "question" if question else detail, "question": question or "", "language": language}
        answer: dict[str, Any] = {"at": time.monotonic()}  # as the wall
        can_stop = {self._stop: gr.Button(visible=True)} if first.captioner else {}
        write = with_error_messages(self._write, "describe")
        try:
            for description in write(state, uploads, request, stop=about.is_over, **options):
                if not about.is_last:
                    return
                answer = answer | description_value(description, language, state.collection, request)
                yield {self._component: answer, **can_stop}
                can_stop = {}  # a button that is drawn again loses a click
        except gr.Error as error:
            answer = answer | {"error": html.unescape(error.message)}  # escaped for Gradio, which shows it as HTML
        if about.is_last:
            yield {self._component: answer, self._stop: gr.Button(visible=False)}

    def _write(self, state: PageState, uploads: Uploads, request: gr.Request, **options: Any) -> Iterator[Description]:
        image, name = self._retrieval.image(state, uploads, request)
        yield from self._retrieval.collections.first.describe_stream(image, name, **options)


def description_value(description: Description, language: str, collection: str, request: gr.Request) -> dict[str, Any]:
    """Return what the page shows of a description: sentence, tags and colours with their shares in percent."""
    query = description.query[:MAX_TEXT]
    shares: dict[bool, list[list[Any]]] = {True: [], False: []}  # whether it is a colour
    for tag in description.tags:
        shares[tag.group == "colours"].append([tag_name(tag, language), round(100 * tag.score), tag.tag])
    return {
        "sentence": description.caption,
        "tags": shares[False],
        "colours": shares[True],
        "time": f"{format_number(description.seconds, request, 2)} s",
        "search": PageState(text=query, collection=collection).to_link() if query else "",
    }


def _draw_options(t: gr.I18n) -> tuple[gr.Radio, gr.Textbox, gr.Radio, gr.Button]:
    """Draw the options of a captioner, hidden until a model that takes them is loaded."""
    detail = QuietRadio(
        [(t(f"detail_{detail}"), detail) for detail in ("short", "detailed")],
        value="short",
        label=t("detail"),
        visible=False,
        elem_id="detail",
    )
    question = gr.Textbox(
        value="",
        label=t("question"),
        placeholder=t("question_placeholder"),
        max_length=MAX_QUESTION,
        visible=False,
        elem_id="question",
    )
    languages = [(name, code) for code, name in LANGUAGES.items()]
    language = QuietRadio(languages, value="en", label=t("language"), visible=False, elem_id="language")
    return detail, question, language, gr.Button(t("ask"), size="sm", visible=False, elem_id="ask")
