"""ASGI middleware before Gradio: decide which requests are let in, how large, how often, and how many may wait."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import gradio as gr
from gradio.routes import App
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgsearch.config import Settings
from imgsearch.engine import Engine
from imgsearch.web import request_log
from imgsearch.web.gradio_internals import is_known
from imgsearch.web.handlers import MODEL_QUEUES
from imgsearch.web.health import health_route
from imgsearch.web.security import endpoints
from imgsearch.web.security.body import MAX_JSON, MAX_UPLOAD, Body, check_charset
from imgsearch.web.security.cleanup import sweeping
from imgsearch.web.security.endpoints import TOKEN
from imgsearch.web.security.rate_limit import RateLimit, client_of
from imgsearch.web.security.refusals import RefusedError

API = "/gradio_api"
READS = (  # what pages and API clients fetch; a file only by its path, never by a URL
    rf"/|/(config|theme\.css|favicon\.ico|robots\.txt|healthz|logout)|/(assets|static|svelte)/.+|{API}/("
    rf"info|user|app_id|login_check|startup-events|theme\.css|queue/(data|status)|upload_progress|heartbeat/{TOKEN}|"
    rf"call/(v2/)?\w+/{TOKEN}|file=(?!\w\w+:).+)"
)
WRITES = {
    "login": "/login",
    "join": f"{API}/queue/join",  # an event of the page or a call of gradio_client, queued
    "run": f"{API}/run/predict",  # an event of the page, not queued
    "call": rf"{API}/call/(?P<is_v2>v2/)?(?P<name>\w+)",
    "upload": f"{API}/upload",
    "cancel": f"{API}/cancel",
    "reset": f"{API}/reset",
    "card": f"{API}/component_server/?",  # a hit or a point of the map
}
COUNTED = ("login", "upload", "call")  # limited by --rate, like joins that wait for a model
LOGINS = 10  # per minute and client
OTHERS = 10  # times the rate: the limit for requests that need no model
PAGES = rf"/|/config|{API}/info"  # reads that cost time and are limited too
NOTED = ("login", "upload")  # logged here; a request for a model is logged by its handler when it is done
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}  # the page's links hold queries


@dataclass
class RequestContext:
    """A request on its way through the middleware."""

    request: Request
    body: Body = field(default_factory=Body)
    endpoint: str = "unknown"  # its name in the log
    begin: float = field(default_factory=time.perf_counter)
    status: int = 0  # of the response, once it has started

    def marked(self, send: Send) -> Send:
        """Return an ASGI `send` that adds HEADERS to the response and keeps its status."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        return sent


def security_middleware(engines: Sequence[Engine], settings: Settings) -> dict[str, Any]:
    """Return the `app_kwargs` for Gradio's `launch` that add our middleware and the route /healthz."""
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=settings.trusted_hosts, www_redirect=False)
    security = Middleware(SecurityMiddleware, rate=settings.rate, trust_proxy=settings.trust_proxy)
    routes = [health_route(engines)]
    return {"middleware": [hosts, security], "routes": routes, "lifespan": sweeping, "openapi_url": None}


class SecurityMiddleware:
    """ASGI middleware around Gradio's app: every HTTP request passes here first."""

    def __init__(self, app: ASGIApp, rate: int | None, *, trust_proxy: bool) -> None:
        """Allow each client `rate` requests for models per minute; None for no limit.

        With `trust_proxy` the client's address is the one that the proxy reports.
        """
        self._app = app
        self._rate = RateLimit(rate) if rate else None
        self._others = RateLimit(OTHERS * rate) if rate else None
        self._logins = RateLimit(LOGINS)
        self._trust_proxy = trust_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the app, or answer why it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = RequestContext(Request(scope, receive))
        send = context.marked(send)
        try:
            admitted = await self._admit(context)
            if admitted:
                await self._app(scope, admitted, send)
                if context.endpoint in NOTED:
                    outcome = "ok" if context.status < 400 else "refused"
                    request_log.log_request(context.endpoint, context.begin, outcome)
        except RefusedError as refusal:
            request_log.log_request(context.endpoint, context.begin, refusal.outcome, refusal.key)
            await refusal.answer(context.request, context.endpoint)(scope, receive, send)
        except Exception as error:
            request_log.log_error(context.endpoint, error)
            if not context.status:
                await RefusedError(500, "failed").answer(context.request, context.endpoint)(scope, receive, send)
        finally:
            context.body.close()

    async def _admit(self, context: RequestContext) -> Receive | None:
        """Check a request; return the `receive` for the app, or None if the client has left. Raise RefusedError."""
        request, path = context.request, context.request.scope["path"]
        if request.method in ("GET", "HEAD"):
            if not re.fullmatch(READS, path, re.ASCII):
                raise RefusedError(404, "not_there")
            context.endpoint = "read"
            if not path.startswith("/assets/"):  # Gradio's own files, for which a browser names the Origin of our page
                self._check(request)
            if re.fullmatch(PAGES, path):
                self._count(context, self._others)
            if path == f"{API}/info":  # of a page: without one, all get the code that names the first client's address
                request.scope["query_string"] = b"page="
            session = request.query_params.get("session_hash", "")
            if path == f"{API}/queue/data" and not is_known(_blocks(request), session):
                raise RefusedError(404, "not_there")
            return request.receive
        matches = {name: re.fullmatch(pattern, path, re.ASCII) for name, pattern in WRITES.items()}
        endpoint, match = next(((name, match) for name, match in matches.items() if match), ("", None))
        if request.method != "POST" or not match:
            raise RefusedError(404, "not_there")
        context.endpoint = endpoint
        self._check(request)
        for content_type in request.headers.getlist("content-type"):
            check_charset(content_type)
        if endpoint != "join":
            self._count(context, self._rate if endpoint in COUNTED else self._others)
        if not await context.body.read(request, MAX_UPLOAD if endpoint == "upload" else MAX_JSON):
            return None
        self._check_body(context, match)
        return context.body.replay(request.receive)

    def _check(self, request: Request) -> None:
        """Refuse requests that another site makes in a visitor's name (CSRF), and malformed ids."""
        hosts = [request.headers.get("host")]
        if self._trust_proxy:
            hosts.append(request.headers.get("x-forwarded-host"))
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        is_own = site in ("same-origin", "none") if site else _host(origin or "") in hosts
        if (origin is not None and not is_own) or (site == "cross-site" and request.url.path == "/logout"):
            raise RefusedError(403, "other_site")
        ids = (request.query_params.get(key) for key in ("session_hash", "upload_id"))
        if not all(token is None or re.fullmatch(TOKEN, token, re.ASCII) for token in ids):
            raise RefusedError(400, "not_understood")

    def _check_body(self, context: RequestContext, match: re.Match[str]) -> None:
        endpoint, blocks = context.endpoint, _blocks(context.request)
        if endpoint == "upload" and not context.body.is_one_picture(context.request.headers.get("content-type", "")):
            raise RefusedError(400, "one_picture")
        if endpoint in ("login", "upload", "reset"):
            return
        payload = context.body.json()
        session = endpoints.session_of(payload)
        if endpoint == "card":
            endpoints.check_card(blocks, payload, session)
        if endpoint in ("cancel", "card"):
            return
        if endpoint == "call":
            function = endpoints.public_function(blocks, match["name"], payload, has_names=bool(match["is_v2"]))
        else:
            function = endpoints.page_function(blocks, payload, is_queued=endpoint == "join")
        if endpoint == "join":
            self._count(context, self._rate if function.concurrency_id in MODEL_QUEUES else self._others)
        if function.queue:
            endpoints.check_queue(blocks, function, session)

    def _count(self, context: RequestContext, rate: RateLimit | None) -> None:
        client = client_of(context.request, trust_proxy=self._trust_proxy)
        for limit in (rate, self._logins if context.endpoint == "login" else None):
            wait_s = limit.wait_s(client) if limit else 0
            if wait_s:
                raise RefusedError(429, "too_many", str(wait_s), outcome="rate", wait_s=wait_s)


def _blocks(request: Request) -> gr.Blocks:
    return cast(App, request.app).get_blocks()


def _host(origin: str) -> str:
    """Return host and port of a URL; "" if it is not valid."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
