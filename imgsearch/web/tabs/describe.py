"""The tab "describe": takes a picture, shows a sentence while it is written, tags and colours as bars, and the time."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import gradio as gr

from imgsearch.describe.sentence import tag_name, to_query
from imgsearch.models.captioner import MAX_QUESTION, Detail
from imgsearch.search.query import MAX_TEXT
from imgsearch.web.cancellation import Cancellations
from imgsearch.web.components.choices import QuietRadio
from imgsearch.web.components.examples import draw_examples
from imgsearch.web.components.upload import draw_upload, picture_path
from imgsearch.web.handlers import CAPTIONS, QUIET, with_error_messages
from imgsearch.web.i18n import LANGUAGES, language_of
from imgsearch.web.page_state import PageState, Uploads, new_run
from imgsearch.web.shared import Shared

Bars: TypeAlias = dict[str, float]  # tag -> score 0..1


class DescribeTab:
    """The components of the tab and their events."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._cancellations = Cancellations()
        self._events: list[Any] = []
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self._picture = draw_upload("describe", shared.t)
                chosen = draw_examples(shared.models, self._picture, "describe_picture")
                self._options = _draw_options(shared.t)
                ask = gr.Button(shared.t("ask"), size="sm", visible=False, elem_id="ask")
            with gr.Column(scale=3, min_width=300):
                self._draw_description()
        self.link = gr.State("")  # hidden: the link to the description, for when the visitor comes back to this tab
        self._run = shared.router.runs["describe"]
        self.restored = [self._picture, self.link, self._column, self._note, self._run]
        shared.models.change(_offer, shared.models, [*self._options, ask], **QUIET)
        self._connect(chosen, ask)

    def _draw_description(self) -> None:
        """Draw the components that show a description, hidden until there is a picture."""
        t = self._shared.t
        with gr.Column(visible=False) as self._column:
            self._sentence = gr.Textbox(label=t("description"), lines=2, buttons=["copy"], elem_id="sentence")
            self._search = gr.Button(t("search_with_description"), size="sm", elem_id="search_description")
            self._stop = gr.Button(t("stop"), size="sm", visible=False, elem_id="stop")
            tags = gr.Label(label=t("tags"), show_heading=False, elem_id="tags")
            colours = gr.Label(label=t("colours"), show_heading=False, elem_id="colours")
        self._note = gr.Markdown(t("describe_hint"), elem_classes="note", elem_id="describe_note")
        self._outputs = [self._sentence, tags, self._note, colours]

    def _connect(self, chosen: Callable[..., Any], ask: gr.Button) -> None:
        picture, (detail, question, language) = self._picture, self._options
        router, choice = self._shared.router, self._shared.collections.choice
        self._describe_on(picture.upload, api_name="describe")
        self._describe_on(chosen)
        self._describe_on(
            partial(gr.on, [question.submit, ask.click, detail.change, language.change, self._run.change])
        )
        states = [router.component, self.link, router.uploads]
        for trigger in (partial(gr.on, [picture.upload, picture.clear]), chosen):  # another picture has another link
            trigger(self._link_to, [picture, router.uploads, choice], states, **QUIET)
        picture.clear(self._clear, None, [self._column, self._note], cancels=self._events, **QUIET)
        self._stop.click(self._cancellations.stop, None, None, **QUIET)
        router.follow(self._search.click, self._search_link, self._sentence, choice)

    def _describe_on(self, trigger: Callable[..., Any], api_name: str = "") -> None:
        """Describe on `trigger`. With `api_name` the event is public, and a missing picture is an error."""
        api: dict[str, Any] = {"api_name": api_name} if api_name else {"api_visibility": "private"}
        handler = with_error_messages(self._describe, "describe", is_required=bool(api_name))
        inputs = [self._picture, *self._options]
        event = trigger(self._begin, self._picture, [self._column, self._stop], **QUIET).then(
            handler, inputs, self._outputs, show_progress_on=self._note, **api, **CAPTIONS
        )
        event.then(self._end, None, self._stop, **QUIET)
        event.failure(self._clear, None, [self._column, self._note], **QUIET)
        self._events.append(event)

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page; they run the description."""
        path = self._shared.pictures.asked(state, self._shared.collections, uploads, request)
        changes: dict[Any, Any] = {self._picture: path, self.link: state.to_link() if path else ""}
        if path:
            return changes | {self._run: new_run()}
        column, note = self._clear(request)
        return changes | {self._column: column, self._note: note}

    def _link_to(self, path: str | None, uploads: Uploads, collection: str) -> tuple[str, str, Uploads]:
        token = ""
        if path:
            uploads, token = uploads.remember(path)
        link = PageState("describe", upload=token, collection=self._shared.collections.named(collection)).to_link()
        return link, link if path else "", uploads

    def _search_link(self, sentence: str | None, collection: str) -> str | None:
        text = to_query(sentence or "")[:MAX_TEXT]
        state = PageState("search", text=text, collection=self._shared.collections.named(collection))
        return state.to_link() if text else None

    def _clear(self, request: gr.Request) -> tuple[Any, Any]:
        """Stop the description; return the values of column and note as before the first picture."""
        self._cancellations.stop(request)
        return gr.Column(visible=False), self._shared.t("describe_hint")

    def _begin(self, image: str | None, request: gr.Request) -> tuple[Any, Any]:
        self._cancellations.begin(request)
        has_captioner = bool(self._shared.collections.first.status.captioner)
        return gr.Column(visible=image is not None), gr.Button(visible=has_captioner)

    def _end(self, request: gr.Request) -> Any:
        return gr.Button(visible=self._cancellations.is_under_way(request))

    def _describe(
        self,
        image: str | None,
        detail: Detail,
        question: str | None,
        language: str,
        request: gr.Request,
        *,
        is_required: bool = False,
    ) -> Iterator[Any]:
        if image is None and not is_required:  # an option was changed before there was a picture
            self._cancellations.stop(request)
            yield (gr.skip(),) * len(self._outputs)
            return
        path = picture_path(image, request)
        with self._cancellations.as_latest(request) as stop:
            for description in self._shared.collections.first.describe_stream(
                self._shared.pictures.open_rgb(path, path.name, request),
                path.name,
                detail="question" if question else detail,
                question=question or "",
                language=language,
                stop=stop,
            ):
                bars: tuple[Bars, Bars] = {}, {}  # of all but colours, and of colours
                for tag in description.tags:
                    bars[tag.group == "colours"][tag_name(tag, language)] = tag.score
                yield description.caption, bars[0], f"{description.seconds:.2f} s", bars[1]


def _draw_options(t: gr.I18n) -> tuple[gr.Radio, gr.Textbox, gr.Radio]:
    """Draw the options of a captioner (detail, question, language), hidden until a model that takes them is loaded."""
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
    return detail, question, language


def _offer(models: tuple[str, str, bool], request: gr.Request) -> tuple[Any, ...]:
    """Show the options that the captioner takes; the visitor's language is the default."""
    _, captioner, takes_questions = models
    return (
        gr.Radio(visible=bool(captioner)),
        gr.Textbox(visible=takes_questions),
        gr.Radio(visible=takes_questions, value=language_of(request)),
        gr.Button(visible=takes_questions),
    )
