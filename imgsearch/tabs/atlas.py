"""The map of a collection: its points on a canvas, coloured by group, with the query and its hits marked on it."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from imgsearch.atlas import Atlas
from imgsearch.errors import InputError
from imgsearch.plain import short
from imgsearch.tabs.languages import num_pictures, word
from imgsearch.tabs.scripted import scripted

MAX_VALUES = 12  # of a column that have a colour of their own: six colours in two shapes
MAX_NAME, MAX_COLUMN = 60, 100  # characters of a value in the legend, and of a column
TEMPLATE = """
<div class="atlas" hidden>
  <div class="atlas-frame">
    <canvas tabindex="0" role="application"></canvas>
    <div class="atlas-zoom">
      <button type="button" data-word="zoom_in" data-key="+">+</button>
      <button type="button" data-word="zoom_out" data-key="-">−</button>
      <button type="button" data-word="fit" data-key="0">⤢</button>
    </div>
    <div class="atlas-card" hidden><img alt=""><p></p></div>
  </div>
  <div class="atlas-side">
    <label><span data-word="colour_by"></span><select></select></label>
    <ul class="atlas-legend"></ul>
    <p class="atlas-key" hidden>
      <span><i>★</i><span data-word="query"></span></span><span><i>◯</i><span data-word="hits"></span></span>
    </p>
  </div>
  <p class="atlas-live" aria-live="polite"></p>
</div>
"""
WORDS_OF_SCRIPT = ("colour_by", "other", "query", "hits", "zoom_in", "zoom_out", "fit")
Thumbnail = Callable[[str, int, gr.Request], tuple[bytes, str]]
"""(collection, point, request) -> (WebP, caption). Raises InputError or LookupError where there is no such point."""


class AtlasView:
    """The component that shows an `Atlas`. What it shows comes from `value` and `marks`, each returned by a handler.

    A click or Enter on a point is its `select` event, which `picked` reads.
    """

    def __init__(self, thumbnail: Thumbnail) -> None:
        self._thumbnail = thumbnail

    def draw(self) -> None:
        """Draw it in the current layout, empty."""

        def card(asked: Any, request: gr.Request) -> dict[str, str] | None:
            return self._card(asked, request)

        self.component = scripted("atlas", TEMPLATE, "atlas_draw", "atlas", server_functions=[card], marks=None)

    @staticmethod
    def value(
        collection: str, atlas: Atlas, groups: Mapping[str, Sequence[str]], request: gr.Request
    ) -> dict[str, Any]:
        """What the component's value becomes; `groups` holds the value of each point in each column ("" for none).

        The page colours by the first column, or by the clusters where there is none. 7 bytes a point and 1.3 more
        for each column.
        """
        num_clusters = max(atlas.clusters.tolist(), default=-1) + 1
        clusters = [word("map_cluster", request).format(number) for number in range(1, num_clusters + 1)]
        return {
            "collection": collection,
            "points": _packed(atlas.points.astype("<u2")),
            "colourings": [
                *(_by_column(name, values) for name, values in groups.items()),
                {"name": word("map_clusters", request), "values": clusters, "codes": _packed(atlas.clusters)},
            ],
            "words": {key: word(f"map_{key}", request) for key in WORDS_OF_SCRIPT}
            | {"label": word("map_label", request).format(num_pictures(len(atlas), request))},
        }

    @staticmethod
    def marks(query: tuple[float, float] | None, hits: Sequence[int]) -> Any:
        """The update that marks the query's place (x and y on the map) and its hits (points, best first)."""
        return gr.HTML(marks={"query": query and [*map(float, query)], "hits": [*map(int, hits)]})

    @staticmethod
    def picked(event: gr.EventData, collection: str, num_points: int, request: gr.Request) -> int:
        """The point that a `select` event is about; a message to the visitor where that collection has none such."""
        data = event._data if isinstance(event._data, dict) else {}
        point = data.get("point")
        if type(point) is not int or not 0 <= point < num_points or data.get("collection") != collection:
            raise gr.Error(word("no_such_hit", request), print_exception=False)
        return point

    def _card(self, asked: Any, request: gr.Request) -> dict[str, str] | None:
        """What the page shows of a point: `asked` is [collection, point]. None where there is no such point."""
        if not isinstance(asked, list) or len(asked) != 2 or not isinstance(asked[0], str) or type(asked[1]) is not int:
            return None
        try:
            webp, caption = self._thumbnail(asked[0], asked[1], request)
        except (InputError, LookupError):
            return None
        return {"picture": base64.b64encode(webp).decode(), "caption": caption}


def _by_column(name: str, values: Sequence[str]) -> dict[str, Any]:
    common = [value for value, _ in Counter(filter(None, values)).most_common(MAX_VALUES)]
    codes = {value: code for code, value in enumerate(common)}
    packed = _packed(np.array([codes.get(value, MAX_VALUES) for value in values], np.uint8))
    return {
        "name": short(name, MAX_COLUMN),
        "values": [short(value, MAX_NAME) for value in common],
        "codes": packed,
    }


def _packed(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()
