"""`RequestContext`: what the middleware knows of a request on its way through."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Message, Send

from imgsearch.web.security.body import Body
from imgsearch.web.security.headers import set_headers
from imgsearch.web.security.rate_limit import Share


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
