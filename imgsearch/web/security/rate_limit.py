"""Limit what each client asks and holds, so that none takes what belongs to all."""

import asyncio
import json
import logging
import sys
import time
from asyncio import Transport
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from imgsearch.web import gradio_internals
from imgsearch.web.gradio_internals import Function
from imgsearch.web.handlers import MODEL_QUEUES
from imgsearch.web.security.cleanup import delete_first
from imgsearch.web.security.endpoints import busy
from imgsearch.web.security.request import MAX_UPLOAD, RefusedError, RequestContext

if sys.platform != "win32":  # Windows has no resource limits of this kind
    import resource

# Shares of each client. On a public link and behind the router of a school, all visitors are one client.
OTHERS = 10  # times the rate: the limit for requests that need no model
LOGINS = 10  # per minute and user name
MAX_USER = 100  # characters of a user name that are told apart
OWN_UPLOADS = 2**29  # bytes: beyond it the oldest ones are deleted
OWN = {"body": 8 * MAX_UPLOAD, "stream": 200}  # bytes on their way; reads that last: a page has up to three
OWN_WAITING = 16  # events in a queue that needs no model; in the others one place is always free for others
OWN_QUICK = 4  # events that wait for nothing: with more threads at once, the server's own waits for its turn
TURN_S = 30  # seconds that a request waits until its client has less than its share of a queue
POLL_S = 0.05  # seconds
OWN_CONNECTIONS = 500  # a browser opens up to six
HEAD_S = 20  # seconds in which the head of a request must arrive
LINES = 20  # a minute of each log about broken connections and requests
RETRY_S = 10  # seconds after which a client may have given something back


class RateLimit:
    """At most `per_minute` requests a minute of each client, and at most half of them (but at least one) at once."""

    def __init__(self, per_minute: int) -> None:
        burst = max(per_minute // 2, 1)
        self._limit = RateLimitItemPerSecond(burst, ceil(60 * burst / per_minute))
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())  # it forgets a client after two windows

    def wait_s(self, client: str) -> int:
        """Count a request; return 0 if it is allowed, else the seconds until the next one will be."""
        if self._limiter.hit(self._limit, client):
            return 0
        return max(ceil(self._limiter.get_window_stats(self._limit, client).reset_time - time.time()), 1)


def client_of(request: Request, *, trust_proxy: bool) -> str:
    """Return the client's address: the peer's, or with `trust_proxy` the one the proxy saw (the last in its header).

    For IPv6 return the /64 network, because its 2^64 addresses belong to one client.
    """
    address = request.client.host if request.client else ""
    forwarded = request.headers.getlist("x-forwarded-for") if trust_proxy else []
    if forwarded:
        address = forwarded[-1].rpartition(",")[2].strip()[:64]
    try:
        parsed = ip_address(address.partition(":")[0] if address.count(":") == 1 else address)  # may have a port
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else parsed)


class Visitors:
    """Counts what each client asks and holds; without a rate there is no limit, except for logins.

    A client is an address, see `client_of`. Use it in the thread of the server.
    """

    def __init__(self, rate: int | None, users: Sequence[tuple[str, str]] = ()) -> None:
        """Allow each client `rate` requests for models a minute, and its share of the rest; `users` have passwords."""
        self._is_limited = bool(rate)
        kinds = {"model": rate, "page": rate, "session": rate, "other": OTHERS * rate} if rate else {}
        self._rates = {kind: RateLimit(per_minute) for kind, per_minute in (kinds | {"login": LOGINS}).items()}
        self._held = Counter[tuple[str, str]]()  # (client, kind in OWN) -> amount
        self._passwords = {b64encode(f"{user}:{password}".encode()).decode() for user, password in users}
        self._known: set[tuple[str, str]] = set()  # agents' clients and passwords
        self._uploads: dict[Path, tuple[str, int]] = {}  # file -> client and number of bytes, oldest first
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def check_password(self, context: RequestContext) -> None:
        """Raise RefusedError for an agent without a password (HTTP Basic). A client's new one counts as a login."""
        scheme, _, given = context.request.headers.get("authorization", "").partition(" ")
        if self._passwords and (context.client, given) not in self._known:
            self.count(f"{context.client} agent", "login")
            if scheme.lower() != "basic" or given not in self._passwords:
                raise RefusedError(401, "no_password")
            self._known.add((context.client, given))

    def count(self, client: str, kind: str) -> None:
        """Count a request of a kind in `_rates`. Raise RefusedError if it is one too many."""
        wait_s = self._rates[kind].wait_s(client) if kind in self._rates else 0
        if wait_s:
            raise RefusedError(429, "too_many", str(wait_s), outcome="rate", wait_s=wait_s)

    def take(self, context: RequestContext, kind: str, amount: int = 1) -> None:
        """Count what the client holds until the request is over. Raise RefusedError if that is more than its share."""
        key = context.client, kind
        if self._is_limited and self._held[key] + amount > OWN[kind]:
            raise RefusedError(429, "too_many", str(RETRY_S), outcome="rate", wait_s=RETRY_S)
        self._held[key] += amount
        context.closing.callback(self._give_back, key, amount)

    def _give_back(self, key: tuple[str, str], amount: int) -> None:
        self._held[key] -= amount
        if not self._held[key]:
            del self._held[key]

    def note_answer(self, context: RequestContext) -> None:
        """Remember whose the upload is that was made; delete the client's oldest if they are too large together."""
        if not (self._is_limited and context.status == 200 and context.answer):
            return
        [file] = map(Path, json.loads(context.answer))
        self._uploads = {path: facts for path, facts in self._uploads.items() if path != file and path.exists()}
        with suppress(OSError):  # it has been deleted already
            self._uploads[file] = context.client, file.stat().st_size
        own = [(path, size) for path, (client, size) in self._uploads.items() if client == context.client]
        delete_first(own, OWN_UPLOADS)

    async def take_turn(self, context: RequestContext, blocks: gr.Blocks, function: Function) -> None:
        """Let the events of a client join a queue one by one, each when the client has less than its share of it."""
        if not self._is_limited:
            return
        queue = gradio_internals.queue_name(function)
        most = MODEL_QUEUES[queue] - 1 if queue in MODEL_QUEUES else OWN_WAITING if queue else OWN_QUICK
        try:
            async with asyncio.timeout(TURN_S):
                await self.take_only(context, queue)
                while gradio_internals.num_own(blocks, function, context.client) >= most:
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise busy(function, most) from None

    async def take_only(self, context: RequestContext, kind: str) -> None:
        """Wait until no other request of this kind and client is worked at: it would take the server's thread."""
        if self._is_limited:
            turn = self._turns.setdefault((context.client, kind), asyncio.Lock())
            await context.turn.enter_async_context(turn)


class LimitedProtocol(H11Protocol):
    """Closes a connection that asks nothing for HEAD_S seconds, and what an address opens beyond `own_connections`.

    Without it uvicorn waits for ever and runs out of open files.
    """

    def __init__(self, *args: Any, own_connections: int, **options: Any) -> None:
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


_lines = RateLimit(LINES)


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
