"""The app: three tabs over one engine. Run `python app.py`."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from imgsearch.config import FlagParser, Settings, cache_folder, reach_self_directly
from imgsearch.decoder import Decoder
from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError, SettingsError
from imgsearch.models import STARTER
from imgsearch.plain import plain
from imgsearch.remote import at_hand
from imgsearch.surroundings import can_write, on_space, prepare

if TYPE_CHECKING:  # Gradio takes seconds to import: after the flags are read
    import gradio as gr

STYLE = Path(__file__).parent / "imgsearch" / "tabs" / "style.css"
NUM_SESSIONS = 1000  # that are remembered, 50 kB each; those that asked longest ago are forgotten
ANSWERS_S = 1  # that those under way have when the app ends, before they are cut short
END_S = 4.0  # in which it ends, whatever runs
SPACE_IS_PUBLIC = "A Space has an address of its own, so --share is left out."
FLAGS = (
    *("index", "host", "port", "share", "auth", "auth_file", "public", "rate", "trust_proxy"),
    *("encoder", "captioner", "precision"),
)


def build_app(engines: Sequence[Engine], decoder: Decoder) -> gr.Blocks:
    """The page, not yet served, over an engine for each collection; they may load their models later."""
    import gradio as gr

    from imgsearch.tabs import banner
    from imgsearch.tabs.address import Address
    from imgsearch.tabs.collections import Collections
    from imgsearch.tabs.describe import DescribeTab
    from imgsearch.tabs.languages import i18n
    from imgsearch.tabs.overview import Overview
    from imgsearch.tabs.picked import Pictures
    from imgsearch.tabs.search import SearchTab
    from imgsearch.tabs.similar import SimilarTab

    t = i18n()
    app = gr.Blocks(title="imgsearch", fill_width=True)
    with app:
        banner.draw_title(app)
        gr.Markdown(t("tagline"), elem_id="tagline")
        address = Address()
        collections = Collections(engines)
        collections.draw(t)
        models = banner.draw(collections, app)
        parts = collections, Pictures(decoder), address, t, models
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab(t("describe_tab"), id="describe", elem_id="describe_tab"):
                describe = DescribeTab(*parts)
            with gr.Tab(t("similar_tab"), id="similar", elem_id="similar_tab"):
                similar = SimilarTab(*parts)
            with gr.Tab(t("search_tab"), id="search", elem_id="search_tab"):
                search = SearchTab(*parts)
        overview = Overview(*parts)
        overview.connect(similar.results)
        overview.connect(search.results)
        address.connect(tabs, collections, {"describe": describe, "similar": similar, "search": search})
    return app


def serve(app: gr.Blocks, engines: Sequence[Engine], settings: Settings) -> None:
    """Serve the page in the background and return once it answers. Raises SettingsError where the port is taken."""
    import gradio as gr

    from imgsearch.tabs.bodies import MAX_PICTURE
    from imgsearch.tabs.gate import gated
    from imgsearch.tabs.languages import i18n
    from imgsearch.tabs.upload import hide_names

    hide_names()
    app.queue(api_open=False)  # no way around the queues
    os.environ.pop("SYSTEM", None)  # on a Space Gradio would watch for new code, and run it
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port,
            share=False,  # Gradio would let the page wait for it
            auth=settings.users or None,
            prevent_thread_lock=True,
            quiet=True,
            i18n=i18n(),
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
            app_kwargs=gated(engines, settings.rate, trust_proxy=settings.trust_proxy, is_local=settings.is_local),
        )
    except OSError:
        place = f"{settings.host}:{settings.port or 'any port'}"
        raise SettingsError(f"{place} cannot be listened on. Give another --port or --host.") from None


def main() -> int:
    """Start the app and serve until interrupted. Returns 2 after one line on stderr where a setting is wrong."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, and cleans up
    with ExitStack() as closing:
        try:
            prepare(cache_folder().parent)
            _run(_settings(), closing)
        except ImgsearchError as error:
            print(f"imgsearch: {plain(str(error))}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            _end_in_time()
    os._exit(0)  # what still runs, such as a model that loads, would hold it up, and torch aborts when cut short


def _settings() -> Settings:
    parser = FlagParser(prog="app.py", description="Describe images, find similar ones, search by text.")
    parser.add_settings(*FLAGS)
    settings = Settings.read(vars(parser.parse_args()))
    if settings.share and on_space():
        print(SPACE_IS_PUBLIC, flush=True)
        settings = replace(settings, share=False)
    _ = settings.users  # a wrong one is told before anything is fetched
    return at_hand(settings)


def _run(settings: Settings, closing: ExitStack) -> None:
    """Serve until interrupted; what is to be closed then is left in `closing`."""
    os.environ["GRADIO_TEMP_DIR"] = folder = closing.enter_context(_visitors_folder())
    engines: list[Engine] = []
    for bundle in settings.index:
        captioner = STARTER if engines else settings.captioner  # the first one describes
        engines.append(Engine(Path(bundle), settings.encoder, captioner, settings.precision, behind=True))
        closing.callback(engines[-1].close)
        engines[-1].check()
    reach_self_directly()
    decoder = Decoder()
    closing.callback(decoder.close)
    app = build_app(engines, decoder)
    from imgsearch.tabs.journal import show_requests
    from imgsearch.tabs.leftovers import Leftovers

    show_requests()
    closing.callback(_close, app)
    serve(app, engines, settings)
    leftovers = Leftovers(app, Path(folder))
    closing.callback(shutil.rmtree, folder, ignore_errors=True)  # first of all, whatever else takes long
    print(f"imgsearch is on {app.local_url}", flush=True)
    if settings.share:
        from imgsearch.sharing import Link, announcement

        names = [engine.bundle.resolve().name for engine in engines]
        print(announcement(names, has_password=bool(settings.users)), flush=True)
        link = Link(app)
        closing.callback(link.close)
        link.open()
    threading.Thread(target=_complete, args=(engines,), name="models", daemon=True).start()
    leftovers.sweep_for_ever()


def _visitors_folder() -> TemporaryDirectory[str]:
    """Where their pictures lie, in nobody else's reach, until the app ends."""
    place = os.environ.get("GRADIO_TEMP_DIR")
    if place and not can_write(Path(place)):
        raise SettingsError(f"GRADIO_TEMP_DIR is {place}, where nothing can be written. Give another folder.")
    return TemporaryDirectory(prefix="imgsearch-", dir=place or None, ignore_cleanup_errors=True)


def _complete(engines: Sequence[Engine]) -> None:
    for engine in engines:
        engine.complete()


def _close(app: gr.Blocks) -> None:
    """Stop serving."""
    if app.is_running:
        app.server.config.timeout_graceful_shutdown = ANSWERS_S
    app.close(verbose=False)


def _end_in_time() -> None:
    """End the process after END_S where closing does not.

    No file is left half-written, whatever is cut short: each is put in its place whole, by a rename.
    """
    logging.disable()  # what is cut short now would be told as an error
    for number in (signal.SIGINT, signal.SIGTERM):  # once is enough
        signal.signal(number, signal.SIG_IGN)
    timer = threading.Timer(END_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
