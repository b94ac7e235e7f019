"""The three public endpoints, `/search`, `/similar` and `/describe`: hidden components for their inputs and answers.

The names, the order of the inputs and the number of the answers stay as they are, for the programs that call them.
With --mcp there are three tools of the same names for agents, which neither the page nor the endpoints know of.
"""

import functools
import html
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from threading import BoundedSemaphore
from typing import Any, TypeAlias

import gradio as gr
from gradio.events import api
from starlette.applications import Starlette
from starlette.routing import Mount

from imgsearch.describe.sentence import tag_name
from imgsearch.engine import Engine
from imgsearch.index.filters import MAX_CONDITIONS, MAX_LENGTH
from imgsearch.models.captioner import MAX_QUESTION, Detail
from imgsearch.records import Hit
from imgsearch.search.query import Part, check_parts
from imgsearch.text import json_text, truncate
from imgsearch.web import gradio_internals
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.inputs import NumHits, QuietDropdown, QuietRadio, UploadedImage, picture_path, sent_image
from imgsearch.web.components.wall import notices, shown_hits, summary, tile
from imgsearch.web.handlers import CAPTIONS, PICTURES, TEXTS, with_error_messages
from imgsearch.web.i18n import LANGUAGES, MAX_CAPTION, browser_translations, format_count
from imgsearch.web.page_state import MAX_HITS, PageState, Uploads, token_of
from imgsearch.web.retrieval import Retrieval
from imgsearch.web.security.decoder import Decoder

NUM_HITS = 12
AT_ONCE = BoundedSemaphore(4)  # calls of agents that are answered side by side
Filters: TypeAlias = list[str] | None
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
        text = gr.Textbox(label="What to search for")
        image = UploadedImage(label="Picture", type="filepath", image_mode=None, sources=["upload"])
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
        _define("describe", find.describe, {"image": image, **options}, written, CAPTIONS)


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
        state = PageState("search", text=text or "", **_shared_fields(self._retrieval, **options))
        return self._answers(state, {}, request)

    def similar(self, request: gr.Request, image: str | None, box: str | None, **options: Any) -> tuple[Any, ...]:
        """Find the pictures of a collection that are most similar to a picture."""
        path = picture_path(image, request)
        fields = _shared_fields(self._retrieval, **options)
        state = PageState("similar", upload=token_of(path), box=(box or "").strip(), **fields)
        return self._answers(state, {state.upload: path}, request)

    def describe(
        self, request: gr.Request, image: str | None, detail: Detail, question: str | None, language: str
    ) -> Iterator[tuple[Any, ...]]:
        """Describe a picture."""
        path = picture_path(image, request)
        for description in self._retrieval.collections.first.describe_stream(
            self._retrieval.open_rgb(path, request),
            path.name,
            detail="question" if question else detail,
            question=question or "",
            language=language,
        ):
            bars: tuple[dict[str, float], dict[str, float]] = {}, {}  # of all but colours, and of colours
            for tag in description.tags:
                bars[tag.group == "colours"][tag_name(tag, language)] = tag.score
            yield description.caption, bars[0], f"{description.seconds:.2f} s", bars[1]

    def _answers(self, state: PageState, uploads: Any, request: gr.Request) -> tuple[Any, ...]:
        engine = self._retrieval.collections[state.collection]
        result = self._retrieval.find(state, uploads, request)
        tiles = [tile(hit, engine.thumbnail(hit.item), request) for hit in result.hits]
        return result.to_json(), summary(result, state, request), {"hits": tiles}, state.to_link(), ""


def _shared_fields(retrieval: Retrieval, k: int, where: Filters, collection: str, fold: bool = True) -> dict[str, Any]:
    """Return the inputs that the searches share as fields of a PageState."""
    texts = islice(where or (), MAX_CONDITIONS + 1)  # one more than a search takes, and refuses
    filters = tuple(str(text)[: MAX_LENGTH + 1] for text in texts)
    name = retrieval.collections.named(collection)
    return {"k": min(k, MAX_HITS), "where": filters, "fold": fold, "collection": name}


def tool_server(engines: Sequence[Engine], decoder: Decoder) -> Starlette:
    """Return the MCP server of the tools, on a page that is never shown; it keeps nothing between two requests."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # its lines hold what strangers send
    with gr.Blocks(title="imgsearch") as page:
        tools = Tools(Retrieval(CollectionPicker(engines, browser_translations()), decoder))
        for tool in (tools.search, tools.similar, tools.describe):
            api(_with_plain_errors(tool), api_name=tool.__name__, queue=False)
    manager = StreamableHTTPSessionManager(gradio_internals.mcp_server(page), json_response=True, stateless=True)
    return Starlette(routes=[Mount("/", manager.handle_request)], lifespan=lambda _: manager.run())


def _with_plain_errors(tool: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(tool)  # keeps signature and docstring, of which Gradio makes the schema
    def answer(*args: Any) -> str:
        try:
            with AT_ONCE:
                return str(with_error_messages(tool, tool.__name__)(*args))
        except gr.Error as error:  # its text is HTML
            raise ValueError(html.unescape(error.message)) from None

    return answer


class Tools:
    """The tools for agents, which read their docstrings and get JSON."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval

    def search(self, request: gr.Request, text: str, k: int = 12, filters: Filters = None, collection: str = "") -> str:
        """Find pictures of a collection by what they show and by the words of their captions and columns.

        The answer says if nothing seems to match; `strength` says how well a hit does: strong, fair or weak.

        Args:
            text: what the pictures should show, such as "a red fruit"
            k: how many pictures, at most 50
            filters: conditions that all pictures meet, such as "subject=animals", "caption~cat" or "year:1990..2000"
            collection: name of the collection; empty for the first
        """
        check_parts([Part(text=text)])
        state = PageState("search", text=text, **_shared_fields(self._retrieval, k, filters, collection))
        return self._found(state, {}, request)

    def similar(
        self, request: gr.Request, picture: str, k: int = 12, filters: Filters = None, collection: str = ""
    ) -> str:
        """Find the pictures of a collection that are most like a picture. The answer has the form of that of search.

        Args:
            picture: id of a picture of the collection, or a picture itself in base64 or as a data URL
            k: how many pictures, at most 50
            filters: conditions that all pictures meet, such as "subject=animals", "caption~cat" or "year:1990..2000"
            collection: name of the collection; empty for the first
        """
        with sent_image(picture) as (field, uploads):
            state = PageState("similar", **field, **_shared_fields(self._retrieval, k, filters, collection))
            return self._found(state, uploads, request)

    def describe(self, request: gr.Request, picture: str, question: str = "", collection: str = "") -> str:
        """Describe a picture: a sentence, and the objects, scenes and colours in it with their shares from 0 to 1.

        Args:
            picture: id of a picture of the collection, or a picture itself in base64 or as a data URL
            question: a question about the picture, which only some models answer; empty for a description
            collection: name of the collection that the id is of; empty for the first
        """
        with sent_image(picture) as (field, uploads):
            state = PageState("describe", collection=collection, **field)
            image, name = self._retrieval.image(state, uploads, request)
            *_, description = self._retrieval.collections.first.describe_stream(
                image, name, detail="question" if question else "short", question=question
            )
        return json_text(description.to_json())

    def _found(self, state: PageState, uploads: Uploads, request: gr.Request) -> str:
        result, names = self._retrieval.find(state, uploads, request), self._retrieval.collections.names
        hits = shown_hits(result, state)
        answer = " ".join(notices(result, state, request)) or format_count("picture", len(hits), request)
        about = {"answer": answer, "collection": state.collection or names[0], "collections": names}
        return json_text(about | {"hits": [_small(hit) for hit in hits]})


def _small(hit: Hit) -> dict[str, Any]:
    columns = {name: truncate(text, MAX_CAPTION) for name, text in hit.item.columns.items() if text}
    return hit.to_json() | {"caption": truncate(hit.item.caption, MAX_CAPTION), "columns": columns}
