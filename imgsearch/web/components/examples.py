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


def draw_examples(models: gr.State, picture: gr.Image, name: str) -> Callable[..., Any]:
    """Draw the examples as buttons, which put them into `picture`. Return the trigger for what should run after that.

    They are empty until the change event of `models` fills them, in the visitor's language.
    """
    view = scripted_html(f"{name}_examples", TEMPLATE, "elements", "examples")
    models.change(_value, None, view, **QUIET)
    then: Callable[..., Any] = view.select(_chosen, None, picture, trigger_mode="always_last", **QUIET).then
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
def _captions(language: str) -> dict[str, str]:
    """Return the caption of each example by file name."""
    column = "caption" if language == DEFAULT else f"caption_{language}"
    with (ROOT / "examples" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return {row["file_name"]: row.get(column, "") for row in csv.DictReader(file)}


def _value(request: gr.Request) -> dict[str, Any]:
    captions, name = _captions(language_of(request)), tr("example_number", request)
    pictures = [
        {"src": _thumbnail(path), "name": name.format(number, captions.get(f"{path.parent.name}/{path.name}", ""))}
        for number, path in enumerate(_paths(), start=1)
    ]
    return {"title": tr("try_picture", request), "pictures": pictures}
