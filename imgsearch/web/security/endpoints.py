"""The events of the page, as raw requests name them: which are open to whom, and how many wait for a model."""

import math
import re
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from imgsearch.web.security.refusals import RefusedError

TOKEN = r"[\w-]{1,64}"  # of a session, an event, an upload under way: random, by client or server
MAX_WAITING = 64  # for a model, and of one visitor's answers
FIRST_S = 1.0  # what an event is thought to take before any was measured


def session_of(asked: dict[str, Any]) -> str:
    """The visitor's session, "" for a call without one. Raises RefusedError where it is no name."""
    session = asked.get("session_hash")
    if session is None:
        return ""
    if not (isinstance(session, str) and re.fullmatch(TOKEN, session, re.ASCII)):
        raise RefusedError(400, "not_understood")
    return session


def public_function(blocks: gr.Blocks, name: str, asked: dict[str, Any], *, has_names: bool) -> BlockFunction:
    """The public function that a call is for, whose inputs may have names.

    Raises RefusedError where there is none of that name, or it takes another number of inputs.
    """
    public = (function for function in blocks.fns.values() if function.api_visibility == "public")
    function = next((function for function in public if function.api_name == name), None)
    if function is None:
        raise RefusedError(404, "not_there")
    if has_names:
        return function
    num_shown = sum(not block.skip_api for block in function.inputs)
    return _fitting(function, asked.get("data"), num_shown, len(function.inputs))


def page_function(blocks: gr.Blocks, asked: dict[str, Any], *, is_queued: bool) -> BlockFunction:
    """The function that the page asks for. Raises RefusedError as `public_function` does."""
    number = asked.get("fn_index")
    function = blocks.fns.get(number) if type(number) is int else None
    if function is None or bool(function.queue) != is_queued:
        raise RefusedError(404, "not_there")
    if function.collects_event_data and not isinstance(asked.get("event_data"), dict):
        raise RefusedError(400, "not_understood")
    return _fitting(function, asked.get("data"), len(function.inputs))


def _fitting(function: BlockFunction, data: Any, *counts: int) -> BlockFunction:
    if not isinstance(data, list) or len(data) not in counts:
        raise RefusedError(400, "not_understood")  # Gradio would print what was sent
    return function


def check_card(blocks: gr.Blocks, asked: dict[str, Any], session: str) -> None:
    """Raise RefusedError for a call to a component's own function that is not the map's for a card."""
    number = asked.get("component_id")
    block = blocks.blocks.get(number) if type(number) is int else None
    is_card = asked.get("fn_name") == "card" and getattr(getattr(block, "card", None), "_is_server_fn", False)
    if not (is_card and session and "data" in asked):
        raise RefusedError(404, "not_there")


def check_stream(blocks: gr.Blocks, session: str) -> None:
    """Raise RefusedError where nothing was asked by this session: Gradio would begin an answer, and fail."""
    if session not in blocks._queue.pending_messages_per_session:
        raise RefusedError(404, "not_there")


def check_queue(blocks: gr.Blocks, function: BlockFunction, session: str) -> None:
    """Raise RefusedError where too many wait in the function's queue, or too many answers for who should fetch them."""
    state, times = blocks._queue, blocks._queue.process_time_per_fn
    queue = state.event_queue_per_concurrency_id.get(str(function.concurrency_id))
    waiting = list(queue.queue) if queue else []
    num_left = len(state.pending_event_ids_session.get(session, ()))
    num_others = max(len(waiting), num_left)
    if num_others < MAX_WAITING:
        return
    total_s = sum(times[event.fn].avg_time if event.fn in times else FIRST_S for event in waiting)
    wait_s = max(math.ceil(total_s / ((queue.concurrency_limit if queue else 0) or 1)), 1)
    raise RefusedError(429, "busy", str(num_others), str(wait_s), outcome="busy", wait_s=wait_s)
