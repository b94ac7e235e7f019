"""The wall of pictures under the tabs: the collection at first, then the hits of a query, with all that was asked."""

import html
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gradio as gr

from imgsearch.errors import ImgsearchError
from imgsearch.records import TAKEN, WORDS_IN, Hit, SearchResult
from imgsearch.text import json_text, sanitise_line, truncate
from imgsearch.web.components.columns import offered_filters, offered_sorts, shown_fields, shown_filter, toggled
from imgsearch.web.components.scripted import data_url, scripted_html, server_function
from imgsearch.web.handlers import TEXTS, with_error_messages
from imgsearch.web.i18n import MAX_CAPTION, MAX_CHOICE, caption_of, format_count, format_number, tr
from imgsearch.web.page_state import PageState, QueryTerm, Uploads
from imgsearch.web.retrieval import Retrieval, asked
from imgsearch.web.security.request import MAX_PICTURE
from imgsearch.web.zips import Zips

WALL_ID = "wall"  # of the component in the page
MAX_SAVED = 1000  # hits in a file


class Wall:
    """The component; `answer` computes its value for a state of the page."""

    def __init__(self, retrieval: Retrieval, zips: Zips) -> None:
        self._retrieval, self._zips = retrieval, zips
        self.component = scripted_html(
            WALL_ID,
            f'<div class="wall" aria-busy="true" data-max-bytes="{MAX_PICTURE}"></div>',
            *("elements", "dialog", "wall"),
            server_functions=[server_function(self.item, str)],
            saved=None,
        )
        save = with_error_messages(self._saved, "export")
        self.component.download(save, None, self.component, api_visibility="private", **TEXTS)

    def answer(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[str, Any]:
        """Return the value for a state of the page; an error is a sentence in it."""
        value: dict[str, Any] = {
            "at": time.monotonic(),  # else an equal answer would be no change, of which the page is not told
            "link": state.to_link(),
            "collection": state.collection,
            "chips": list(self._chips(state, uploads, request)),
            "clear": PageState(state.tab, collection=state.collection).to_link(),
            **self._offers(state, request),
        }
        endpoint = state.tab if state.has_main or state.terms else "browse"
        try:
            answered: dict[str, Any] = with_error_messages(self._answered, endpoint)(state, uploads, request)
        except gr.Error as error:
            message = html.unescape(error.message)  # escaped for Gradio, which shows it as HTML
            answered = {"error": "" if state.tab == "describe" else message}  # there the description says it
        return value | answered

    def _saved(self, event: gr.EventData, request: gr.Request) -> Any:
        """Return the update with the hits of a link, or the chosen ones, as a file: its name, its text or its path."""
        state, uploads = asked(event)
        kind, count, ids = (getattr(event, name, None) for name in ("kind", "count", "ids"))  # count: of those shown
        if isinstance(count, int):
            state = replace(state, k=min(max(count, 1) + len(state.items), MAX_SAVED))
        result = self._retrieval.find(state, uploads, request)
        hits = shown_hits(result, state)[: state.k - len(state.items)]
        if chosen := {text for text in ids if isinstance(text, str)} if isinstance(ids, list) else set():
            hits = [hit for hit in hits if hit.item.id in chosen]
        result = replace(result, hits=hits)
        if kind == "zip":
            path = self._zips.make(result, self._retrieval.collections[state.collection], request)
            return gr.HTML(saved=[path.name, "", str(path)])
        text = result.to_csv() if kind == "csv" else json_text(result.to_json())
        return gr.HTML(saved=[f"imgsearch.{'csv' if kind == 'csv' else 'json'}", text])

    def _answered(self, state: PageState, uploads: Uploads, request: gr.Request) -> dict[str, Any]:
        engine = self._retrieval.collections[state.collection]
        result = self._retrieval.find(state, uploads, request)
        hits = shown_hits(result, state)
        following = replace(state, start=result.following).to_link() if result.following else ""
        tiles = [tile(hit, engine.thumbnail(hit.item), request) for hit in hits]
        if state.sort.removeprefix("-") == TAKEN:  # then the days divide them
            dates = [{"taken": truncate(hit.item.columns.get(TAKEN, ""), MAX_CAPTION)} for hit in hits]
            tiles = [one | date for one, date in zip(tiles, dates, strict=True)]
        return {
            "notices": notices(result, state, request),
            "count": _count(result, hits, state, request),
            "time": _time(result, request),
            "hits": tiles,
            "likely": sum(hit.is_likely for hit in hits),  # they are the first
            "start": state.start,
            "following": following,
        }

    def _offers(self, state: PageState, request: gr.Request) -> dict[str, Any]:
        """Return filters and orders to choose from, with links, also where an answer fails; {} without a collection."""
        with suppress(ImgsearchError):
            columns = self._retrieval.collections[state.collection].index.columns
            return {
                "filters": offered_filters(columns, state, request),
                "sorts": offered_sorts(columns, state, request),
                "fold": {"on": state.fold, "link": replace(state, fold=not state.fold, start=0).to_link()},
            }
        return {}

    def _chips(self, state: PageState, uploads: Uploads, request: gr.Request) -> Iterator[dict[str, Any]]:
        """Yield what was asked: the main part, the other parts and the filters, each with the link without it."""
        if state.text.strip():
            yield {"label": state.text.strip(), "without": state.without_main().to_link()}
        if state.item or state.upload:
            main = QueryTerm("item", state.item) if state.item else QueryTerm("upload", state.upload)
            yield self._picture_chip(main, state, uploads, request) | {"without": state.without_main().to_link()}
        if state.box:
            yield {"label": tr("box", request).format(state.box), "without": replace(state, box="").to_link()}
        for term in state.terms:
            others = tuple(other for other in state.terms if other is not term)
            chip = {"label": term.value} if term.kind == "text" else self._picture_chip(term, state, uploads, request)
            sign = "more_like" if term.weight > 0 else "less_like"
            yield chip | {"sign": tr(sign, request), "without": replace(state, terms=others, start=0).to_link()}
        for text in state.where:
            yield {"label": shown_filter(text, request), "without": toggled(state, text).to_link()}

    def _picture_chip(self, term: QueryTerm, state: PageState, uploads: Uploads, request: gr.Request) -> dict[str, str]:
        if term.kind == "upload":
            return {"label": uploads[term.value].name if term.value in uploads else tr("picture", request)}
        engine = self._retrieval.collections[state.collection]
        try:
            item = engine.index.item_by_id(term.value)
            return {"label": caption_of(item, request), "src": data_url(engine.thumbnail(item))}
        except ImgsearchError:
            return {"label": truncate(term.value, MAX_CAPTION)}  # the search will report it

    def item(self, collection: str, item_id: str, request: gr.Request) -> dict[str, Any]:
        """Return picture and fields of an item. Raise InputError if there is none."""
        engine = self._retrieval.collections[collection]
        found = engine.index.item_by_id(item_id)
        picture = data_url(engine.large_picture(item_id))
        return {"src": picture, "caption": caption_of(found, request), "fields": shown_fields(found, request)}


def shown_hits(result: SearchResult, state: PageState) -> list[Hit]:
    """Return the hits without the parts of the query themselves, which are no answers."""
    return [hit for hit in result.hits if hit.item.id not in state.items]


def tile(hit: Hit, thumbnail: bytes, request: gr.Request) -> dict[str, Any]:
    """Return what the page shows of a hit; `thumbnail` is WebP."""
    copies = len(hit.near_duplicates)
    strong = [tr("strong", request)] * (hit.strength == "strong")
    told = (reason.partition(":") for reason in hit.reasons)
    reasons = {kind: tr(f"why_{kind}", request).format(truncate(part, MAX_CHOICE)) for kind, _, part in told}
    places = [words for kind, words in reasons.items() if kind in WORDS_IN]
    return {
        "id": hit.item.id,
        "row": hit.row,
        "src": data_url(thumbnail),
        "caption": caption_of(hit.item, request),
        "mark": " · ".join([*strong, *places[:1]]),  # on the tile: "best match · in the caption"
        "why": " · ".join([*strong, *reasons.values()]),
        "copies": f"+ {format_count('copy', copies, request)}" if copies else "",
    }


def notices(result: SearchResult, state: PageState, request: gr.Request) -> list[str]:
    """Return the sentences above the hits."""
    notices = []
    if result.language:
        notices.append(tr("foreign_query", request).format(tr(f"language_{result.language}", request)))
    if not result.hits:
        notices.append(tr("no_hits_filtered" if state.where else "no_more_hits", request))
    elif not result.has_match:
        notices.append(tr("nothing_matches" if state.tab == "search" else "nothing_alike", request))
    if result.cut:
        notices.append(tr("query_cut", request).format(sanitise_line(result.cut)))
    return notices


def summary(result: SearchResult, state: PageState, request: gr.Request) -> str:
    """Return how many hits there are, in what time, and the notices, as HTML."""
    count = format_count("picture", len(result.hits), request)
    lines = [*notices(result, state, request), f"{count} · {_time(result, request)}"]
    return "<br>".join(map(html.escape, lines))


def _count(result: SearchResult, hits: Sequence[Hit], state: PageState, request: gr.Request) -> str:
    if not state.has_main and not state.terms:
        return tr("collection_shown", request) if hits else ""
    if not result.has_match and state.tab == "search":
        return ""
    count = format_count("picture", state.start + len(hits), request)
    return tr("similar_pictures", request).format(count) if state.tab == "describe" else count


def _time(result: SearchResult, request: gr.Request) -> str:
    """Return the seconds of an answer, and of its stages."""
    stages = (
        f"{tr(f'stage_{name}', request)} {format_number(value, request, 3)}" for name, value in result.stages.items()
    )
    shown = f" ({', '.join(stages)})" if result.stages else ""
    return f"{format_number(result.seconds, request, 2)} s{shown}"
