"""An answer as the page shows it: its cards, the lines above them, its files."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from imgsearch.records import Answer, Hit
from imgsearch.text import json_text, plain
from imgsearch.web.components.refine import data_url
from imgsearch.web.i18n import caption_of, foreign_notice, num_copies, num_pictures, number, word
from imgsearch.web.page_state import Asked

WORDS = {
    "more": "more_like",
    "less": "less_like",
    "similar": "similar_to_this",
    "describe": "describe_this",
    "weaker": "weaker_below",
    "nearest": "nearest_anyway",
}


@dataclass(frozen=True, eq=False)  # told apart by identity: a state's change is seen by its hash
class Shown:
    """What a tab shows: the question, and the answer without its thumbnails."""

    asked: Asked
    answer: Answer

    def hit(self, event: gr.EventData) -> Hit | None:
        """The hit that an event of the page names; None where another answer is shown by now."""
        return next((hit for hit in self.answer.hits if hit.item.id == event._data.get("id")), None)


def cards(answer: Answer, thumbnails: Sequence[bytes], request: gr.Request) -> dict[str, Any]:
    """What `hits.js` draws."""
    shown = [_card(hit, answer, thumbnail, request) for hit, thumbnail in zip(answer.hits, thumbnails, strict=True)]
    words = {name: word(key, request) for name, key in WORDS.items()}
    return {"hits": shown, "words": words, "folded": bool(shown) and not answer.has_match}


def note(answer: Answer, asked: Asked, request: gr.Request) -> str:
    """The lines above the hits, as HTML."""
    lines = []
    if answer.language:
        lines.append(foreign_notice(answer.language, request))
    if not answer.hits:
        lines.append(word("no_hits_filtered" if asked.where else "no_more_hits", request))
    elif not answer.has_match:
        lines.append(word("nothing_matches", request))
    stages = ", ".join(
        f"{word(f'stage_{name}', request)} {number(seconds, request, 3)}" for name, seconds in answer.stages.items()
    )
    count = num_pictures(len(answer.hits), request)
    if answer.start and answer.hits:
        count = word("page_of", request).format(answer.start + 1, answer.hits[-1].rank)
    lines.append(f"{count} · {number(answer.seconds, request, 2)} s ({stages})")
    if answer.cut:
        lines.append(word("query_cut", request).format(plain(answer.cut)))
    return "<br>".join(map(html.escape, lines))


def as_csv(shown: Shown | None) -> tuple[str, str]:
    """The hits as CSV, and the name of the file."""
    return (shown.answer.to_csv() if shown else ""), "imgsearch.csv"


def as_json(shown: Shown | None) -> tuple[str, str]:
    """The answer as JSON, and the name of the file."""
    return json_text(shown.answer.to_json() if shown else {}), "imgsearch.json"


def _card(hit: Hit, answer: Answer, thumbnail: bytes, request: gr.Request) -> dict[str, Any]:
    copies = len(hit.near_duplicates)
    return {
        "id": hit.item.id,
        "src": data_url(thumbnail),
        "caption": caption_of(hit.item, request),
        "word": word(hit.strength, request) if hit.strength else "",
        "strength": hit.strength or "",
        "share": _share(hit.score, answer.bounds),
        "score": number(hit.score, request, 2),
        "copies": f"+ {num_copies(copies, request)}" if copies else "",
    }


def _share(score: float, bounds: tuple[float, float] | None) -> int:
    """Percent of its bar that a score fills: a third where a hit becomes fair, two thirds where it becomes strong."""
    if bounds is None or bounds[1] <= bounds[0]:
        return 0
    return round(min(max((score - bounds[0]) / (bounds[1] - bounds[0]) / 3 + 1 / 3, 0.03), 1) * 100)
