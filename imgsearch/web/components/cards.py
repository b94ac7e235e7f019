"""Turn a SearchResult into what the page shows: cards, the lines above them, CSV and JSON files."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from imgsearch.records import Hit, SearchResult
from imgsearch.text import json_text, sanitise_line
from imgsearch.web.components.refine import data_url
from imgsearch.web.i18n import caption_of, foreign_notice, format_num_duplicates, format_num_pictures, format_number, tr
from imgsearch.web.page_state import PageState

WORDS = {
    "more": "more_like",
    "less": "less_like",
    "similar": "similar_to_this",
    "describe": "describe_this",
    "unlikely": "less_likely",
    "nearest": "nearest_anyway",
}


@dataclass(frozen=True, eq=False)  # hashed by identity, so that each new result is a change of its gr.State
class DisplayedResult:
    """Holds the state that a visitor asked for and its result, without the thumbnails, while a tab shows them."""

    state: PageState
    result: SearchResult

    def hit(self, event: gr.EventData) -> Hit | None:
        """Return the hit whose id is in the event; None if another result is displayed by now."""
        return next((hit for hit in self.result.hits if hit.item.id == getattr(event, "id", None)), None)


def cards(result: SearchResult, thumbnails: Sequence[bytes], state: PageState, request: gr.Request) -> dict[str, Any]:
    """Return the value that `hits.js` draws: one card per hit, in order; `thumbnails` are WebP.

    Hits that do not match a text are folded away; what is nearest to a picture is always shown.
    """
    drawn = [_card(hit, result, thumbnail, request) for hit, thumbnail in zip(result.hits, thumbnails, strict=True)]
    words = {name: tr(key, request) for name, key in WORDS.items()}
    folded = bool(drawn) and not result.has_match and state.tab == "search"
    return {"hits": drawn, "words": words, "likely": 0 if folded else _num_likely(result.hits), "folded": folded}


def result_summary(result: SearchResult, state: PageState, request: gr.Request) -> str:
    """Return the lines above the hits as HTML."""
    lines = []
    if result.language:
        lines.append(foreign_notice(result.language, request))
    if not result.hits:
        lines.append(tr("no_hits_filtered" if state.where else "no_more_hits", request))
    elif not result.has_match:
        lines.append(tr("nothing_matches" if state.tab == "search" else "nothing_alike", request))
    stages = ", ".join(
        f"{tr(f'stage_{name}', request)} {format_number(seconds, request, 3)}"
        for name, seconds in result.stages.items()
    )
    count = format_num_pictures(len(result.hits), request)
    if result.start and result.hits:
        count = tr("page_of", request).format(result.start + 1, result.hits[-1].rank)
    lines.append(f"{count} · {format_number(result.seconds, request, 2)} s ({stages})")
    if result.cut:
        lines.append(tr("query_cut", request).format(sanitise_line(result.cut)))
    return "<br>".join(map(html.escape, lines))


def as_csv(displayed: DisplayedResult | None) -> tuple[str, str]:
    """Return the hits as CSV and the name of the file."""
    return (displayed.result.to_csv() if displayed else ""), "imgsearch.csv"


def as_json(displayed: DisplayedResult | None) -> tuple[str, str]:
    """Return the result as JSON and the name of the file."""
    return json_text(displayed.result.to_json() if displayed else {}), "imgsearch.json"


def _num_likely(hits: Sequence[Hit]) -> int:
    """Return how many hits stand above "less likely": to the last best match or, without one, the last fair."""
    strengths = [hit.strength for hit in hits]
    for strength in ("strong", "fair"):
        if strength in strengths:
            return len(hits) - strengths[::-1].index(strength)
    return len(hits)


def _card(hit: Hit, result: SearchResult, thumbnail: bytes, request: gr.Request) -> dict[str, Any]:
    copies = len(hit.near_duplicates)
    return {
        "id": hit.item.id,
        "src": data_url(thumbnail),
        "caption": caption_of(hit.item, request),
        "word": _reason(hit, request),
        "strength": hit.strength or "",
        "share": _share(hit.score, result.bounds),
        "score": format_number(hit.score, request, 2),
        "copies": f"+ {format_num_duplicates(copies, request)}" if copies else "",
    }


def _reason(hit: Hit, request: gr.Request) -> str:
    """Return why a hit is shown where it is, "" if there is nothing to say: "best match · in the caption"."""
    keys = ["strong"] * (hit.strength == "strong") + ["in_caption"] * bool(hit.words)
    return " · ".join(tr(key, request) for key in keys)


def _share(score: float, bounds: tuple[float, float] | None) -> int:
    """Return how many percent of its bar a score fills: one third at the fair bound, two thirds at the strong bound."""
    if bounds is None or bounds[1] <= bounds[0]:
        return 0
    return round(min(max((score - bounds[0]) / (bounds[1] - bounds[0]) / 3 + 1 / 3, 0.03), 1) * 100)
