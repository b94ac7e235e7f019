"""The log of requests: what was asked, how long it took and what came of it; never by whom, no picture, no text."""

import json
import logging
import time
import traceback
from datetime import UTC, datetime

requests = logging.getLogger("imgsearch.requests")
log = logging.getLogger(__name__)


def log_request(endpoint: str, begin: float, outcome: str, reason: str = "") -> None:
    """Log a request that began at `begin` (`time.perf_counter`) as a line of JSON.

    The outcome is "ok", "refused" (the reason is the name of the error, or what was wrong), "rate", "busy", "failed" or
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
    """Log an error that nobody foresaw: its type and where it came from, not its message, which may hold the text."""
    places = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s failed: %s at\n%s", endpoint, type(error).__name__, places)


def show_requests() -> None:
    """Have each line of the log on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    requests.addHandler(handler)
    requests.setLevel(logging.INFO)
    requests.propagate = False  # else it would be shown twice where the root shows lines, too
