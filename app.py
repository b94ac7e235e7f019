"""The app: three tabs over one engine. Run `python app.py`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgsearch.config import FlagParser, Settings, reach_self_directly
from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError, SettingsError
from imgsearch.models import STARTER

if TYPE_CHECKING:  # Gradio takes seconds to import: after the flags are read
    import gradio as gr

STYLE = Path(__file__).parent / "imgsearch" / "tabs" / "style.css"
CACHE_CHECK_S, CACHE_AGE_S = 3600, 86400  # uploads older than a day are deleted, looked for each hour
MAX_FILE_SIZE = "20mb"
NO_LINK = "A public link could not be opened: is there internet? The local app goes on."


def build_app(engines: Sequence[Engine]) -> gr.Blocks:
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
    delete_cache = (CACHE_CHECK_S, CACHE_AGE_S)
    app = gr.Blocks(title="imgsearch", analytics_enabled=False, delete_cache=delete_cache, fill_width=True)
    with app:
        banner.draw_title(app)
        gr.Markdown(t("tagline"), elem_id="tagline")
        address = Address()
        collections = Collections(engines)
        collections.draw(t)
        models = banner.draw(collections, app)
        parts = collections, Pictures(), address, t, models
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


def serve(app: gr.Blocks, settings: Settings) -> None:
    """Serve the page in the background and return once it answers. Raises SettingsError where the port is taken."""
    import gradio as gr

    from imgsearch.tabs.languages import i18n

    app.queue(api_open=False)  # no way around the queues
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port,
            share=settings.share,
            prevent_thread_lock=True,
            quiet=True,
            i18n=i18n(),
            theme=gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"]),
            css_paths=STYLE,
            max_file_size=MAX_FILE_SIZE,
            footer_links=["api", "settings"],
            enable_monitoring=False,
            run_history=False,
            show_error=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
        )
    except OSError:
        place = f"{settings.host or '127.0.0.1'}:{settings.port or 'any port'}"
        raise SettingsError(f"{place} cannot be listened on. Give another --port or --host.") from None


def _complete(engines: Sequence[Engine]) -> None:
    for engine in engines:
        engine.complete()


def main() -> int:
    """Start the app and serve until interrupted. Returns 2 after one line on stderr where a setting is wrong."""
    parser = FlagParser(prog="app.py", description="Describe images, find similar ones, search by text.")
    parser.add_settings("index", "host", "port", "share", "encoder", "captioner", "precision")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, and cleans up
    engines: list[Engine] = []
    try:
        settings = Settings.read(vars(parser.parse_args()))
        for bundle in settings.index:
            captioner = STARTER if engines else settings.captioner  # the first one describes
            engines.append(Engine(bundle, settings.encoder, captioner, settings.precision, behind=True))
            engines[-1].check()
        reach_self_directly()
        app = build_app(engines)
        serve(app, settings)
        print(f"imgsearch is on {app.local_url}", flush=True)
        if settings.share:
            print(f"and for everyone, for a week, on {app.share_url}" if app.share_url else NO_LINK, flush=True)
        threading.Thread(target=_complete, args=(engines,)).start()  # no daemon: torch aborts if it is cut short
        app.block_thread()
    except ImgsearchError as error:
        print(f"imgsearch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    finally:
        for engine in engines:
            engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
