"""The hits of a query, as both search tabs show them: judged cards, pages of them, and what became of the query."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.filters import Condition
from imgsearch.query import Part
from imgsearch.records import Answer, Hit
from imgsearch.tabs.address import Address
from imgsearch.tabs.asked import Asked, Tab
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.handlers import QUIET, SEARCHES, guarded
from imgsearch.tabs.insight import histogram
from imgsearch.tabs.languages import caption_of, num_copies, num_pictures, number, word
from imgsearch.tabs.picked import Picked, Pictures
from imgsearch.tabs.refinement import data_url

SCRIPT = Path(__file__).parent / "hits.js"
SAVE = """(text, name) => {
  const link = document.createElement('a');
  link.download = name;
  link.href = URL.createObjectURL(new Blob([text]));
  link.click();
  URL.revokeObjectURL(link.href);
}"""
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

    def hit(self, number: Any) -> Hit | None:
        """The hit that an event of the page names."""
        hits = self.answer.hits
        return hits[number] if isinstance(number, int) and 0 <= number < len(hits) else None


class Results:
    """The components; `show` fills them."""

    def __init__(self, collections: Collections, pictures: Pictures, address: Address, name: Tab, t: gr.I18n) -> None:
        """Draw them in the current layout: hidden until there are hits, but for a hint."""
        self._collections, self._address, self._name, self._t = collections, address, name, t
        self.shown = gr.State(None)
        self.link = gr.State("")
        self.picked = Picked(collections, pictures, address, name, t)
        self._note = gr.Markdown(t(f"{name}_hint"), elem_classes="note", elem_id=f"{name}_note")
        self.hits = gr.HTML(
            {},
            html_template='<div class="hits"></div>',
            js_on_load=SCRIPT.read_text("utf-8"),
            padding=False,
            apply_default_css=False,
            elem_id=f"{name}_hits",
        )
        with gr.Row(visible=False, elem_classes="buttons", elem_id=f"{name}_pages") as self._pages:
            self._previous = gr.Button(t("previous_page"), size="sm", elem_id=f"{name}_previous")
            self._next = gr.Button(t("next_page"), size="sm", elem_id=f"{name}_next")
        with gr.Accordion(t("scores_title"), open=False, visible=False, elem_id=f"{name}_insight") as self._insight:
            self._scores = gr.HTML(padding=False)
            with gr.Row(elem_classes="buttons"):
                csv = gr.Button(t("export_csv"), size="sm", elem_id=f"{name}_csv")
                jsn = gr.Button(t("export_json"), size="sm", elem_id=f"{name}_json")
        self._json = gr.JSON(visible=False)  # for the API
        self._start, self._starts = gr.State(0), gr.State([0])  # of this page, and of all up to it
        self._go = gr.State(0.0)  # its change is the event of a link that was followed
        self.restored = [self._start, self._starts, self._go]
        self.outputs = [
            self._json,
            self._note,
            self.hits,
            address.component,
            self._scores,
            self.shown,
            self.link,
            address.uploads,
        ]
        text, file = gr.Textbox(visible=False), gr.Textbox(visible=False)
        for button, make in ((csv, _as_csv), (jsn, _as_json)):
            button.click(make, self.shown, [text, file], **QUIET).then(None, [text, file], None, js=SAVE, **QUIET)
        self.picked.connect(self.hits.select, _pick, self.shown)
        address.follow(self.hits.submit, _hand_over, self.shown)

    def connect(
        self,
        ask: Callable[..., Any],
        inputs: list[Any],
        *triggers: Callable[..., Any],
        is_asked: bool = False,
        api_name: str = "",
    ) -> None:
        """Run `ask`, which returns what `show` or `clear` do, on each trigger.

        The last two of its inputs are the start of the page, and whether a visitor asks: then a query is a must.
        """
        how = SEARCHES | ({"api_name": api_name} if api_name else {"api_visibility": "private"})
        for trigger in triggers:
            states = [gr.State(0), gr.State(is_asked)]
            event = trigger(guarded(ask), [*inputs, *states], self.outputs, show_progress_on=self._note, **how)
            self._reveal(event)

    def turn(self, ask: Callable[..., Any], inputs: list[Any]) -> None:
        """Run it for the next and the previous page, and for the page of a link."""
        how = SEARCHES | {"api_visibility": "private", "show_progress_on": self._note}
        states = [self._start, gr.State(False)]
        for button, start in ((self._next, _forth), (self._previous, _back)):
            turned = button.click(start, [self.shown, self._starts], [self._start, self._starts], **QUIET)
            self._reveal(turned.then(guarded(ask), [*inputs, *states], self.outputs, scroll_to_output=True, **how))
        self._reveal(self._go.change(guarded(ask), [*inputs, *states], self.outputs, **how))

    def restore(self, asked: Asked) -> dict[Any, Any]:
        """What starts the answer to a link."""
        starts = [0, asked.start] if asked.start else [0]
        return {self._start: asked.start, self._starts: starts, self._go: time.time()}

    def _reveal(self, event: Any) -> None:
        """After an answer, show what belongs to it and nothing else."""
        outputs = [self._pages, self._previous, self._next, self._insight, self.picked.row, self._starts]
        event.success(_reveal, [self.shown, self._starts], outputs, **QUIET)

    def show(self, asked: Asked, parts: Sequence[Part], uploads: Any, request: gr.Request) -> tuple[Any, ...]:
        """Ask the engine; what `outputs` become."""
        engine = self._collections[asked.collection]
        conditions = [Condition.parse(text) for text in asked.where]
        answer = engine.find(parts, asked.size, start=asked.start, conditions=conditions, fold=asked.fold)
        begin = time.perf_counter()
        cards = [self._card(hit, answer, engine.thumbnail(hit.item), request) for hit in answer.hits]
        seconds = time.perf_counter() - begin
        stages = {**answer.stages, "thumbnails": seconds}
        answer = replace(answer, stages=stages, seconds=answer.seconds + seconds)
        link = asked.to_link()
        words = {name: word(key, request) for name, key in WORDS.items()}
        hits = {"hits": cards, "words": words, "folded": not answer.has_match}
        bare = [replace(hit, item=replace(hit.item, thumbnail=b"")) for hit in answer.hits]
        shown = Shown(asked, replace(answer, hits=bare))
        scores = histogram(answer, request)
        return answer.to_json(), _note(answer, asked, request), hits, link, scores, shown, link, uploads

    def clear(self, asked: Asked, uploads: Any) -> tuple[Any, ...]:
        """`outputs` as they were before the first query."""
        return None, self._t(f"{self._name}_hint"), {}, asked.to_link(), "", None, "", uploads

    def _card(self, hit: Hit, answer: Answer, thumbnail: bytes, request: gr.Request) -> dict[str, Any]:
        copies = len(hit.near_duplicates)
        return {
            "src": data_url(thumbnail),
            "caption": caption_of(hit.item, request),
            "word": word(hit.strength, request) if hit.strength else "",
            "strength": hit.strength or "",
            "share": _share(hit.score, answer.bounds),
            "score": number(hit.score, request, 2),
            "copies": f"+ {num_copies(copies, request)}" if copies else "",
        }


def _pick(shown: Shown | None, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
    hit = shown.hit(event._data.get("number")) if shown else None
    if not shown or not hit:
        raise gr.Error(word("no_such_hit", request), print_exception=False)
    return shown.asked.collection, hit.item.id, hit.score


def _hand_over(shown: Shown | None, event: gr.EventData) -> str | None:
    """The link to "similar to this" or "describe this"."""
    hit = shown.hit(event._data.get("number")) if shown else None
    tab = event._data.get("tab")
    if not shown or not hit or tab not in ("similar", "describe"):
        return None
    return Asked(tab, item=hit.item.id, collection=shown.asked.collection).to_link()


def _forth(shown: Shown, starts: list[int]) -> tuple[int, list[int]]:
    start = shown.answer.following or 0
    return start, [*starts, start]


def _back(shown: Shown, starts: list[int]) -> tuple[int, list[int]]:
    starts = starts[:-1] or [0]
    return starts[-1], starts


def _reveal(shown: Shown | None, starts: list[int]) -> tuple[Any, ...]:
    is_there = shown is not None and bool(shown.answer.hits)
    has_more = shown is not None and shown.answer.following is not None
    is_later = shown is not None and shown.answer.start > 0
    return (
        gr.Row(visible=has_more or is_later),
        gr.Button(interactive=is_later),
        gr.Button(interactive=has_more),
        gr.Accordion(visible=is_there),
        gr.Row(visible=False),
        starts if is_later else [0],
    )


def _note(answer: Answer, asked: Asked, request: gr.Request) -> str:
    """The line above the hits."""
    lines = []
    if answer.language:
        lines.append(word("foreign_query", request).format(word(f"language_{answer.language}", request)))
    if not answer.hits:
        lines.append(word("no_hits_filtered" if asked.where else "no_more_hits", request))
    elif not answer.has_match and not answer.start:
        lines.append(word("nothing_matches", request))
    stages = ", ".join(
        f"{word(f'stage_{name}', request)} {number(seconds, request, 3)}" for name, seconds in answer.stages.items()
    )
    count = num_pictures(len(answer.hits), request)
    if answer.start:
        count = word("page_of", request).format(answer.start + 1, answer.hits[-1].rank) if answer.hits else count
    lines.append(f"{count} · {number(answer.seconds, request, 2)} s ({stages})")
    if answer.cut:
        lines.append(word("query_cut", request).format(answer.cut))
    return "  \n".join(lines)


def _share(score: float, bounds: tuple[float, float] | None) -> int:
    """Percent of its bar that a score fills: a third where a hit becomes fair, two thirds where it becomes strong."""
    if bounds is None or bounds[1] <= bounds[0]:
        return 0
    return round(min(max((score - bounds[0]) / (bounds[1] - bounds[0]) / 3 + 1 / 3, 0.03), 1) * 100)


def _as_csv(shown: Shown | None) -> tuple[str, str]:
    return (shown.answer.to_csv() if shown else ""), "imgsearch.csv"


def _as_json(shown: Shown | None) -> tuple[str, str]:
    return json.dumps(shown.answer.to_json() if shown else {}, indent=2, ensure_ascii=False), "imgsearch.json"
