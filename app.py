"""Start the app: settings, one engine for each collection, the page. Run `python app.py`."""

import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from imgsearch.config import FLAGS, FlagParser, Settings
from imgsearch.engine import Engine
from imgsearch.environment import cache_folder, configure_environment, exit_within, on_space, temporary_folder
from imgsearch.errors import ImgsearchError
from imgsearch.index.remote import fetch_hub_bundles
from imgsearch.models.registry import STARTER
from imgsearch.text import sanitise_line

SPACE_IS_PUBLIC = "A Space has an address of its own, so --share is left out."
END_S = 4.0  # seconds after which the process ends, whatever still runs


def main() -> int:
    """Start the app and serve until it is interrupted. If a setting is wrong, print one line on stderr and return 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends the app as Ctrl-C does, with cleanup
    with ExitStack() as closing:
        try:
            configure_environment(cache_folder().parent)
            settings = _settings()
            os.environ["GRADIO_TEMP_DIR"] = closing.enter_context(temporary_folder())
            engines: list[Engine] = []
            for bundle in settings.index:
                captioner = STARTER if engines else settings.captioner  # only the first engine needs one
                models = (settings.encoder, captioner, settings.precision)
                engines.append(Engine(Path(bundle), *models, words=not settings.no_words, background=True))
                closing.callback(engines[-1].close)
                engines[-1].check()
            from imgsearch.web.server import serve  # Gradio takes seconds to import: report wrong settings first

            serve(engines, settings, closing)
        except ImgsearchError as error:
            print(f"imgsearch: {sanitise_line(str(error))}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            exit_within(END_S)
    os._exit(0)  # a model that is still loading would delay the exit, and torch aborts if it is interrupted


def _settings() -> Settings:
    parser = FlagParser(prog="app.py", description="Describe images, find similar ones, search by text.")
    parser.add_settings(*FLAGS)
    settings = Settings.read(vars(parser.parse_args()))
    if settings.share and on_space():
        print(SPACE_IS_PUBLIC, flush=True)
        settings = replace(settings, share=False)
    _ = settings.users  # report wrong users before anything is fetched
    return fetch_hub_bundles(settings)


if __name__ == "__main__":
    sys.exit(main())
