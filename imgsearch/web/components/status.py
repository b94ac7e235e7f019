"""The line beside the title: how many pictures and what model; names, progress and what is missing behind it."""

import html
from dataclasses import replace
from typing import Any

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.environment import collection_name
from imgsearch.models.encoder import STARTER_IDS
from imgsearch.models.registry import model_name
from imgsearch.records import Progress, Status
from imgsearch.text import sanitise_line, truncate
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.handlers import HIDDEN
from imgsearch.web.i18n import format_count, format_number, tr, tr_message

MAX_NAME = 60  # characters of a collection's name
POLL_S = 1.0  # seconds between two looks at the engines while they are still loading


def connect(banner: gr.HTML, collections: CollectionPicker, app: gr.Blocks) -> gr.State:
    """Let a timer update the banner. Return a state that changes with collection and models: then the tabs adapt."""
    timer = gr.Timer(POLL_S)
    state = gr.State()

    def show(collection: str, request: gr.Request) -> tuple[str, Any, Any]:
        engine, first = collections[collection], collections.first.status  # the first one writes all descriptions
        status = replace(engine.status, captioner=first.captioner)
        is_complete = all(each.status.is_complete for each in collections.engines.values())
        models = collection, status.encoder, status.captioner, first.takes_questions
        return _render(engine, status, request), gr.Timer(active=not is_complete), models

    events = [app.load, timer.tick, collections.choice.change]  # a link changes the choice, too
    gr.on(events, show, collections.choice, [banner, timer, state], trigger_mode="once", **HIDDEN)
    return state


def _render(engine: Engine, status: Status, request: gr.Request) -> str:
    """Return one line with the facts folded under it; what is under way stands below."""
    if not status.encoder:
        return _lines("<p>{}</p>", [tr("failed" if status.is_complete else "loading", request)])
    facts = {
        tr("collection", request): truncate(collection_name(engine.bundle), MAX_NAME),
        tr("encoder", request): model_name(status.encoder),
        tr("captioner", request): model_name(status.captioner) or tr("from_vectors", request),
    }
    if status.recall is not None:
        facts[tr("search_way", request)] = tr("approximate", request).format(int(100 * status.recall))
    rows = (f"<div>{html.escape(name)} <b>{html.escape(sanitise_line(fact))}</b></div>" for name, fact in facts.items())
    progress = [_progress(status.progress, request)] if status.progress else []
    problems = [tr_message(problem, request) for problem in status.problems]
    num_blocking = 0 if status.num_items is not None else 1  # without items, the first one says why search fails
    blocking, missing = problems[:num_blocking], problems[num_blocking:]
    kind = "offline_model" if missing else "small_model" if status.encoder in STARTER_IDS else "large_model"
    count = [] if status.num_items is None else [format_count("picture", status.num_items, request)]
    line = html.escape(" · ".join([*count, tr(kind, request)]))
    folded = f"<details><summary>{line}</summary>{''.join(rows)}{_lines('<div>{}</div>', missing)}</details>"
    return folded + _lines("<p>{}</p>", progress) + _lines("<p class=problem>{}</p>", blocking)


def _lines(template: str, texts: list[str]) -> str:
    return "".join(template.format(html.escape(sanitise_line(text))) for text in texts)


def _progress(progress: Progress, request: gr.Request) -> str:
    """Return the progress in the visitor's language, such as "Fetching X: 340 of 1,540 MB."."""
    unit = 1_000_000 if progress.step == "fetch" else 1
    done, total = (format_number(count / unit, request) for count in (progress.done, progress.total))
    return tr(f"under_way_{progress.step}", request).format(model_name(progress.model_id), done, total)
