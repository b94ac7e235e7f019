"""Options for Gradio's events (their queues), a wrapper that reports the errors of handlers, the log of requests.

The log holds endpoint, duration and outcome, never who asked, a picture or a text.
"""

import functools
import html
import inspect
import json
import logging
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from imgsearch.errors import ImgsearchError
from imgsearch.web.i18n import tr, tr_message

# Options of the events that need a model. Texts, pictures and captions have separate queues, so that a long caption or
# a slow decode never blocks a text search. Handlers that run together share the encoder's batches.
MODEL_QUEUES = {"texts": 8, "pictures": 4, "captions": 4}  # with the number of handlers that run side by side
TEXTS, PICTURES, CAPTIONS = (
    dict[str, Any](concurrency_id=name, concurrency_limit=limit, trigger_mode="multiple", show_progress="hidden")
    for name, limit in MODEL_QUEUES.items()
)
# For quick handlers: they run at once, outside of the queue.
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
# Like QUIET, but queued: without the queue, the change event of a gr.State does not reach the page.
HIDDEN: dict[str, Any] = QUIET | {"queue": True, "concurrency_limit": None}
mean_seconds = defaultdict[str, float](lambda: 1.0)  # of a handler's calls; one that has not run yet may take a second
requests = logging.getLogger("imgsearch.requests")
log = logging.getLogger(__name__)


def with_error_messages(handler: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap a handler: show an ImgsearchError in the visitor's language, log any other error and show one sentence.

    `name` is its name in the log.
    """

    @functools.wraps(handler)  # keeps the signature: Gradio reads it to pass requests and events
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _report_outcome(name, [*args, *kwargs.values()]):
            return handler(*args, **kwargs)

    @functools.wraps(handler)
    def generator_wrapper(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _report_outcome(name, [*args, *kwargs.values()]):
            yield from handler(*args, **kwargs)

    wrapped = generator_wrapper if inspect.isgeneratorfunction(handler) else wrapper
    wrapped.__name__ = name
    return wrapped


@contextmanager
def _report_outcome(name: str, arguments: Sequence[Any]) -> Iterator[None]:
    request = next((argument for argument in arguments if isinstance(argument, gr.Request)), None)
    begin, outcome, reason = time.perf_counter(), "ok", ""
    try:
        yield
    except GeneratorExit:  # the client has left or asked again
        outcome = "cancelled"
        raise
    except gr.Error:
        outcome = "refused"
        raise
    except ImgsearchError as error:
        outcome, reason = "refused", type(error).__name__
        message = html.escape(tr_message(error, request), quote=False)  # the page renders messages as HTML
        raise gr.Error(message, print_exception=False) from None
    except Exception as error:
        outcome, reason = "failed", type(error).__name__
        log_error(name, error)
        raise gr.Error(tr("failed", request), print_exception=False) from None
    finally:
        mean_seconds[name] = 0.9 * mean_seconds[name] + 0.1 * (time.perf_counter() - begin)
        log_request(name.strip("_"), begin, outcome, reason)


def log_request(endpoint: str, begin: float, outcome: str, reason: str = "") -> None:
    """Log a request as a line of JSON; `begin` is its start (`time.perf_counter`).

    The outcome is "ok", "refused" (the reason is the name of the error or what was wrong), "rate", "busy", "failed" or
    "cancelled".
    """
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "endpoint": endpoint,
        "ms": round((time.perf_counter() - begin) * 1000),
        "outcome": outcome,
    }
    requests.info(json.dumps(line | ({"reason": reason} if reason else {})))


def log_error(endpoint: str, error: BaseException) -> None:
    """Log an unexpected error: its type and traceback, but not its message, which may hold the visitor's text."""
    traceback_lines = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s failed: %s at\n%s", endpoint, type(error).__name__, traceback_lines)


def show_requests() -> None:
    """Print each line of the log to stderr."""
    requests.addHandler(logging.StreamHandler())
    requests.setLevel(logging.INFO)
    requests.propagate = False  # else each line is printed twice if the root logger has a handler too
