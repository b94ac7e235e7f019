"""Limits for connections on which nothing is asked: without them uvicorn waits for ever and runs out of open files."""

import logging
import sys
from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from imgsearch.web.security.rate_limit import RateLimit

if sys.platform != "win32":  # Windows has no resource limits of this kind
    import resource

HEAD_S = 20  # seconds in which the head of a request must arrive
OWN_CONNECTIONS = 500  # of one address; a browser opens up to six
LINES = 20  # a minute of each log about broken connections and requests
_lines = RateLimit(LINES)


class LimitedProtocol(H11Protocol):
    """Closes a connection that asks nothing for HEAD_S seconds, and what an address opens beyond `own_connections`."""

    def __init__(self, *args: Any, own_connections: int = OWN_CONNECTIONS, **options: Any) -> None:
        super().__init__(*args, **options)
        self._own_connections = own_connections

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        clients = [getattr(connection, "client", None) or ("",) for connection in self.connections]
        if [address for address, *_ in clients].count((self.client or ("",))[0]) > self._own_connections:
            transport.close()
        self.loop.call_later(HEAD_S, self._close_if_idle, None)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        last = self.cycle
        super().on_response_complete()
        self.loop.call_later(HEAD_S, self._close_if_idle, last)

    def _close_if_idle(self, last: object) -> None:
        if self.cycle is last:  # no other request has begun since
            self.transport.close()


def few_lines(record: logging.LogRecord) -> bool:
    """Return whether a line is written: a client can cause thousands a second."""
    return not _lines.wait_s(record.name)


def prepare_connections() -> None:
    """Open as many files as the system allows, and let the server's own log hold few lines."""
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).addFilter(few_lines)
    if sys.platform != "win32":
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
