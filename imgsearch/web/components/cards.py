"""An answer as the page shows it: its cards, the lines above them, its files."""

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
    "weaker": "weaker_below",
    "nearest": "nearest_anyway",
}


@dataclass(frozen=True, eq=False)  # told apart by identity: a state's change is seen by its hash
class DisplayedResult:
    """What a tab shows: the question, and the answer without its thumbnails."""

    asked: PageState
    answer: SearchResult

    def hit(self, event: gr.EventData) -> Hit | None:
        """The hit that an event of the page names; None where another answer is shown by now."""
        return next((hit for hit in self.answer.hits if hit.item.id == event._data.get("id")), None)


def cards(answer: SearchResult, thumbnails: Sequence[bytes], request: gr.Request) -> dict[str, Any]:
    """What `hits.js` draws."""
    shown = [_card(hit, answer, thumbnail, request) for hit, thumbnail in zip(answer.hits, thumbnails, strict=True)]
    words = {name: tr(key, request) for name, key in WORDS.items()}
    return {"hits": shown, "words": words, "folded": bool(shown) and not answer.has_match}


def result_summary(answer: SearchResult, asked: PageState, request: gr.Request) -> str:
    """The lines above the hits, as HTML."""
    lines = []
    if answer.language:
        lines.append(foreign_notice(answer.language, request))
    if not answer.hits:
        lines.append(tr("no_hits_filtered" if asked.where else "no_more_hits", request))
    elif not answer.has_match:
        lines.append(tr("nothing_matches", request))
    stages = ", ".join(
        f"{tr(f'stage_{name}', request)} {format_number(seconds, request, 3)}"
        for name, seconds in answer.stages.items()
    )
    count = format_num_pictures(len(answer.hits), request)
    if answer.start and answer.hits:
        count = tr("page_of", request).format(answer.start + 1, answer.hits[-1].rank)
    lines.append(f"{count} · {format_number(answer.seconds, request, 2)} s ({stages})")
    if answer.cut:
        lines.append(tr("query_cut", request).format(sanitise_line(answer.cut)))
    return "<br>".join(map(html.escape, lines))


def as_csv(shown: DisplayedResult | None) -> tuple[str, str]:
    """The hits as CSV, and the name of the file."""
    return (shown.answer.to_csv() if shown else ""), "imgsearch.csv"


def as_json(shown: DisplayedResult | None) -> tuple[str, str]:
    """The answer as JSON, and the name of the file."""
    return json_text(shown.answer.to_json() if shown else {}), "imgsearch.json"


def _card(hit: Hit, answer: SearchResult, thumbnail: bytes, request: gr.Request) -> dict[str, Any]:
    copies = len(hit.near_duplicates)
    return {
        "id": hit.item.id,
        "src": data_url(thumbnail),
        "caption": caption_of(hit.item, request),
        "word": tr(hit.strength, request) if hit.strength else "",
        "strength": hit.strength or "",
        "share": _share(hit.score, answer.bounds),
        "score": format_number(hit.score, request, 2),
        "copies": f"+ {format_num_duplicates(copies, request)}" if copies else "",
    }


def _share(score: float, bounds: tuple[float, float] | None) -> int:
    """Percent of its bar that a score fills: a third where a hit becomes fair, two thirds where it becomes strong."""
    if bounds is None or bounds[1] <= bounds[0]:
        return 0
    return round(min(max((score - bounds[0]) / (bounds[1] - bounds[0]) / 3 + 1 / 3, 0.03), 1) * 100)
