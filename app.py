"""Start the app: settings, one engine for each collection, the page. Run `python app.py`."""

import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from imgsearch.config import FLAGS, FlagParser, Settings
from imgsearch.environment import (
    cache_folder,
    configure_environment,
    exit_within,
    limit_malloc,
    on_space,
    temporary_folder,
)
from imgsearch.errors import ImgsearchError, SettingsError
from imgsearch.text import sanitise_line


def main() -> int:
    """Start the app and serve until it is interrupted. If a setting is wrong, print one line on stderr and return 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends the app as Ctrl-C does, with cleanup
    with ExitStack() as closing:
        try:
            limit_malloc()
            configure_environment(cache_folder().parent)
            settings = _settings()
            # Not above: each decode worker imports this file, and a signal during these imports must end the app, too.
            from imgsearch.engine import Engine
            from imgsearch.index.remote import fetch_hub_bundles
            from imgsearch.model_manager import ModelManager
            from imgsearch.models.registry import STARTER

            os.environ["GRADIO_TEMP_DIR"] = closing.enter_context(temporary_folder())
            engines: list[Engine] = []
            for bundle in fetch_hub_bundles(settings).index:
                captioner = STARTER if engines else settings.captioner  # only the first engine needs one
                models = ModelManager(Path(bundle), settings.encoder, captioner, settings.precision, settings.exact)
                closing.callback(models.close)
                models.check()
                engines.append(Engine(models, words=not settings.no_words))
            if not settings.mcp:  # wherever it is installed Gradio would import it: 11 MB
                sys.modules["mcp"] = None  # type: ignore[assignment]
            from imgsearch.web.server import serve  # Gradio takes seconds to import: report wrong settings first

            serve(engines, settings, closing)
        except ImgsearchError as error:
            print(f"imgsearch: {sanitise_line(str(error))}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            exit_within(4.0)  # seconds, whatever still runs
    os._exit(0)  # a model that is still loading would delay the exit, and torch aborts if it is interrupted


def _settings() -> Settings:
    parser = FlagParser(prog="app.py", description="Describe images, find similar ones, search by text.")
    parser.add_settings(*FLAGS)
    settings = Settings.read(vars(parser.parse_args()))
    if settings.share and on_space():
        print("A Space has an address of its own, so --share is left out.", flush=True)
        settings = replace(settings, share=False)
    _ = settings.users  # report wrong users before anything is fetched
    if settings.mcp and not find_spec("mcp"):
        raise SettingsError("--mcp needs a package. Install it: {command}", command='pip install "mcp>=1.21,<2"')
    return settings


if __name__ == "__main__":
    sys.exit(main())
