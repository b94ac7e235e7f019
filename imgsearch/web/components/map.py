"""The map of the collection: computed when a visitor opens it, then marked with the hits of each result."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from imgsearch.errors import ImgsearchError, InputError
from imgsearch.search.projection import Projection
from imgsearch.search.searcher import Searcher
from imgsearch.text import truncate
from imgsearch.web.components.cards import DisplayedResult
from imgsearch.web.components.detail import ItemDetail
from imgsearch.web.components.results import Results
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import HIDDEN, with_error_messages
from imgsearch.web.i18n import caption_of, format_num_pictures, tr
from imgsearch.web.shared import Shared

MAP_ID = "atlas"  # of the component in the page
NUM_COLUMNS = 4  # columns that can colour the map
MAX_COLOURING = 100  # values of such a column: with more of them the colours say nothing
NUM_NEAREST = 5  # best hits; the query is marked at their median
MAPS: dict[str, Any] = HIDDEN | {"concurrency_limit": 1, "concurrency_id": "maps"}


class MapPanel:
    """The map and the detail of a picked point, folded until a visitor opens them."""

    def __init__(self, shared: Shared) -> None:
        collections, t = shared.collections, shared.t
        self._collections = collections
        self._is_open = gr.State(False)  # hidden: no map is computed before a visitor opens the accordion
        self._displayed = gr.State(None)  # hidden: the DisplayedResult of the last query in any tab
        with gr.Accordion(t("map_title"), open=False, elem_id="overview") as accordion:
            note = gr.Markdown(t("map_wait"), elem_classes="note", elem_id="map_note")
            self._view = MapView(self._thumbnail)
            detail = ItemDetail(shared, "map")
        component = self._view.component
        opened = accordion.expand(lambda: True, None, self._is_open, **HIDDEN)
        inputs = [self._is_open, collections.choice]
        for trigger in (opened.then, shared.models.change, *collections.changes):
            drawn = trigger(with_error_messages(self._draw), inputs, [component, note], **MAPS)
            drawn.success(self._mark, [*inputs, self._displayed], component, **HIDDEN)
        detail.connect(component.select, self._pick, collections.choice)

    def connect(self, results: Results) -> None:
        """Mark the hits of each new result of a tab."""
        event = results.displayed.change(_found, results.displayed, self._displayed, **HIDDEN)
        inputs = [self._is_open, self._collections.choice, self._displayed]
        event.then(self._mark, inputs, self._view.component, **HIDDEN)

    def _draw(self, is_open: bool, collection: str, request: gr.Request) -> tuple[Any, Any]:
        if not is_open:
            return gr.skip(), gr.skip()
        searcher = self._collections[collection].searcher
        rows = searcher.derived.projection().rows.tolist()
        groups = {name: searcher.table.of(name, rows) for name in _colouring_columns(searcher)}
        return self._view.value(collection, searcher.derived.projection(), groups, request), gr.Markdown(visible=False)

    def _mark(self, is_open: bool, collection: str, displayed: DisplayedResult | None) -> Any:
        if not is_open:
            return gr.skip()
        if displayed is None or displayed.state.collection != self._collections.named(collection):
            return self._view.marks(None, [])
        try:
            projection = self._collections[collection].searcher.derived.projection()
        except ImgsearchError:
            return gr.skip()
        points = [point for hit in displayed.result.hits if (point := projection.number_of(hit.row)) is not None]
        if not points:
            return self._view.marks(None, [])
        x, y = np.median(projection.points[points[:NUM_NEAREST]], axis=0).tolist()
        return self._view.marks((x, y), points)

    def _thumbnail(self, collection: str, point: int, request: gr.Request) -> tuple[bytes, str]:
        engine = self._collections[collection]
        rows = engine.searcher.derived.projection().rows
        if not 0 <= point < len(rows):
            raise LookupError(point)
        item = engine.index.item(int(rows[point]))
        return engine.thumbnail(item), caption_of(item, request)

    def _pick(self, collection: str, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
        searcher = self._collections[collection].searcher
        point = self._view.picked(event, collection, len(searcher.derived.projection()), request)
        return collection, searcher.index.item(int(searcher.derived.projection().rows[point])).id, None


def _found(displayed: DisplayedResult | None) -> Any:
    return displayed or gr.skip()  # a tab without a result does not delete the marks of the other tab


def _colouring_columns(searcher: Searcher) -> list[str]:
    """Return the columns that can colour the map: those with 2 to MAX_COLOURING values."""
    counts = {name: len(searcher.table.values(name, MAX_COLOURING + 1)) for name in searcher.table.metadata}
    return [name for name, count in counts.items() if 2 <= count <= MAX_COLOURING][:NUM_COLUMNS]


MAX_VALUES = 12  # values of a column with their own mark: six colours in two shapes
MAX_NAME, MAX_COLUMN = 60, 100  # characters of a value and of a column's name in the legend
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
"""(collection, point, request) -> (WebP, caption). Raise InputError or LookupError if there is no such point."""


class MapView:
    """The component that shows a `Projection`: its points (`value`), and the query and hits marked in it (`marks`).

    A click or Enter on a point fires its `select` event, which `picked` reads.
    """

    def __init__(self, thumbnail: Thumbnail) -> None:
        """Draw the component in the current layout, empty."""

        one_by_one = asyncio.Lock()  # a collection without thumbnails decodes its pictures; no thread is to wait

        async def card(place: Any, request: gr.Request) -> dict[str, str] | None:
            """Return picture and caption of a point; `place` is [collection, point]. None if there is none."""
            match place:
                case [str(collection), int(point)] if not isinstance(point, bool):
                    try:
                        async with one_by_one:
                            webp, caption = await asyncio.to_thread(thumbnail, collection, point, request)
                    except (InputError, LookupError):
                        return None
                    return {"picture": base64.b64encode(webp).decode(), "caption": caption}
            return None

        self.component = scripted_html(MAP_ID, TEMPLATE, "map_draw", "map", server_functions=[card], marks=None)

    @staticmethod
    def value(
        collection: str, projection: Projection, groups: Mapping[str, Sequence[str]], request: gr.Request
    ) -> dict[str, Any]:
        """Return the component's value; `groups` maps a column to the value of each point ("" for none).

        The page first colours by the first column, or by clusters if there is none. The value takes about 7 bytes per
        point and 1.3 more per column.
        """
        num_clusters = max(projection.clusters.tolist(), default=-1) + 1
        clusters = [tr("map_cluster", request).format(number) for number in range(1, num_clusters + 1)]
        return {
            "collection": collection,
            "points": _to_base64(projection.points.astype("<u2")),
            "colourings": [
                *(_by_column(name, values) for name, values in groups.items()),
                {"name": tr("map_clusters", request), "values": clusters, "codes": _to_base64(projection.clusters)},
            ],
            "words": {key: tr(f"map_{key}", request) for key in WORDS_OF_SCRIPT}
            | {"label": tr("map_label", request).format(format_num_pictures(len(projection), request))},
        }

    @staticmethod
    def marks(query: tuple[float, float] | None, hits: Sequence[int]) -> Any:
        """Return the update that marks the query at (x, y) on the map and its hits (points, best first)."""
        return gr.HTML(marks={"query": query and [*map(float, query)], "hits": [*map(int, hits)]})

    @staticmethod
    def picked(event: gr.EventData, collection: str, num_points: int, request: gr.Request) -> int:
        """Return the point of a `select` event; raise gr.Error if the collection has no such point."""
        point = getattr(event, "point", None)
        if type(point) is not int or not 0 <= point < num_points or getattr(event, "collection", "") != collection:
            raise gr.Error(tr("no_such_hit", request), print_exception=False)
        return point


def _by_column(name: str, values: Sequence[str]) -> dict[str, Any]:
    common = [value for value, _ in Counter(filter(None, values)).most_common(MAX_VALUES)]
    codes = {value: code for code, value in enumerate(common)}
    encoded = _to_base64(np.array([codes.get(value, MAX_VALUES) for value in values], np.uint8))
    return {
        "name": truncate(name, MAX_COLUMN),
        "values": [truncate(value, MAX_NAME) for value in common],
        "codes": encoded,
    }


def _to_base64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()
