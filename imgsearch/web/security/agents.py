"""What a request of an agent (--mcp) needs: the password, if there is one, and a place among the few at once."""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from imgsearch.web.security.refusals import RefusedError
from imgsearch.web.security.visitors import TURN_S, RequestContext, Visitors

MAX_CALL = 4 * 2**20  # bytes of a call: a picture in base64
NUM_AT_ONCE = 4  # calls that are answered side by side


class Agents:
    """Lets agents in. Use it in the thread of the server."""

    def __init__(self, users: Sequence[tuple[str, str]], visitors: Visitors) -> None:
        self._visitors = visitors
        self._passwords = {b64encode(f"{user}:{password}".encode()).decode() for user, password in users}
        self._known: set[tuple[str, str]] = set()  # client and password
        self._places = asyncio.Semaphore(NUM_AT_ONCE)

    def check_password(self, context: RequestContext) -> None:
        """Raise RefusedError without the right password (RFC 7617, Basic). A client's first ones count as logins do."""
        scheme, _, given = context.request.headers.get("authorization", "").partition(" ")
        if not self._passwords or (context.client, given) in self._known:
            return
        if given:
            self._visitors.count(f"{context.client} agent", "login")
        if scheme.lower() != "basic" or given not in self._passwords:
            raise RefusedError(401, "no_password")
        self._known.add((context.client, given))

    async def take_place(self, context: RequestContext, payload: dict[str, Any]) -> None:
        """Count a call of a tool, and wait for a place. Raise RefusedError if there is none in time."""
        if payload.get("method") != "tools/call":
            return
        self._visitors.count(context.client, "model")
        try:
            async with asyncio.timeout(TURN_S):
                await context.turn.enter_async_context(self._places)
        except TimeoutError:
            raise RefusedError(429, "busy", str(NUM_AT_ONCE), str(TURN_S), outcome="busy", wait_s=TURN_S) from None
