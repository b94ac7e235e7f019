"""ASGI middleware before Gradio: decide which requests are let in, how large, how often, and how many may wait."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from gradio.routes import App
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from imgsearch.config import Settings
from imgsearch.web.gradio_internals import has_state, is_event, is_known, queue_name, without_cors
from imgsearch.web.handlers import log_error, log_request
from imgsearch.web.security import endpoints
from imgsearch.web.security.cleanup import sweeping
from imgsearch.web.security.rate_limit import MAX_USER, Visitors, client_of
from imgsearch.web.security.request import TOKEN, RefusedError, RequestContext, check_headers, clean_headers

API = "/gradio_api"
MCP = f"{API}/mcp"  # with --mcp alone
READS = {  # what pages and API clients fetch; a file only by its path, never by a URL
    "page": rf"/|/config|{API}/info",  # cost time: limited by --rate, too, without the files of a page
    "stream": rf"{API}/(queue/data|upload_progress|heartbeat/{TOKEN}|call/(v2/)?\w+/(?P<event>{TOKEN}))",  # that last
    "asset": r"/(theme\.css|favicon\.ico|robots\.txt|healthz|logout)|/(assets|static|svelte)/.+",
    "other": rf"{API}/(user|app_id|login_check|startup-events|theme\.css|queue/status|file=(?!\w\w+:).+)",
}
WRITES = {
    "login": "/login",
    "join": f"{API}/queue/join",  # an event of the page or a call of gradio_client, queued
    "run": f"{API}/run/predict",  # an event of the page, not queued
    "call": rf"{API}/call/(?P<is_v2>v2/)?(?P<name>\w+)",
    "upload": f"{API}/upload",
    "cancel": f"{API}/cancel",
    "reset": f"{API}/reset",
    "card": f"{API}/component_server/?",  # a hit or a point of the map
    "mcp": f"{MCP}/?",  # a request of an agent
}
COUNTED = ("login", "upload", "call")  # limited by --rate, like joins that wait for a model
ALONE = ("upload", "run", "card", "mcp")  # answered at once, outside of the queues: those of a client one by one
REFUSAL_S = 0.3  # seconds before a client learns that it asks too often: it may ask again at once
NOTED = ("login", "upload")  # logged here; a request for a model is logged by its handler when it is done


def security_middleware(settings: Settings, health: Route, agents: Starlette | None) -> dict[str, Any]:
    """Return the `app_kwargs` for Gradio's `launch` that add our middleware, the route `health` and that of agents."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        """Check names before all else, permit no other site to read the app; sweep while the server runs."""
        hosts = Middleware(TrustedHostMiddleware, settings.trusted_hosts, www_redirect=False)
        app.user_middleware = [hosts, *without_cors(app.user_middleware)]
        app.middleware_stack = app.build_middleware_stack()
        async with sweeping(app), agents.router.lifespan_context(agents) if agents else nullcontext():
            yield

    security = Middleware(SecurityMiddleware, settings)
    routes = [health, *([Mount(MCP, agents)] if agents else [])]
    return {"middleware": [security], "routes": routes, "lifespan": lifespan, "openapi_url": None}


class SecurityMiddleware:
    """ASGI middleware around Gradio's app: every HTTP request passes here first."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._trust_proxy, self._has_agents = app, settings.trust_proxy, settings.mcp
        self._visitors = Visitors(settings.rate, settings.users)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the app, or answer why it is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clean_headers(scope, trust_proxy=self._trust_proxy)
        request = Request(scope, receive)
        context = RequestContext(request, client_of(request, trust_proxy=self._trust_proxy))
        scope["client"] = context.client, 0
        send = context.marked(send)
        async with context.closing, context.turn:
            context.closing.callback(context.body.close)
            await self._answer(context, scope, receive, send)

    async def _answer(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, await self._admit(context), send)
            self._visitors.note_answer(context)
            if context.endpoint in NOTED:
                outcome = "ok" if context.status < 400 else "refused"
                log_request(context.endpoint, context.begin, outcome)
        except ClientDisconnect:
            pass  # before all of the body had come
        except RefusedError as refusal:
            log_request(context.endpoint, context.begin, refusal.outcome, refusal.key)
            await asyncio.sleep(REFUSAL_S if refusal.outcome == "rate" else 0)
            await refusal.answer(context)(scope, receive, send)
        except Exception as error:
            log_error(context.endpoint, error)
            if not context.status:
                await RefusedError(500, "failed").answer(context)(scope, receive, send)

    async def _admit(self, context: RequestContext) -> Receive:
        """Check a request; return the `receive` for the app. Raise RefusedError or ClientDisconnect."""
        request, path = context.request, context.request.scope["path"]
        if request.method in ("GET", "HEAD"):
            await self._admit_read(context)
            return request.receive
        endpoint, match = _route(WRITES, path)
        if request.method != "POST" or not match or (endpoint == "mcp" and not self._has_agents):
            raise RefusedError(404, "not_there")
        context.endpoint = endpoint
        check_headers(request)
        if endpoint == "mcp":
            self._visitors.check_password(context)
            self._visitors.take(context, "stream")
            request.scope["path"] = f"{MCP}/"
        if endpoint not in ("join", "mcp"):
            self._visitors.count(context.client, "model" if endpoint in COUNTED else "other")
        await context.read(partial(self._visitors.take, context, "body"))
        await self._check_body(context, match)
        return context.replay()

    async def _admit_read(self, context: RequestContext) -> None:
        """Check a request that reads. Raise RefusedError if it is not let in."""
        request, path, blocks = context.request, context.request.scope["path"], context.request.app.get_blocks()
        kind, match = _route(READS, path)
        if not match:  # agents ask whether messages come from here, and know 405 for a no
            raise RefusedError(405 if self._has_agents and path.startswith(MCP) else 404, "not_there")
        context.endpoint = "read"
        if not path.startswith("/assets/"):  # Gradio's own files, for which a browser names the Origin of our page
            check_headers(request)
        if kind == "page":
            self._visitors.count(context.client, "page")
            await self._visitors.take_only(context, "page")
        if kind == "stream":
            self._visitors.take(context, "stream")
        session = request.query_params.get("session_hash", "")
        is_unknown = path == f"{API}/queue/data" and not is_known(blocks, session)
        event = match.groupdict().get("event")
        if is_unknown or (event and not is_event(blocks, event)):
            raise RefusedError(404, "not_there")
        if path == f"{API}/info":  # of a page: without one, all get the code that names the first client's address
            request.scope["query_string"] = b"page="

    async def _check_body(self, context: RequestContext, match: re.Match[str]) -> None:
        endpoint, blocks = context.endpoint, context.request.app.get_blocks()
        if endpoint == "upload" and not context.is_one_picture():
            raise RefusedError(400, "one_picture")
        if endpoint in ALONE:
            await self._visitors.take_only(context, endpoint)
        if endpoint in ("upload", "reset"):
            return
        if endpoint == "login":
            form = await Request(context.request.scope, context.replay()).form()
            # By user name, too, so that the mistakes of others with the same address keep nobody out.
            self._visitors.count(f"{context.client} {str(form.get('username', ''))[:MAX_USER]}", "login")
            return
        payload = context.json()
        if endpoint == "mcp":
            self._visitors.count(context.client, "model" if payload.get("method") == "tools/call" else "other")
            return
        session = endpoints.session_of(payload)
        if endpoint == "card":
            endpoints.check_card(blocks, payload, session)
        if session and endpoint != "cancel" and not has_state(blocks, session):
            self._visitors.count(context.client, "session")
        if endpoint in ("card", "cancel"):
            return
        if endpoint == "call":
            function = endpoints.public_function(blocks, match["name"], payload, has_names=bool(match["is_v2"]))
        else:
            function = endpoints.page_function(blocks, payload, is_queued=endpoint == "join")
        if endpoint == "join":
            self._visitors.count(context.client, "model" if queue_name(function) else "other")
        if function.queue:
            endpoints.check_queue(blocks, function, session)
            await self._visitors.take_turn(context, blocks, function)


def _route(patterns: Mapping[str, str], path: str) -> tuple[str, re.Match[str] | None]:
    """Return the name of the pattern that a whole path has, and the match."""
    matches = ((name, re.fullmatch(pattern, path, re.ASCII)) for name, pattern in patterns.items())
    return next(((name, match) for name, match in matches if match), ("", None))
