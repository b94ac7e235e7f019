"""The log of requests: endpoint, duration and outcome. It never holds who asked, a picture or a text."""

import json
import logging
import time
import traceback
from datetime import UTC, datetime

requests = logging.getLogger("imgsearch.requests")
log = logging.getLogger(__name__)


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
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    requests.addHandler(handler)
    requests.setLevel(logging.INFO)
    requests.propagate = False  # else each line is printed twice if the root logger has a handler too
