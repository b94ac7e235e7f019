"""A request: refuse it in plain words, clean its headers, check its whole body before Gradio sees any of it."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any

import gradio as gr
from python_multipart.multipart import parse_options_header
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from imgsearch.environment import on_space
from imgsearch.web.components.inputs import is_upload
from imgsearch.web.i18n import tr

TOKEN = r"[\w-]{1,64}"  # id of a session, an event or an upload in progress: random, from the client or the server
MAX_JSON = 2**18  # bytes: a query has up to 10,000 characters, and the last requests of a visitor stay in memory
MAX_PICTURE = 20 * 2**20  # bytes of an upload
MAX_UPLOAD = MAX_PICTURE + 2**14  # bytes, with the form around it
MAX_BYTES = {  # of bodies that are not as MAX_JSON
    "upload": MAX_UPLOAD,
    "login": 2**13,  # a name and a password
    "mcp": 4 * 2**20,  # with a picture in base64: what the package takes that reads it
}
MAX_HEAD = 2**12  # bytes before the picture, which Gradio parses in the event loop
MAX_S = 60.0  # seconds in which a body must arrive
MAX_DEPTH = 20  # levels of nested lists and objects
MAX_PATHS = 4  # files in a body: no event takes more than one
CHUNK = 2**16  # bytes
# Gradio puts these names into the code that it shows to all visitors. Two proxies join theirs with a comma.
NAMES = r"[\w.:\[\], -]{0,255}"
FRAMES = "'self' https://huggingface.co" if on_space() else "'self'"  # a Space is shown in a frame of the hub
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the page's links hold queries
    "content-security-policy": f"frame-ancestors {FRAMES}",
}
OTHER_COOKIE = b"access-token-unsecure-"  # Gradio's second, for HTTP


class RefusedError(Exception):
    """A refused request: HTTP status, key of the message in `words`, and the values to fill into it.

    `outcome` goes to the log; `wait_s` is the number of seconds after which to try again, 0 if unknown.
    """

    def __init__(self, status: int, key: str, *values: str, outcome: str = "refused", wait_s: int = 0) -> None:
        super().__init__(key)
        self.status, self.key, self.values, self.outcome, self.wait_s = status, key, values, outcome, wait_s

    def answer(self, context: "RequestContext") -> Response:
        """Return the message in the client's language, in the format that the page or gradio_client can show."""
        text = tr(self.key, gr.Request(request=context.request)).format(*self.values)
        headers = {"retry-after": str(self.wait_s)} if self.wait_s else {}
        if self.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not read
        if context.endpoint == "upload":  # the page shows the response as plain text
            return PlainTextResponse(text, self.status, headers)
        if context.endpoint == "join" and context.request.headers.get("x-gradio-user") == "api":
            # gradio_client shows only messages of this form
            detail = {"__type__": "validate", "is_valid": False, "parameter_name": "request", "message": text}
            return JSONResponse({"detail": [detail]}, 422, headers)
        return JSONResponse({"detail": text}, self.status, headers)


def clean_headers(scope: Scope, *, trust_proxy: bool) -> None:
    """Remove the headers of a request that Gradio must not see; with `trust_proxy` those of the proxy stay.

    Gradio answers a `range` with all headers of the request, cookies too, and fails for a malformed one.
    """
    removed = (b"range", b"x-gradio-server")
    scope["headers"] = [
        (name, value)
        for name, value in scope["headers"]
        if name not in removed and (trust_proxy or not name.startswith(b"x-forwarded-"))
    ]


def check_headers(request: Request) -> None:
    """Raise RefusedError for a malformed name of this app or id, and for what another site asks for a visitor (CSRF).

    Call it after `clean_headers`: it believes the headers of a proxy. Forms must be UTF-8, because Gradio and Starlette
    decode them by the sender's charset, in the event loop: a codec such as punycode takes longer than the square of the
    length, and Python keeps the name of every unknown one for ever.
    """
    headers = request.headers
    hosts = [*headers.getlist("host"), *headers.getlist("x-forwarded-host")]
    options = [parse_options_header(text)[1] for text in headers.getlist("content-type")]
    ids = (request.query_params.get(key) for key in ("session_hash", "upload_id"))
    if not (
        all(re.fullmatch(NAMES, host, re.ASCII) for host in hosts)
        and all(each.get(b"charset", b"utf-8").lower() == b"utf-8" for each in options)
        and all(token is None or re.fullmatch(TOKEN, token, re.ASCII) for token in ids)
    ):
        raise RefusedError(400, "not_understood")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    is_own = site in ("same-origin", "none") if site else (origin or "").partition("://")[2] in hosts
    if (origin is not None and not is_own) or (site == "cross-site" and request.url.path == "/logout"):
        raise RefusedError(403, "other_site")


@dataclass
class RequestContext:
    """A request on its way through the middleware, with its whole body; a large one is kept on disk."""

    request: Request
    client: str  # its address, see `rate_limit.client_of`
    endpoint: str = "unknown"  # its name in the log
    begin: float = field(default_factory=time.perf_counter)
    body: SpooledTemporaryFile[bytes] = field(default_factory=partial(SpooledTemporaryFile, MAX_JSON))
    status: int = 0  # of the response, once it has started
    answer: bytes = b""  # to an upload: it names the file
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)  # gives back what the client holds
    turn: AsyncExitStack = field(default_factory=AsyncExitStack)  # the same, before a slow client reads the response

    def marked(self, send: Send) -> Send:
        """Return an ASGI `send` that sets our headers, and keeps the status and what the response names."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self.turn.aclose()
                self.status = message["status"]
                self._set_headers(message)
            elif self.endpoint == "upload":
                self.answer += message.get("body", b"")
            await send(message)

        return sent

    def _set_headers(self, message: Message) -> None:
        """Add HEADERS to a response; over HTTPS leave out the cookie that a browser would also send without it."""
        proxied = self.request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
        if "https" in (self.request.scope["scheme"], proxied):
            headers = message["headers"]
            message["headers"] = [(name, value) for name, value in headers if not value.startswith(OTHER_COOKIE)]
        MutableHeaders(scope=message).update(HEADERS)

    async def read(self, take: Callable[[int], None]) -> None:
        """Read the body, and `take` each of its bytes before.

        Raise RefusedError if it is too large or too slow, ClientDisconnect if the client has gone.
        """
        max_bytes = MAX_BYTES.get(self.endpoint, MAX_JSON)
        if int(self.request.headers.get("content-length") or 0) > max_bytes:
            raise _too_large(max_bytes)
        try:
            async with asyncio.timeout(MAX_S):
                async for chunk in self.request.stream():
                    take(len(chunk))
                    self.body.write(chunk)
                    if self.body.tell() > max_bytes:
                        raise _too_large(max_bytes)
        except TimeoutError:
            raise RefusedError(408, "too_slow", f"{MAX_S:.0f}") from None

    def replay(self) -> Receive:
        """Return an ASGI `receive` that gives the app this body and then the messages of the original one."""
        self.body.seek(0)
        chunks = chain(iter(partial(self.body.read, CHUNK), b""), [b""])
        messages = ({"type": "http.request", "body": chunk, "more_body": bool(chunk)} for chunk in chunks)

        async def replayed() -> Message:
            return next(messages, None) or await self.request.receive()

        return replayed

    def is_one_picture(self) -> bool:
        """Return whether the body is a form with one file and nothing else."""
        kind, options = parse_options_header(self.request.headers.get("content-type"))
        boundary = b"--" + options.get(b"boundary", b"")
        self.body.seek(0)
        data = self.body.read()
        head = data.partition(b"\r\n\r\n")[0]
        is_file = b"filename=" in head and len(head) <= MAX_HEAD
        return kind == b"multipart/form-data" and boundary != b"--" and data.count(boundary) == 2 and is_file

    def json(self) -> dict[str, Any]:
        """Parse the body as a JSON object. Raise RefusedError if it is not one or is nested too deep."""
        self.body.seek(0)
        try:
            value = json.loads(self.body.read())
        except (ValueError, RecursionError):
            raise RefusedError(400, "not_understood") from None
        if not isinstance(value, dict):
            raise RefusedError(400, "not_understood")
        _check_value(value)
        return value


def _check_value(value: Any) -> None:
    """Refuse deep nesting and files that are not uploads: for any component, Gradio would download an address."""
    level, paths = [value], set()
    for _ in range(MAX_DEPTH):
        for part in level:
            path = part.get("path") if isinstance(part, dict) else None
            if isinstance(path, str):
                paths.add(path)
                if not isinstance(part.get("meta", {}), dict):
                    raise RefusedError(400, "not_an_upload")
        containers = (part.values() if isinstance(part, dict) else part for part in level)
        level = [part for parts in containers for part in parts if isinstance(part, dict | list)]
    if len(paths) > MAX_PATHS or not all(map(is_upload, paths)):
        raise RefusedError(400, "not_an_upload")
    if level:
        raise RefusedError(400, "not_understood")


def _too_large(max_bytes: int) -> RefusedError:
    limit = f"{MAX_PICTURE // 2**20} MB" if max_bytes == MAX_UPLOAD else f"{max_bytes // 2**10} kB"
    return RefusedError(413, "too_large", limit)
