"""Example pictures to try with one click, each with a name for screen readers."""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from imgsearch.config import ROOT
from imgsearch.images import open_rgb, to_webp
from imgsearch.web.components.refine import data_url
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import QUIET
from imgsearch.web.i18n import DEFAULT, language_of, tr

EXAMPLES = (
    "stamps/animals-birds-owl.jpg",
    "skimage/chelsea.jpg",
    "wallpapers/yellow_flower.jpg",
    "places/colosseum.jpg",
    "wallpapers/mountain_path.jpg",
)
TEMPLATE = '<p class="label"></p><ul class="examples"></ul>'
SIDE = 116  # pixels, shown at half the size for sharp screens


class Examples:
    """The example pictures as buttons."""

    def __init__(self, models: gr.State, name: str) -> None:
        """Draw the buttons in the current layout, empty: the change event of `models` fills them, in one language."""
        self._view = scripted_html(f"{name}_examples", TEMPLATE, "elements", "examples")
        models.change(_value, None, self._view, **QUIET)

    def connect(self, picture: gr.Image) -> Callable[..., Any]:
        """Put a clicked example into `picture`. Return the trigger (`then`) for what should run after that."""
        then: Callable[..., Any] = self._view.select(_chosen, None, picture, trigger_mode="always_last", **QUIET).then
        return then


def _chosen(event: gr.EventData) -> Any:
    index, paths = getattr(event, "number", None), _paths()
    return str(paths[index]) if isinstance(index, int) and 0 <= index < len(paths) else gr.skip()


def _paths() -> list[Path]:
    return [path for name in EXAMPLES if (path := ROOT / "examples" / name).is_file()]


@cache
def _thumbnail(path: Path) -> str:
    return data_url(to_webp(open_rgb(path), SIDE))


@cache
def _captions() -> dict[str, dict[str, str]]:
    """Return the metadata row of each example by file name."""
    with (ROOT / "examples" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return {row["file_name"]: row for row in csv.DictReader(file)}


def _value(request: gr.Request) -> dict[str, Any]:
    pictures: list[dict[str, str]] = []
    language = language_of(request)
    for position, path in enumerate(_paths(), start=1):
        row = _captions().get(path.relative_to(ROOT / "examples").as_posix(), {})
        caption = row.get("caption" if language == DEFAULT else f"caption_{language}", "")
        pictures.append({"src": _thumbnail(path), "name": tr("example_number", request).format(position, caption)})
    return {"title": tr("try_picture", request), "pictures": pictures}
