"""The gate before the app: which requests are let in, how large, how often, and how many wait for the models."""

import math
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
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgsearch.engine import Engine
from imgsearch.web import request_log
from imgsearch.web.handlers import MODEL_QUEUES
from imgsearch.web.health import health_route
from imgsearch.web.security import endpoints
from imgsearch.web.security.body import MAX_JSON, MAX_UPLOAD, Body, check_charset
from imgsearch.web.security.endpoints import TOKEN
from imgsearch.web.security.rate_limit import RateLimit, client_of
from imgsearch.web.security.refusals import RefusedError

API = "/gradio_api"
READS = (  # what pages and API clients fetch; a file never by an address
    rf"/|/(config|theme\.css|favicon\.ico|robots\.txt|healthz|logout)|/(assets|static|svelte)/.+|{API}/("
    rf"info|user|app_id|login_check|startup-events|theme\.css|queue/(data|status)|upload_progress|heartbeat/{TOKEN}|"
    rf"call/(v2/)?\w+/{TOKEN}|file=(?!\w\w+:).+)"
)
WRITES = {
    "login": "/login",
    "join": f"{API}/queue/join",  # an event of the page, or a call by gradio_client
    "run": f"{API}/run/predict",  # an event of the page outside of the queue
    "call": rf"{API}/call/(?P<is_v2>v2/)?(?P<name>\w+)",
    "upload": f"{API}/upload",
    "cancel": f"{API}/cancel",
    "reset": f"{API}/reset",
    "card": f"{API}/component_server/?",  # of the map
}
COUNTED = ("login", "upload", "call")  # and joins that wait for a model
LOGINS = 10  # a minute, of one client
OTHERS = 10  # times as many requests that wait for no model
PAGES = rf"/|/config|{API}/info"  # reads that cost time
LOCAL = r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?"
NOTED = ("login", "upload")  # in the log; what waits for a model is noted when it is done
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}  # the page's links hold queries


@dataclass
class RequestContext:
    """A request on its way through the gate."""

    request: Request
    body: Body = field(default_factory=Body)
    endpoint: str = "unknown"  # what the log calls it
    begin: float = field(default_factory=time.perf_counter)
    is_admitted: bool = False
    is_answered: bool = False  # or about to be

    def marked(self, send: Send) -> Send:
        """A `send` that adds the headers of every answer."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.is_answered = True
                if self.endpoint in NOTED and self.is_admitted:
                    request_log.log_request(self.endpoint, self.begin, "ok" if message["status"] < 400 else "refused")
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        return sent


def security_middleware(
    engines: Sequence[Engine], rate: int | None, *, trust_proxy: bool, is_local: bool
) -> dict[str, Any]:
    """The `app_kwargs` for Gradio's `launch` that put a `SecurityMiddleware` before the app, and /healthz beside it."""
    gate = Middleware(SecurityMiddleware, rate=rate, trust_proxy=trust_proxy, is_local=is_local)
    return {"middleware": [gate], "routes": [health_route(engines)], "openapi_url": None}


class SecurityMiddleware:
    """ASGI middleware around Gradio's app."""

    def __init__(self, app: ASGIApp, rate: int | None, *, trust_proxy: bool, is_local: bool) -> None:
        """At most `rate` requests for models a minute may come from one client, None for any number.

        With `trust_proxy` the client is who the proxy in front says that it is. Where `is_local`, only this machine's
        own names are answered to: a name of someone else's may come to stand for this machine (DNS rebinding).
        """
        self._app = app
        self._rate = RateLimit(rate) if rate else None
        self._others = RateLimit(OTHERS * rate) if rate else None
        self._logins = RateLimit(LOGINS)
        self._trust_proxy, self._is_local = trust_proxy, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = RequestContext(Request(scope, receive))
        send = visit.marked(send)
        try:
            admitted = await self._admit(visit)
            if admitted:
                visit.is_admitted = True
                await self._app(scope, admitted, send)
        except RefusedError as refusal:
            request_log.log_request(visit.endpoint, visit.begin, refusal.outcome, refusal.key)
            await refusal.answer(visit.request, visit.endpoint)(scope, receive, send)
        except Exception as error:
            request_log.log_error(visit.endpoint, error)
            if not visit.is_answered:
                await RefusedError(500, "failed").answer(visit.request, visit.endpoint)(scope, receive, send)
        finally:
            visit.body.close()

    async def _admit(self, visit: RequestContext) -> Receive | None:
        """What the app is to receive the request by; None where the client has left. Raises RefusedError."""
        request, path = visit.request, visit.request.scope["path"]
        if request.method in ("GET", "HEAD"):
            if not re.fullmatch(READS, path, re.ASCII):
                raise RefusedError(404, "not_there")
            visit.endpoint = "read"
            self._check(request)
            if re.fullmatch(PAGES, path):
                self._count(visit, self._others)
            if path == f"{API}/queue/data":
                endpoints.check_stream(_blocks(request), request.query_params.get("session_hash", ""))
            return request.receive
        matches = {name: re.fullmatch(pattern, path, re.ASCII) for name, pattern in WRITES.items()}
        endpoint, match = next(((name, match) for name, match in matches.items() if match), ("", None))
        if request.method != "POST" or not match:
            raise RefusedError(404, "not_there")
        visit.endpoint = endpoint
        self._check(request)
        for content_type in request.headers.getlist("content-type"):
            check_charset(content_type)
        if endpoint != "join":
            self._count(visit, self._rate if endpoint in COUNTED else self._others)
        if not await visit.body.read(request, MAX_UPLOAD if endpoint == "upload" else MAX_JSON):
            return None
        self._check_body(visit, match)
        return visit.body.replay(request.receive)

    def _check(self, request: Request) -> None:
        """Refuse what another site's page asks in its visitor's name, and names that are none."""
        hosts = [request.headers.get("host")]
        if self._trust_proxy:
            hosts.append(request.headers.get("x-forwarded-host"))
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        is_own = site in ("same-origin", "none") if site else _host(origin or "") in hosts
        is_foreign = (origin is not None and not is_own) or (site == "cross-site" and request.url.path == "/logout")
        if is_foreign or (self._is_local and not re.fullmatch(LOCAL, hosts[0] or "")):
            raise RefusedError(403, "other_site")
        names = (request.query_params.get(key) for key in ("session_hash", "upload_id"))
        if not all(name is None or re.fullmatch(TOKEN, name, re.ASCII) for name in names):
            raise RefusedError(400, "not_understood")

    def _check_body(self, visit: RequestContext, match: re.Match[str]) -> None:
        if visit.endpoint == "upload" and not visit.body.is_one_picture(visit.request.headers.get("content-type", "")):
            raise RefusedError(400, "one_picture")
        if visit.endpoint not in ("join", "run", "call", "cancel", "card"):
            return
        asked, blocks = visit.body.json(), _blocks(visit.request)
        session = endpoints.session_of(asked)
        if visit.endpoint == "card":
            endpoints.check_card(blocks, asked, session)
        if visit.endpoint in ("cancel", "card"):
            return
        if visit.endpoint == "call":
            function = endpoints.public_function(blocks, match["name"], asked, has_names=bool(match["is_v2"]))
        else:
            function = endpoints.page_function(blocks, asked, is_queued=visit.endpoint == "join")
        if visit.endpoint == "join":
            self._count(visit, self._rate if function.concurrency_id in MODEL_QUEUES else self._others)
        if function.queue:
            endpoints.check_queue(blocks, function, session)

    def _count(self, visit: RequestContext, rate: RateLimit | None) -> None:
        client = client_of(visit.request, trust_proxy=self._trust_proxy)
        for counted in (rate, self._logins if visit.endpoint == "login" else None):
            wait_s = math.ceil(counted.wait_s(client)) if counted else 0
            if wait_s:
                raise RefusedError(429, "too_many", str(wait_s), outcome="rate", wait_s=wait_s)


def _blocks(request: Request) -> gr.Blocks:
    return cast(App, request.app).get_blocks()


def _host(origin: str) -> str:
    """Host and port of an address; "" where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
