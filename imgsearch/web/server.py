"""Serve the page: run Gradio's server with our security middleware until the process is interrupted."""

import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import gradio as gr

from imgsearch.config import Settings
from imgsearch.engine import Engine
from imgsearch.environment import bypass_proxy_for_localhost
from imgsearch.errors import SettingsError
from imgsearch.web.components.upload import randomise_upload_paths
from imgsearch.web.i18n import browser_translations
from imgsearch.web.page import build_app
from imgsearch.web.request_log import show_requests
from imgsearch.web.security.body import MAX_PICTURE
from imgsearch.web.security.cleanup import Janitor
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.security.middleware import security_middleware

STYLE = Path(__file__).parent / "static" / "style.css"
NUM_SESSIONS = 1000  # kept in memory, about 50 kB each; beyond that the least recently used ones are dropped
ANSWERS_S = 1  # seconds that running requests get to finish when the app ends


def serve(engines: Sequence[Engine], settings: Settings, closing: ExitStack) -> None:
    """Serve the page with one engine per collection until the process is interrupted.

    Register in `closing` everything to clean up at the end. Raise SettingsError if the port is taken.
    """
    bypass_proxy_for_localhost()
    decoder = Decoder()
    closing.callback(decoder.close)
    app = build_app(engines, decoder)
    show_requests()
    closing.callback(_close, app)
    launch(app, engines, settings)
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    janitor = Janitor(app, folder)
    closing.callback(shutil.rmtree, folder, ignore_errors=True)  # runs before those above, which may take long
    print(f"imgsearch is on {app.local_url}", flush=True)
    if settings.share:
        from imgsearch.web.share import Link, announcement

        names = [engine.bundle.resolve().name for engine in engines]
        print(announcement(names, has_password=bool(settings.users)), flush=True)
        link = Link(app)
        closing.callback(link.close)
        link.open()
    threading.Thread(target=_finish_loading, args=(engines,), name="models", daemon=True).start()
    janitor.sweep_for_ever()


def launch(app: gr.Blocks, engines: Sequence[Engine], settings: Settings) -> None:
    """Serve the page in the background and return once it answers. Raise SettingsError if the port is taken."""
    randomise_upload_paths()
    app.queue(api_open=False)  # no calls that bypass the queues
    os.environ.pop("SYSTEM", None)  # on a Space Gradio would watch for new code and run it
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port,
            share=False,  # with True, launch would wait for the link; `share` opens it in the background instead
            auth=settings.users or None,
            prevent_thread_lock=True,
            quiet=True,
            i18n=browser_translations(),
            theme=gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"]),
            css_paths=STYLE,
            max_file_size=MAX_PICTURE,
            footer_links=["api", "settings"],
            enable_monitoring=False,
            run_history=False,
            show_error=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            state_session_capacity=NUM_SESSIONS,
            app_kwargs=security_middleware(engines, settings),
        )
    except OSError:
        address = f"{settings.host}:{settings.port or 'any port'}"
        raise SettingsError("{place} cannot be listened on. Give another --port or --host.", place=address) from None


def _finish_loading(engines: Sequence[Engine]) -> None:
    for engine in engines:
        engine.finish_loading()


def _close(app: gr.Blocks) -> None:
    if app.is_running:
        app.server.config.timeout_graceful_shutdown = ANSWERS_S
    app.close(verbose=False)
