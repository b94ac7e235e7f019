"""The three public endpoints, `/search`, `/similar` and `/describe`: hidden components for their inputs and answers.

The names, the order of the inputs and the number of the answers stay as they are, for the programs that call them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import gradio as gr

from imgsearch.describe.sentence import tag_name
from imgsearch.index.filters import MAX_CONDITIONS, MAX_LENGTH
from imgsearch.models.captioner import MAX_QUESTION, Detail
from imgsearch.search.query import Part, check_parts
from imgsearch.web.components.inputs import NumHits, QuietDropdown, QuietRadio, UploadedImage, picture_path
from imgsearch.web.components.wall import summary, tile
from imgsearch.web.handlers import CAPTIONS, PICTURES, TEXTS, with_error_messages
from imgsearch.web.i18n import LANGUAGES
from imgsearch.web.page_state import MAX_HITS, PageState, token_of
from imgsearch.web.retrieval import Retrieval

NUM_HITS = 12
PICTURE = "examples/skimage/coffee.jpg"
EXAMPLES = {"image": {"path": PICTURE, "url": PICTURE, "meta": {"_type": "gradio.FileData"}}, "text": "a red fruit"}


class ApiBlocks(gr.Blocks):
    """A `gr.Blocks` whose *Use via API* shows calls that work as they stand."""

    def get_api_info(self, *args: Any, **options: Any) -> Any:
        """Return Gradio's description of the public endpoints with these examples."""
        info = super().get_api_info(*args, **options)
        for about in info["named_endpoints"].values():
            for parameter in about["parameters"]:
                kind = parameter["python_type"]
                parameter["example_input"] = EXAMPLES.get(parameter["parameter_name"], parameter["parameter_default"])
                kind["type"] = kind["type"].replace("Literal[]", "str")  # of a menu that takes any text
        return info


def define_endpoints(retrieval: Retrieval) -> None:
    """Define the endpoints. With several collections the searches take the name of one, too."""
    names, default = retrieval.collections.names, retrieval.collections.default
    with gr.Column(visible=False):
        text, image = gr.Textbox(label="What to search for"), _draw_image()
        k = NumHits(1, MAX_HITS, NUM_HITS, step=1, label="Number of hits, at most 50")
        collection = QuietDropdown(names, value=default, label="Collection") if len(names) > 1 else gr.State(default)
        box = gr.Textbox("", label="Part of the picture: left, top, right, bottom in percent, such as 30, 10, 70, 60")
        where = gr.Dropdown(
            [], value=[], multiselect=True, allow_custom_value=True, label="Filters, such as subject=animals"
        )
        fold = gr.Checkbox(True, label="Fold near-duplicates into one")
        answers = [gr.JSON(label="answer"), gr.HTML(label="summary"), gr.JSON(label="cards"), gr.Textbox(label="link")]
        answers.append(gr.Textbox(label="scores"))  # once a drawing of the scores
        first, last = {"k": k, "collection": collection}, {"where": where, "fold": fold}
        find = Find(retrieval)
        _define("search", find.search, {"text": text, **first, **last}, answers, TEXTS)
        _define("similar", find.similar, {"image": image, **first, "box": box, **last}, answers, PICTURES)
        options = {
            "detail": QuietRadio(
                ["short", "detailed"],
                value="short",
                label="A short or a detailed description, for models that write both",
            ),
            "question": gr.Textbox(
                "", label="Question about the picture, for models that answer some", max_length=MAX_QUESTION
            ),
            "language": QuietRadio(list(LANGUAGES), value="en", label="Language of the answer"),
        }
        written = [gr.Textbox(label="description"), gr.Label(label="tags"), gr.Textbox(label="time")]
        written.append(gr.Label(label="colours"))
        _define("describe", find.describe, {"image": _draw_image(), **options}, written, CAPTIONS)


def _draw_image() -> UploadedImage:
    return UploadedImage(label="Picture", type="filepath", image_mode=None, sources=["upload"])


def _define(name: str, handler: Any, inputs: dict[str, Any], outputs: Sequence[Any], queue: dict[str, Any]) -> None:
    # The hidden button is never clicked: its event only gives clients the endpoint.
    handler = with_error_messages(handler, name)
    gr.Button(visible=False).click(handler, inputs_kwargs=inputs, outputs=list(outputs), api_name=name, **queue)


class Find:
    """The handlers of the endpoints; *Use via API* shows their docstrings."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval

    def search(self, request: gr.Request, text: str | None, **options: Any) -> tuple[Any, ...]:
        """Find the pictures of a collection that fit a text."""
        check_parts([Part(text=text or "")])
        return self._answers(PageState("search", text=text or "", **self._state(options)), {}, request)

    def similar(self, request: gr.Request, image: str | None, box: str | None, **options: Any) -> tuple[Any, ...]:
        """Find the pictures of a collection that are most similar to a picture."""
        path = picture_path(image, request)
        state = PageState("similar", upload=token_of(path), box=(box or "").strip(), **self._state(options))
        return self._answers(state, {state.upload: path}, request)

    def describe(
        self, request: gr.Request, image: str | None, detail: Detail, question: str | None, language: str
    ) -> Iterator[tuple[Any, ...]]:
        """Describe a picture."""
        path = picture_path(image, request)
        for description in self._retrieval.collections.first.describe_stream(
            self._retrieval.open_rgb(path, path.name, request),
            path.name,
            detail="question" if question else detail,
            question=question or "",
            language=language,
        ):
            bars: tuple[dict[str, float], dict[str, float]] = {}, {}  # of all but colours, and of colours
            for tag in description.tags:
                bars[tag.group == "colours"][tag_name(tag, language)] = tag.score
            yield description.caption, bars[0], f"{description.seconds:.2f} s", bars[1]

    def _state(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs that the searches share as fields of a PageState."""
        collection = self._retrieval.collections.named(options["collection"])
        filters = islice(options["where"] or (), MAX_CONDITIONS + 1)  # one more than a search takes, and refuses
        where = tuple(str(text)[: MAX_LENGTH + 1] for text in filters)
        return {"k": options["k"], "where": where, "fold": options["fold"], "collection": collection}

    def _answers(self, state: PageState, uploads: Any, request: gr.Request) -> tuple[Any, ...]:
        engine = self._retrieval.collections[state.collection]
        result = self._retrieval.find(state, uploads, request)
        tiles = [tile(hit, engine.thumbnail(hit.item), request) for hit in result.hits]
        return result.to_json(), summary(result, state, request), {"hits": tiles}, state.to_link(), ""
