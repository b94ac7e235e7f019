"""How a tab's functions are called: their queue, their errors as messages, and their line in the log."""

import functools
import html
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from imgsearch.errors import ImgsearchError
from imgsearch.web import request_log
from imgsearch.web.i18n import tr, tr_message


def _model_queue(name: str, limit: int) -> dict[str, Any]:
    return {"concurrency_id": name, "concurrency_limit": limit, "trigger_mode": "always_last"}


# Texts, pictures and captions wait in queues of their own: a long caption or a picture that is slow to decode never
# blocks a search by text. Those at work together share the encoder's batches. What a visitor asks while an answer is on
# its way waits for it; of several such questions the last one counts.
TEXTS, PICTURES, CAPTIONS = _model_queue("texts", 8), _model_queue("pictures", 4), _model_queue("captions", 4)
MODEL_QUEUES = {how["concurrency_id"] for how in (TEXTS, PICTURES, CAPTIONS)}
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
# The same in the queue: outside of it, a state's change event does not reach the page.
HIDDEN: dict[str, Any] = QUIET | {"queue": True, "concurrency_limit": None, "trigger_mode": "multiple"}
# Large pictures are made of what lies in the collection, which takes memory.
SHOWN: dict[str, Any] = HIDDEN | {"concurrency_id": "shown", "concurrency_limit": 2}
# Every one counts, and none reads a state that another is about to change.
EDITS: dict[str, Any] = HIDDEN | {"concurrency_id": "edits", "concurrency_limit": 1}


def with_error_messages(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler with its errors shown: ours in the visitor's language, any other as one sentence and in the log."""

    @functools.wraps(handler)  # keeps the signature, by which Gradio passes requests and events
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _shown(handler.__name__, args):
            return handler(*args, **kwargs)

    @functools.wraps(handler)
    def growing(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _shown(handler.__name__, args):
            yield from handler(*args, **kwargs)

    return growing if inspect.isgeneratorfunction(handler) else wrapper


@contextmanager
def _shown(name: str, arguments: tuple[Any, ...]) -> Iterator[None]:
    request = next((argument for argument in arguments if isinstance(argument, gr.Request)), None)
    begin, outcome, reason = time.perf_counter(), "ok", ""
    try:
        yield
    except GeneratorExit:  # the client has left, or wants another answer
        outcome = "cancelled"
        raise
    except gr.Error:
        outcome = "refused"
        raise
    except ImgsearchError as error:
        outcome, reason = "refused", type(error).__name__
        message = html.escape(tr_message(error, request), quote=False)  # the page shows it as HTML
        raise gr.Error(message, print_exception=False) from None
    except Exception as error:
        outcome, reason = "failed", type(error).__name__
        request_log.log_error(name, error)
        raise gr.Error(tr("failed", request), print_exception=False) from None
    finally:
        request_log.log_request(name.strip("_"), begin, outcome, reason)
