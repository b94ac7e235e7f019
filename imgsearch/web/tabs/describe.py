"""The tab "describe": takes a picture, shows a sentence while it is written, tags and colours as bars, and the time."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import gradio as gr

from imgsearch.describe.sentence import tag_name, to_query
from imgsearch.engine import Engine
from imgsearch.models.captioner import MAX_QUESTION, Detail
from imgsearch.search.query import MAX_TEXT
from imgsearch.web.cancellation import Cancellations
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.examples import Examples
from imgsearch.web.components.upload import draw_upload, picture_path
from imgsearch.web.handlers import CAPTIONS, QUIET, with_error_messages
from imgsearch.web.i18n import LANGUAGES, language_of
from imgsearch.web.page_state import NavigationRequest, PageState, Uploads
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router

Bars: TypeAlias = dict[str, float]  # tag -> score 0..1


class DescribeTab:
    """The components of the tab and their events."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, router: Router, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw the components in the current layout and connect their events."""
        self._collections, self._pictures, self._t = collections, pictures, t
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = self._picture = draw_upload("describe", t)
                examples = Examples(models, "describe_picture")
                detail, question, language = options = _draw_options(t)
                ask = gr.Button(t("ask"), size="sm", visible=False, elem_id="ask")
            with gr.Column(scale=3, min_width=300):
                view = self._view = DescriptionView(collections.first, pictures, t)
        self.link = gr.State("")  # hidden: the link to the description, for when the visitor comes back to this tab
        self.restored = [picture, self.link, view.column, view.note]
        inputs = self._inputs = [picture, *options]
        models.change(_offer, models, [*options, ask], **QUIET)
        view.connect(picture.upload, inputs, api_name="describe")
        chosen = examples.connect(picture)
        for trigger in (chosen, question.submit, ask.click, detail.change, language.change):
            view.connect(trigger, inputs)
        for trigger in (picture.upload, chosen, picture.clear):  # another picture has another link
            states = [router.component, self.link, router.uploads]
            trigger(self._link, [picture, router.uploads, collections.choice], states, **QUIET)
        picture.clear(view.clear, None, [view.column, view.note], cancels=view.events, **QUIET)
        router.follow(view.search.click, self._search_link, view.sentence, collections.choice)

    def restore(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[Any, Any]:
        """Return the new values of the components for a state of the page."""
        path = self._pictures.asked(state, self._collections, uploads, request)
        changes: dict[Any, Any] = {self._picture: path, self.link: state.to_link() if path else ""}
        if path is None:
            column, note = self._view.clear(request)
            changes |= {self._view.column: column, self._view.note: note}
        return changes

    def _link(self, path: str | None, uploads: Uploads, collection: str) -> tuple[str, str, Uploads]:
        token = ""
        if path:
            uploads, token = uploads.remember(path)
        link = PageState("describe", upload=token, collection=self._collections.named(collection)).to_link()
        return link, link if path else "", uploads

    def _search_link(self, sentence: str | None, collection: str) -> str | None:
        text = to_query(sentence or "")[:MAX_TEXT]
        return (
            PageState("search", text=text, collection=self._collections.named(collection)).to_link() if text else None
        )

    def follow(self, trigger: Callable[..., Any], navigation: gr.State) -> Any:
        """On `trigger`, describe the picture if the link in `navigation` belongs to this tab. Return the event."""
        return self._view.follow(trigger, self._inputs, navigation)


def _draw_options(t: gr.I18n) -> tuple[gr.Radio, gr.Textbox, gr.Radio]:
    """Draw the options of a captioner (detail, question, language), hidden until a model that takes them is loaded."""
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
        visible=False,
        elem_id="question",
    )
    languages = [(name, code) for code, name in LANGUAGES.items()]
    language = gr.Radio(languages, value="en", label=t("language"), visible=False, elem_id="language")
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


class DescriptionView:
    """The components that show a description, and the handlers that fill them."""

    def __init__(self, engine: Engine, pictures: PictureFiles, t: gr.I18n) -> None:
        """Draw the components in the current layout, hidden until there is a picture."""
        self._engine, self._pictures, self._t = engine, pictures, t
        self._cancellations = Cancellations()
        self.events: list[Any] = []
        with gr.Column(visible=False) as self.column:
            sentence = gr.Textbox(label=t("description"), lines=2, buttons=["copy"], elem_id="sentence")
            self.search = gr.Button(t("search_with_description"), size="sm", elem_id="search_description")
            self._stop = gr.Button(t("stop"), size="sm", visible=False, elem_id="stop")
            tags = gr.Label(label=t("tags"), show_heading=False, elem_id="tags")
            colours = gr.Label(label=t("colours"), show_heading=False, elem_id="colours")
        self.note = gr.Markdown(t("describe_hint"), elem_classes="note", elem_id="describe_note")
        self.sentence = sentence
        self._outputs = [sentence, tags, self.note, colours]
        self._stop.click(self._cancellations.stop, None, None, **QUIET)

    def connect(self, trigger: Callable[..., Any], inputs: list[Any], api_name: str = "") -> None:
        """Describe on `trigger`. With `api_name` the event is public, and a missing picture is an error."""
        api = {"api_name": api_name} if api_name else {"api_visibility": "private"}
        handler = self._describe if api_name else self._describe_again
        event = trigger(self._begin, inputs[0], [self.column, self._stop], **QUIET).then(
            with_error_messages(handler), inputs, self._outputs, show_progress_on=self.note, **api, **CAPTIONS
        )
        event.then(self._end, None, self._stop, **QUIET)
        event.failure(self.clear, None, [self.column, self.note], **QUIET)
        self.events.append(event)

    def follow(self, trigger: Callable[..., Any], inputs: list[Any], navigation: gr.State) -> Any:
        """On `trigger`, describe the picture if the link in `navigation` belongs to this tab. Return the event."""

        def begin(image: str | None, navigation: NavigationRequest, request: gr.Request) -> tuple[Any, Any]:
            return self._begin(image, request) if _is_own(navigation) else (gr.skip(), gr.skip())

        def describe(
            image: str | None,
            detail: Detail,
            question: str | None,
            language: str,
            navigation: NavigationRequest,
            request: gr.Request,
        ) -> Iterator[Any]:
            if _is_own(navigation):
                yield from self._describe_again(image, detail, question, language, request)
            else:
                yield (gr.skip(),) * len(self._outputs)

        options = CAPTIONS | {"show_progress_on": self.note, "api_visibility": "private"}
        began = trigger(begin, [inputs[0], navigation], [self.column, self._stop], **QUIET)
        event = began.then(with_error_messages(describe), [*inputs, navigation], self._outputs, **options)
        event.failure(self.clear, None, [self.column, self.note], **QUIET)
        self.events.append(event)
        return event.then(self._end, None, self._stop, **QUIET)

    def clear(self, request: gr.Request) -> tuple[Any, Any]:
        """Stop the description; return the values of column and note as before the first picture."""
        self._cancellations.stop(request)
        return gr.Column(visible=False), self._t("describe_hint")

    def _begin(self, image: str | None, request: gr.Request) -> tuple[Any, Any]:
        self._cancellations.begin(request)
        return gr.Column(visible=image is not None), gr.Button(visible=bool(self._engine.status.captioner))

    def _end(self, request: gr.Request) -> Any:
        return gr.Button(visible=self._cancellations.is_under_way(request))

    def _describe(
        self, image: str | None, detail: Detail, question: str | None, language: str, request: gr.Request
    ) -> Iterator[tuple[str, Bars, str, Bars]]:
        path = picture_path(image, request)
        effective_detail: Detail = "question" if question else detail
        with self._cancellations.as_latest(request) as stop:
            for description in self._engine.describe_stream(
                self._pictures.open_rgb(path, path.name),
                path.name,
                detail=effective_detail,
                question=question or "",
                language=language,
                stop=stop,
            ):
                bars, colour_bars = (
                    {
                        tag_name(tag, language): tag.score
                        for tag in description.tags
                        if (tag.group == "colours") == is_colour
                    }
                    for is_colour in (False, True)
                )
                yield description.caption, bars, f"{description.seconds:.2f} s", colour_bars

    def _describe_again(
        self, image: str | None, detail: Detail, question: str | None, language: str, request: gr.Request
    ) -> Iterator[Any]:
        if image is None:  # an option was changed before there was a picture
            self._cancellations.stop(request)
            yield (gr.skip(),) * len(self._outputs)
        else:
            yield from self._describe(image, detail, question, language, request)


def _is_own(navigation: NavigationRequest) -> bool:
    return bool(navigation[1]) and PageState.from_link(navigation[0]).tab == "describe"
