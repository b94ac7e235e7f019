"""Check which event of the page a raw request may call, and how many requests may wait for a model."""

import math
import re
from typing import Any

import gradio as gr

from imgsearch.web.components.map import MAP_ID
from imgsearch.web.components.wall import WALL_ID
from imgsearch.web.gradio_internals import Function, functions, num_unfetched, num_waiting
from imgsearch.web.handlers import mean_seconds
from imgsearch.web.security.request import TOKEN, RefusedError

SERVER_FUNCTIONS = ((MAP_ID, "card"), (WALL_ID, "item"))  # component, function
MAX_WAITING = 64  # requests in one queue, and results of one visitor that are not fetched yet


def session_of(payload: dict[str, Any]) -> str:
    """Return the visitor's session, "" for a call without one. Raise RefusedError if it is not a valid id."""
    session = payload.get("session_hash")
    if session is None:
        return ""
    if not (isinstance(session, str) and re.fullmatch(TOKEN, session, re.ASCII)):
        raise RefusedError(400, "not_understood")
    return session


def public_function(blocks: gr.Blocks, name: str, payload: dict[str, Any], *, has_names: bool) -> Function:
    """Return the public function called `name`; with `has_names` the inputs are passed by name and not counted here.

    Raise RefusedError if there is no such function or it takes another number of inputs.
    """
    for function in functions(blocks).values():
        if function.api_name == name and function.api_visibility == "public":
            if has_names:
                return function
            num_shown = sum(not block.skip_api for block in function.inputs)
            return _with_checked_inputs(function, payload.get("data"), num_shown, len(function.inputs))
    raise RefusedError(404, "not_there")


def page_function(blocks: gr.Blocks, payload: dict[str, Any], *, is_queued: bool) -> Function:
    """Return the function that an event of the page calls. Raise RefusedError as `public_function` does."""
    index = payload.get("fn_index")
    function = functions(blocks).get(index) if type(index) is int else None
    if function is None or bool(function.queue) != is_queued:
        raise RefusedError(404, "not_there")
    if function.collects_event_data and not isinstance(payload.get("event_data"), dict):
        raise RefusedError(400, "not_understood")
    return _with_checked_inputs(function, payload.get("data"), len(function.inputs))


def _with_checked_inputs(function: Function, data: Any, *counts: int) -> Function:
    if not isinstance(data, list) or len(data) not in counts:
        raise RefusedError(400, "not_understood")  # Gradio would print the data to the log
    return function


def check_card(blocks: gr.Blocks, payload: dict[str, Any], session: str) -> None:
    """Raise RefusedError unless a call to a component's server function is one of SERVER_FUNCTIONS."""
    component_id = payload.get("component_id")
    block = blocks.blocks.get(component_id) if type(component_id) is int else None
    if not (
        (getattr(block, "elem_id", None), payload.get("fn_name")) in SERVER_FUNCTIONS and session and "data" in payload
    ):
        raise RefusedError(404, "not_there")


def check_queue(blocks: gr.Blocks, function: Function, session: str) -> None:
    """Raise RefusedError if the function's queue is full or too many results of this session were not fetched."""
    num_others = max(num_waiting(blocks, function), num_unfetched(blocks, session))
    if num_others >= MAX_WAITING:
        raise busy(function, num_others)


def busy(function: Function, num_others: int) -> RefusedError:
    """Return the error for a request that finds so many others before it."""
    limit = function.concurrency_limit
    total_s = num_others * mean_seconds[str(function.name)] / (limit if isinstance(limit, int) else 1)
    wait_s = max(math.ceil(total_s), 1)
    return RefusedError(429, "busy", str(num_others), str(wait_s), outcome="busy", wait_s=wait_s)
