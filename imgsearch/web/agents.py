"""The tools for agents (--mcp), `search`, `similar` and `describe`: an MCP server over a page that is never shown.

So neither the page nor the API has anything of them. Agents read the docstrings of the tools; the answers are JSON.
"""

import base64
import functools
import html
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import gradio as gr
from gradio.events import api
from starlette.applications import Starlette
from starlette.routing import Mount

from imgsearch.engine import Engine
from imgsearch.images import is_picture
from imgsearch.index.filters import MAX_CONDITIONS, MAX_LENGTH
from imgsearch.records import Hit
from imgsearch.search.query import Part, check_parts
from imgsearch.text import json_text, truncate
from imgsearch.web import gradio_internals
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.inputs import upload_folder
from imgsearch.web.components.wall import notices, shown_hits
from imgsearch.web.handlers import with_error_messages
from imgsearch.web.i18n import MAX_CAPTION, browser_translations, caption_of, format_count, tr
from imgsearch.web.page_state import MAX_HITS, PageState, Tab, Uploads, token_of
from imgsearch.web.retrieval import Retrieval
from imgsearch.web.security.decoder import Decoder

MAX_COLUMNS = 20  # of a hit
MAX_ID = 4096  # characters
Filters: TypeAlias = list[str] | None


def agent_server(engines: Sequence[Engine], decoder: Decoder) -> Starlette:
    """Return the server of the tools. It keeps nothing between two requests, and answers each in one piece."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # its lines hold what strangers send
    with gr.Blocks(title="imgsearch") as page:
        tools = Tools(Retrieval(CollectionPicker(engines, browser_translations()), decoder))
        for tool in (tools.search, tools.similar, tools.describe):
            api(_with_plain_errors(tool), api_name=tool.__name__, queue=False)
    server = gradio_internals.mcp_server(page)
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
    return Starlette(routes=[Mount("/", manager.handle_request)], lifespan=lambda _: manager.run())


def _with_plain_errors(tool: Callable[..., str]) -> Callable[..., str]:
    logged = with_error_messages(tool, tool.__name__)

    @functools.wraps(tool)  # keeps the signature and the docstring, of which Gradio makes the schema
    def answer(*args: Any) -> str:
        try:
            return str(logged(*args))
        except gr.Error as error:  # its text is HTML
            raise ValueError(html.unescape(error.message)) from None

    return answer


class Tools:
    """The tools. Each raises gr.Error or ImgsearchError."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval

    def search(
        self, request: gr.Request, text: str, count: int = 12, filters: Filters = None, collection: str = ""
    ) -> str:
        """Find pictures of a collection by a text: by what they show, and by the words of their captions and columns.

        The answer says if nothing seems to match. Each hit has an id, a caption, columns and how well it matches.

        Args:
            text: what the pictures should show, such as "a red fruit"
            count: how many pictures, at most 50
            filters: conditions that all pictures meet, such as "subject=animals", "caption~cat" or "year:1990..2000"
            collection: name of the collection; empty for the first one
        """
        check_parts([Part(text=text)])
        return self._found(self._state("search", collection, count, filters, text=text), {}, request)

    def similar(
        self, request: gr.Request, picture: str, count: int = 12, filters: Filters = None, collection: str = ""
    ) -> str:
        """Find the pictures of a collection that are most like a picture. The answer has the form of that of search.

        Args:
            picture: id of a picture of the collection, or a picture itself in base64 or as a data URL
            count: how many pictures, at most 50
            filters: conditions that all pictures meet, such as "subject=animals", "caption~cat" or "year:1990..2000"
            collection: name of the collection; empty for the first one
        """
        state = self._state("similar", collection, count, filters)
        with self._with_picture(state, picture) as (state, uploads):
            return self._found(state, uploads, request)

    def describe(self, request: gr.Request, picture: str, question: str = "", collection: str = "") -> str:
        """Describe a picture: a sentence, and the objects, scenes and colours in it with their shares from 0 to 1.

        Args:
            picture: id of a picture of the collection, or a picture itself in base64 or as a data URL
            question: a question about the picture, which only some models answer; empty for a description
            collection: name of the collection that the id is of; empty for the first one
        """
        with self._with_picture(self._state("describe", collection), picture) as (state, uploads):
            image, name = self._retrieval.image(state, uploads, request)
            *_, description = self._retrieval.collections.first.describe_stream(
                image, name, detail="question" if question else "short", question=question
            )
        return json_text(description.to_json())

    def _state(self, tab: Tab, collection: str, count: int = 1, filters: Filters = None, **fields: Any) -> PageState:
        names = self._retrieval.collections.names
        if collection not in ("", *names):
            raise gr.Error(tr("unknown_collection", None).format(truncate(collection, MAX_CAPTION), ", ".join(names)))
        where = tuple(text[: MAX_LENGTH + 1] for text in (filters or [])[: MAX_CONDITIONS + 1])
        return PageState(tab, k=min(max(count, 1), MAX_HITS), where=where, collection=collection, **fields)

    @contextmanager
    def _with_picture(self, state: PageState, picture: str) -> Iterator[tuple[PageState, Uploads]]:
        """Yield the state with the picture that an agent sends, which is a file meanwhile, or whose id it gives."""
        if not picture:
            raise gr.Error(tr("no_picture", None))
        data = b""
        with suppress(ValueError):
            data = base64.b64decode(picture.partition(",")[2] if picture.startswith("data:") else picture)
        if not is_picture(data):
            yield replace(state, item=picture[:MAX_ID]), {}  # the engine says so if there is none
            return
        with TemporaryDirectory(dir=upload_folder()) as folder:
            path = Path(folder) / "picture"
            path.write_bytes(data)
            yield replace(state, upload=token_of(path)), {token_of(path): path}

    def _found(self, state: PageState, uploads: Uploads, request: gr.Request) -> str:
        result = self._retrieval.find(state, uploads, request)
        hits = shown_hits(result, state)
        answer = notices(result, state, request) or [format_count("picture", len(hits), request)]
        return json_text({"answer": " ".join(answer), "hits": [_shown(hit, request) for hit in hits]})


def _shown(hit: Hit, request: gr.Request) -> dict[str, Any]:
    """Return what an agent is told of a hit."""
    columns = [(name, text) for name, text in hit.item.columns.items() if text][:MAX_COLUMNS]
    return {
        "id": hit.item.id,
        "caption": caption_of(hit.item, request),
        "match": hit.strength,
        "in_caption": bool(hit.words),
        "near_duplicates": len(hit.near_duplicates),
        "columns": {truncate(name, MAX_CAPTION): truncate(text, MAX_CAPTION) for name, text in columns},
    }
