"""The lines under the title: which models answer for which collection, what is under way, and what is missing."""

import html
from dataclasses import replace
from typing import Any

import gradio as gr

from imgsearch.clip import LOCAL
from imgsearch.engine import Engine
from imgsearch.records import Progress, Status
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.handlers import QUIET
from imgsearch.tabs.words import language_of, num_pictures, word

POLL_S = 1.0  # between two looks at the engine, as long as something is under way


def draw(collections: Collections, app: gr.Blocks) -> gr.State:
    """Draw the banner, which follows the engine. Returns the models that the page knows of.

    They are the encoder's id, the captioner's ("" for the describer) and whether it takes questions; the change of
    this state is the event on which a tab adapts to them.
    """
    banner = gr.HTML(padding=False, elem_id="banner")
    timer = gr.Timer(POLL_S)
    shown = gr.State()

    def show(collection: str, request: gr.Request) -> tuple[str, Any, tuple[str, str, bool]]:
        engine = collections[collection]
        status, first = engine.status, collections.first.status  # which describes
        status = replace(status, captioner=first.captioner, takes_questions=first.takes_questions)
        models = (status.encoder, status.captioner, status.takes_questions)
        return _render(engine, status, request), gr.Timer(active=not collections.are_complete), models

    # In the queue: outside of it, a state's change event does not reach the page.
    waits: dict[str, Any] = QUIET | {"queue": True, "concurrency_limit": None}
    gr.on([app.load, timer.tick, *collections.changes], show, collections.choice, [banner, timer, shown], **waits)
    return shown


def _render(engine: Engine, status: Status, request: gr.Request) -> str:
    if not status.encoder:
        return _lines("p", [word("failed" if status.is_complete else "loading", request)])
    facts = {
        word("encoder", request): _shown(status.encoder),
        word("captioner", request): _shown(status.captioner) or word("from_vectors", request),
        word("collection", request): engine.bundle.resolve().name,
    }
    if status.num_items is not None:
        facts[word("collection", request)] += f", {num_pictures(status.num_items, request)}"
    chips = (f"<li>{html.escape(name)} <b>{html.escape(fact)}</b></li>" for name, fact in facts.items())
    under_way = [_progress(status.progress, request)] if status.progress else []
    return f"<ul>{''.join(chips)}</ul>{_lines('p', under_way)}{_lines('p class=problem', status.problems)}"


def _lines(tag: str, texts: list[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</p>" for text in texts)


def _progress(progress: Progress, request: gr.Request) -> str:
    """ "Fetching X: 340 of 1,540 MB.", in the visitor's language."""
    unit = 1_000_000 if progress.step == "fetch" else 1
    done, total = (f"{number / unit:,.0f}" for number in (progress.done, progress.total))
    if language_of(request) == "fr":
        done, total = done.replace(",", "\u202f"), total.replace(",", "\u202f")
    return word(f"under_way_{progress.step}", request).format(_shown(progress.model_id), done, total)


def _shown(model_id: str) -> str:
    """A model's name for visitors, whom the folders of the server do not concern."""
    return model_id.rpartition("/")[2] if model_id.startswith(LOCAL) else model_id
