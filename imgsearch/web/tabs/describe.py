"""The tab "describe": takes a picture; shows a sentence while it is written, tags, colours and what to do next."""

import html
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from imgsearch.describe.sentence import tag_name
from imgsearch.engine import Engine
from imgsearch.images import ImageSource
from imgsearch.models.captioner import MAX_QUESTION, Detail
from imgsearch.records import Description
from imgsearch.search.query import MAX_TEXT
from imgsearch.web.cancellation import Cancellations
from imgsearch.web.components.choices import QuietRadio
from imgsearch.web.components.examples import Examples
from imgsearch.web.components.picture_input import draw_picture_input, picture_value, picture_words
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.status import Models
from imgsearch.web.handlers import CAPTIONS, QUIET, with_error_messages
from imgsearch.web.i18n import LANGUAGES, format_number, language_of, tr
from imgsearch.web.page_state import PageState, Uploads
from imgsearch.web.retrieval import Retrieval, asked
from imgsearch.web.router import PRIVATE, Router

WORDS = ("copy", "copied", "search_with_description", "tags", "colours", "describe_hint")
AGAIN = "() => document.dispatchEvent(new CustomEvent('describe'))"  # router.js asks for the shown picture again


class DescribeTab:
    """The place for the picture, the options of a captioner, and the description."""

    def __init__(self, retrieval: Retrieval, router: Router, t: gr.I18n) -> None:
        self._retrieval, self._router, self._cancellations = retrieval, router, Cancellations()
        with gr.Row(elem_classes="question"):
            with gr.Column(scale=1, min_width=280):
                self.picture = draw_picture_input("describe")
            with gr.Column(scale=2, min_width=280):
                stop = gr.Button(t("stop"), size="sm", visible=False, elem_id="stop")
                self.description = scripted_html(
                    "description", '<div class="description"></div>', "elements", "description", words=None
                )
                self.options = _draw_options(t)
                self.examples = Examples("describe")
        self._stop = stop
        self.inputs = [self.picture]
        self.adapts = [self.picture, self.examples.component, self.description, *self.options]
        detail, question, language, ask = self.options
        gr.on([question.submit, ask.click, detail.input, language.input], None, None, None, js=AGAIN, **QUIET)
        router.component.submit(
            self._describe,
            inputs_kwargs={"detail": detail, "question": question, "language": language},
            outputs=[self.description, stop],
            show_progress="hidden",
            **PRIVATE,
            **CAPTIONS | {"trigger_mode": "multiple"},  # a new question stops the description before
        )
        stop.click(self._cancellations.stop, None, None, **QUIET)

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the picture of a state of the page."""
        return {self.picture: picture_value(self._retrieval.picture(state, uploads, request), "", request)}

    def adapted(self, engine: Engine, collection: str, models: Models, request: gr.Request) -> dict[Any, Any]:
        """Return the examples of a collection, and the options that the captioner takes."""
        detail, question, language, ask = self.options
        return {
            self.picture: picture_words(request),
            self.examples.component: self.examples.pictures(engine, collection, request),
            self.description: gr.HTML(words=_words(request)),
            detail: gr.Radio(visible=bool(models.captioner)),
            question: gr.Textbox(visible=models.takes_questions),
            language: gr.Radio(visible=models.takes_questions, value=language_of(request)),
            ask: gr.Button(visible=models.takes_questions),
        }

    def _describe(
        self, event: gr.EventData, request: gr.Request, detail: Detail, question: str | None, language: str
    ) -> Iterator[dict[Any, Any]]:
        is_last = self._router.numbered(event, request)
        if not is_last():
            return
        state, uploads = asked(event)
        first = self._retrieval.collections.first.status
        language = language if first.takes_questions else language_of(request)
        options = {"detail": "question" if question else detail, "question": question or "", "language": language}
        answer: dict[str, Any] = {"words": _words(request), "at": time.monotonic()}  # as the wall
        can_stop = {self._stop: gr.Button(visible=True)} if first.captioner else {}
        with self._cancellations.latest(request) as (must_stop, is_latest):
            write = with_error_messages(self._write, "describe")
            try:
                for description in write(state, uploads, request, stop=must_stop, **options):
                    if not is_last():
                        return
                    answer = answer | description_value(description, language, state.collection, request)
                    yield {self.description: answer, **can_stop}
                    can_stop = {}  # a button that is drawn again loses a click
            except gr.Error as error:
                answer = answer | {"error": html.unescape(error.message)}  # escaped for Gradio, which shows it as HTML
            if is_latest():
                yield {self.description: answer, self._stop: gr.Button(visible=False)}

    def _write(self, state: PageState, uploads: Uploads, request: gr.Request, **options: Any) -> Iterator[Description]:
        if state.item:
            image: ImageSource = self._retrieval.collections[state.collection].large_picture(state.item)
            name = state.item
        elif path := uploads.get(state.upload):
            image, name = self._retrieval.open_rgb(path, path.name, request), path.name
        else:
            raise gr.Error(tr("not_here_any_more", request), print_exception=False)
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


def _words(request: gr.Request) -> dict[str, str]:
    return {key: tr(key, request) for key in WORDS}


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
