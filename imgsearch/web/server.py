"""Serve the page: run Gradio's server with our security middleware until the process is interrupted."""

import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stdout
from functools import partial

import gradio as gr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from imgsearch import __version__
from imgsearch.config import Settings
from imgsearch.engine import Engine
from imgsearch.environment import bypass_proxy_for_localhost, collection_name
from imgsearch.errors import SettingsError
from imgsearch.models.registry import model_name
from imgsearch.text import sanitise_line
from imgsearch.web import gradio_internals
from imgsearch.web.api import tool_server
from imgsearch.web.components.inputs import upload_folder
from imgsearch.web.components.scripted import STATIC
from imgsearch.web.handlers import show_requests
from imgsearch.web.i18n import browser_translations
from imgsearch.web.page import build_app
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.security.endpoints import MAX_WAITING
from imgsearch.web.security.middleware import MCP, security_middleware
from imgsearch.web.security.rate_limit import OWN_CONNECTIONS, LimitedProtocol, prepare_connections
from imgsearch.web.security.request import MAX_PICTURE

MAX_WAITING_IN_ALL = 6 * MAX_WAITING  # requests in all queues together
NUM_SESSIONS = 1000  # kept in memory, about 45 kB each; one that is forgotten is made again when it asks
ANSWERS_S = 1  # seconds that running requests get to finish when the app ends
NO_LINK = "A public link could not be opened: is there internet? The local app goes on."


def serve(engines: Sequence[Engine], settings: Settings, closing: ExitStack) -> None:
    """Serve the page with one engine per collection until the process is interrupted.

    Register in `closing` everything to clean up at the end. Raise SettingsError if the port is taken.
    """
    bypass_proxy_for_localhost()
    decoder = Decoder(max_own=1 if settings.rate else sys.maxsize)
    closing.callback(gradio_internals.close_links)
    closing.callback(decoder.close)
    app = build_app(engines, decoder, originals=settings.is_local)
    agents = tool_server(engines, decoder) if settings.mcp else None
    show_requests()
    closing.callback(app.close, verbose=False)
    if settings.share:
        names = [collection_name(engine.bundle) for engine in engines]
        print(announcement(names, has_password=bool(settings.users)), flush=True)
    # In a thread, so that the app can be interrupted while Gradio waits for the share server.
    ThreadPoolExecutor(1).submit(launch, app, engines, settings, agents).result()
    closing.callback(shutil.rmtree, upload_folder(), ignore_errors=True)  # runs first: those above may take long
    print(f"imgsearch is on {app.local_url}", flush=True)
    if agents:
        print(f"Agents find it at {app.local_url}{MCP.strip('/')}/", flush=True)
    if settings.share:
        print(f"and for a week on {app.share_url}" if app.share_url else NO_LINK, flush=True)
    threading.Thread(target=_finish_loading, args=(engines,), name="models", daemon=True).start()
    while True:
        time.sleep(3600)


def announcement(names: Sequence[str], *, has_password: bool) -> str:
    """Return the text that says what the public link opens and to whom."""
    audience = "those who have the link and a password" if has_password else "everyone who has the link"
    return (
        f"--share opens this page to {audience}, for a week, by way of Gradio's servers. They may see and search\n"
        f"{', '.join(map(sanitise_line, names))}, and use this machine to compute. "
        "What they upload stays on it until the app ends at most."
    )


def launch(app: gr.Blocks, engines: Sequence[Engine], settings: Settings, agents: Starlette | None = None) -> None:
    """Serve the page in the background; return once it answers and, with --share, the link is open or cannot be.

    Raise SettingsError if the port is taken.
    """
    gradio_internals.randomise_upload_paths()
    prepare_connections()
    app.queue(max_size=MAX_WAITING_IN_ALL, api_open=False)  # no calls that bypass the queues
    os.environ.pop("SYSTEM", None)  # on a Space Gradio would watch for new code and run it
    health = health_route(engines, has_password=bool(settings.users))
    try:
        with redirect_stdout(io.StringIO()):  # Gradio's own words about the link, which are many
            app.launch(
                server_name=settings.host,
                server_port=settings.port,
                share=settings.share,
                auth=settings.users or None,
                prevent_thread_lock=True,
                quiet=True,
                i18n=browser_translations(),
                theme=_theme(),
                css_paths=STATIC / "style.css",
                js=(STATIC / "address.js").read_text("utf-8"),
                max_file_size=MAX_PICTURE,
                footer_links=["api", "settings"],
                enable_monitoring=False,
                run_history=False,
                show_error=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                state_session_capacity=NUM_SESSIONS,
                app_kwargs=security_middleware(settings, health, agents),
            )
        own = sys.maxsize if settings.trust_proxy else OWN_CONNECTIONS  # a proxy limits those of its clients itself
        gradio_internals.configure_server(app, partial(LimitedProtocol, own_connections=own), ANSWERS_S)
    except OSError:
        address = f"{settings.host}:{settings.port or 'any port'}"
        raise SettingsError("{place} cannot be listened on. Give another --port or --host.", place=address) from None


def health_route(engines: Sequence[Engine], *, has_password: bool) -> Route:
    """Return the route. It answers 200 and a JSON object while the app runs, waits for nothing and shows no paths.

    A model that is not loaded yet is ""; the number of items is None until then. The captioner is the first engine's.
    With a password, strangers who do not have it see no more than the status.
    """

    async def healthz(request: Request) -> JSONResponse:
        if has_password:
            return JSONResponse({"status": "ok"})
        statuses = [(collection_name(engine.bundle), engine.status) for engine in engines]
        first = statuses[0][1]
        answer = {
            "status": "ok",
            "version": __version__,
            "models": {"encoder": model_name(first.encoder), "captioner": model_name(first.captioner)},
            "collections": [{"name": name, "num_items": status.num_items} for name, status in statuses],
            "queue": gradio_internals.queue_lengths(request.app.get_blocks()),
        }
        return JSONResponse(answer)

    return Route("/healthz", healthz)


def _theme() -> gr.themes.Base:
    """Return the colours and letters of the page: dark enough on light for WCAG 2.2 AA (1.4.3), and the reverse."""
    theme = gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"])
    return theme.set(
        color_accent="*primary_700",
        body_text_color_subdued="*neutral_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


def _finish_loading(engines: Sequence[Engine]) -> None:
    for engine in engines:
        engine.models.load_in_background()
