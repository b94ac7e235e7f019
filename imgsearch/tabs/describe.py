"""Describe: a picture in; a sentence as it is written, tags as bars and the seconds out."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import gradio as gr

from imgsearch.captioner import MAX_QUESTION, Detail
from imgsearch.engine import Engine
from imgsearch.tabs.handlers import CAPTIONS, QUIET, guarded
from imgsearch.tabs.upload import draw_examples, draw_upload, picture_path
from imgsearch.tabs.words import language_of

Bars: TypeAlias = dict[str, float]


def draw(engine: Engine, t: gr.I18n, models: gr.State) -> None:
    """Draw the tab's content in the current layout."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            picture = draw_upload("describe", t)
            examples = draw_examples(picture, t)
            options = _draw_options(t)
        with gr.Column(scale=3, min_width=300):
            with gr.Column(visible=False) as answer:
                sentence = gr.Textbox(label=t("description"), lines=2, buttons=["copy"], elem_id="sentence")
                stop = gr.Button(t("stop"), size="sm", visible=False, elem_id="stop")
                tags = gr.Label(label=t("tags"), show_heading=False, elem_id="tags")
                colours = gr.Label(label=t("colours"), show_heading=False, elem_id="colours")
            note = gr.Markdown(t("describe_hint"), elem_classes="note", elem_id="describe_note")
    running = Running()

    def describe(
        image: str | None, detail: Detail, question: str | None, language: str, request: gr.Request
    ) -> Iterator[tuple[str, Bars, str, Bars]]:
        path = picture_path(image, request)
        wish: Detail = "question" if question else detail
        with running.as_latest(request) as is_stopped:
            for description in engine.describe_growing(
                path, path.name, detail=wish, question=question or "", language=language, stop=is_stopped
            ):
                bars, colour_bars = (
                    {tag.tag: tag.score for tag in description.tags if (tag.group == "colours") == is_colour}
                    for is_colour in (False, True)
                )
                yield description.caption, bars, f"{description.seconds:.2f} s", colour_bars

    def describe_again(
        image: str | None, detail: Detail, question: str | None, language: str, request: gr.Request
    ) -> Iterator[Any]:
        if image is None:  # another detail was chosen before any picture
            yield (gr.skip(),) * 4
        else:
            yield from describe(image, detail, question, language, request)

    def begin(image: str | None, request: gr.Request) -> tuple[Any, Any]:
        running.stop(request)
        return gr.Column(visible=image is not None), gr.Button(visible=bool(engine.status.captioner))

    def clear(request: gr.Request) -> tuple[Any, Any]:
        running.stop(request)
        return gr.Column(visible=False), t("describe_hint")

    inputs = [picture, *options]
    detail, question, language = options
    described: list[Any] = []
    for trigger, handler in (
        (picture.upload, describe),
        (examples.load_input_event.then, describe),
        (question.submit, describe_again),
        (detail.change, describe_again),
        (language.change, describe_again),
    ):
        api = {"api_name": "describe"} if not described else {"api_visibility": "private"}
        run = trigger(begin, picture, [answer, stop], **QUIET).then(
            guarded(handler), inputs, [sentence, tags, note, colours], show_progress_on=note, **api, **CAPTIONS
        )
        run.then(lambda: gr.Button(visible=False), None, stop, **QUIET)
        run.failure(clear, None, [answer, note], **QUIET)
        described.append(run)
    picture.clear(clear, None, [answer, note], cancels=described, **QUIET)
    stop.click(running.stop, None, None, **QUIET)
    models.change(_offer, models, list(options), **QUIET)


def _draw_options(t: gr.I18n) -> tuple[gr.Radio, gr.Textbox, gr.Radio]:
    """Draw what a captioner may be asked for: the detail, a question, the language. Hidden until there is one."""
    detail = gr.Radio(
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
        submit_btn=True,
        visible=False,
        elem_id="question",
    )
    languages = [("English", "en"), ("Français", "fr")]
    language = gr.Radio(languages, value="en", label=t("language"), visible=False, elem_id="language")
    return detail, question, language


def _offer(models: tuple[str, str, bool], request: gr.Request) -> tuple[Any, Any, Any]:
    """Show what the captioner takes; it answers in the visitor's language unless told otherwise."""
    _, captioner, takes_questions = models
    return (
        gr.Radio(visible=bool(captioner)),
        gr.Textbox(visible=takes_questions),
        gr.Radio(visible=takes_questions, value=language_of(request)),
    )


class Running:
    """The description under way of each visitor, who may stop it."""

    def __init__(self) -> None:
        self._stopped: dict[str, threading.Event] = {}

    @contextmanager
    def as_latest(self, request: gr.Request) -> Iterator[Callable[[], bool]]:
        """Whether the visitor has stopped it, asked for as long as it runs."""
        event = threading.Event()
        session = request.session_hash or str(id(event))
        self._stopped[session] = event
        try:
            yield event.is_set
        finally:
            self._stopped.pop(session, None)

    def stop(self, request: gr.Request) -> None:
        """Stop what is under way for this visitor, if anything is."""
        event = self._stopped.get(request.session_hash or "")
        if event:
            event.set()
