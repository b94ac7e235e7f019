"""Limit what each client asks and holds, so that none takes what belongs to all; keep its request on its way."""

import asyncio
import json
import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import gradio as gr
from starlette.requests import Request
from starlette.types import Message, Send

from imgsearch.web import gradio_internals
from imgsearch.web.gradio_internals import Function
from imgsearch.web.handlers import MODEL_QUEUES
from imgsearch.web.security.body import MAX_UPLOAD, Body
from imgsearch.web.security.endpoints import busy
from imgsearch.web.security.headers import set_headers
from imgsearch.web.security.rate_limit import RateLimit, Share
from imgsearch.web.security.refusals import RefusedError

# Shares of each client. On a public link and behind the router of a school, all visitors are one client.
OTHERS = 10  # times the rate: the limit for requests that need no model
LOGINS = 10  # per minute and user name
MAX_USER = 100  # characters of a user name that are told apart
OWN_UPLOADS = 2**29  # bytes: beyond it the oldest ones are deleted
OWN_BODIES = 8 * MAX_UPLOAD  # bytes on their way
OWN_STREAMS = 200  # a page has up to three
OWN_WAITING = 16  # events in a queue that needs no model; in the others one place is always free for others
OWN_QUICK = 4  # events that wait for nothing: with more threads at once, the server's own waits for its turn
TURN_S = 30  # seconds that a request waits until its client has less than its share of a queue
POLL_S = 0.05  # seconds


@dataclass
class RequestContext:
    """A request on its way through the middleware."""

    request: Request
    body: Body = field(default_factory=Body)
    endpoint: str = "unknown"  # its name in the log
    begin: float = field(default_factory=time.perf_counter)
    status: int = 0  # of the response, once it has started
    answer: bytes = b""  # to an upload: it names the file
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)  # gives back what the client holds
    turn: AsyncExitStack = field(default_factory=AsyncExitStack)  # the same, before a slow client reads the response

    @property
    def client(self) -> str:
        """The client's address, see `rate_limit.client_of`."""
        return str(self.request.scope["client"][0])

    def take(self, share: Share, amount: int = 1) -> None:
        """Take something of the client's share until the request is over. Raise RefusedError if it has no more."""
        share.take(self.client, amount)
        self.closing.callback(share.give_back, self.client, amount)

    def marked(self, send: Send) -> Send:
        """Return an ASGI `send` that sets our headers, and keeps the status and what the response names."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self.turn.aclose()
                self.status = message["status"]
                set_headers(message, self.request.headers, self.request.scope["scheme"])
            elif self.endpoint == "upload":
                self.answer += message.get("body", b"")
            await send(message)

        return sent


class Visitors:
    """Counts what each client asks and holds; without a rate there is no limit, except for logins.

    A client is an address, see `rate_limit.client_of`. Use it in the thread of the server.
    """

    def __init__(self, rate: int | None, users: Sequence[tuple[str, str]] = ()) -> None:
        """Allow each client `rate` requests for models a minute, and its share of the rest; `users` have passwords."""
        self._is_limited = bool(rate)
        kinds = {"model": rate, "page": rate, "session": rate, "other": OTHERS * rate} if rate else {}
        self._rates = {kind: RateLimit(per_minute) for kind, per_minute in (kinds | {"login": LOGINS}).items()}
        self.bodies, self.streams = (Share(most if rate else sys.maxsize) for most in (OWN_BODIES, OWN_STREAMS))
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

    def note_answer(self, context: RequestContext) -> None:
        """Remember whose the upload is that was made."""
        for path in json.loads(context.answer) if context.status == 200 and context.answer else ():
            self._add_upload(context.client, Path(path))

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

    def _add_upload(self, client: str, file: Path) -> None:
        """Remember whose upload it is; delete the client's oldest ones if they are too large together."""
        self._uploads = {path: facts for path, facts in self._uploads.items() if path != file and path.exists()}
        with suppress(OSError):  # it has been deleted already
            self._uploads[file] = client, file.stat().st_size
        own = {path: size for path, (owner, size) in self._uploads.items() if owner == client}
        num_bytes = sum(own.values())
        for path, size in own.items():
            if num_bytes <= OWN_UPLOADS or not self._is_limited:
                break
            num_bytes -= size
            path.unlink(missing_ok=True)
