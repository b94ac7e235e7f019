"""The map of the collection in the page: drawn when it is opened, marked with each answer."""

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
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.detail import ItemDetail
from imgsearch.web.components.results import Results
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.handlers import HIDDEN, with_error_messages
from imgsearch.web.i18n import caption_of, format_num_pictures, tr
from imgsearch.web.picture_files import PictureFiles
from imgsearch.web.router import Router

NUM_COLUMNS = 4  # that colour the map
MAX_COLOURING = 100  # of a column that does: with more of them it tells nothing
NUM_NEAREST = 5  # hits, in whose midst the query is marked
MAPS: dict[str, Any] = HIDDEN | {"concurrency_limit": 1, "concurrency_id": "maps"}


class MapPanel:
    """The components: folded until a visitor opens them."""

    def __init__(
        self, collections: CollectionPicker, pictures: PictureFiles, address: Router, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw them in the current layout."""
        self._collections = collections
        self._is_open = gr.State(False)
        self._shown = gr.State(None)  # the last answer
        with gr.Accordion(t("map_title"), open=False, elem_id="overview") as accordion:
            note = gr.Markdown(t("map_wait"), elem_classes="note", elem_id="map_note")
            self._view = MapView(self._thumbnail)
            self._view.draw()
            picked = ItemDetail(collections, pictures, address, "map", t)
        component = self._view.component
        opened = accordion.expand(lambda: True, None, self._is_open, **HIDDEN)
        inputs = [self._is_open, collections.choice]
        for trigger in (opened.then, models.change, *collections.changes):
            drawn = trigger(with_error_messages(self._draw), inputs, [component, note], **MAPS)
            drawn.success(self._mark, [*inputs, self._shown], component, **HIDDEN)
        picked.connect(component.select, self._pick, collections.choice)

    def connect(self, results: Results) -> None:
        """Mark what is found there."""
        event = results.shown.change(_found, results.shown, self._shown, **HIDDEN)
        event.then(self._mark, [self._is_open, self._collections.choice, self._shown], self._view.component, **HIDDEN)

    def _draw(self, is_open: bool, collection: str, request: gr.Request) -> tuple[Any, Any]:
        if not is_open:
            return gr.skip(), gr.skip()
        finder = self._collections[collection].searcher
        rows = finder.atlas.rows.tolist()
        groups = {name: finder.table.of(name, rows) for name in _colouring(finder)}
        return self._view.value(collection, finder.atlas, groups, request), gr.Markdown(visible=False)

    def _mark(self, is_open: bool, collection: str, shown: DisplayedResult | None) -> Any:
        if not is_open:
            return gr.skip()
        if shown is None or shown.asked.collection != self._collections.named(collection):
            return self._view.marks(None, [])
        try:
            atlas = self._collections[collection].searcher.atlas
        except ImgsearchError:
            return gr.skip()
        points = [atlas.number_of(hit.row) for hit in shown.answer.hits]
        numbers = [point for point in points if point is not None]
        if not numbers:
            return self._view.marks(None, [])
        x, y = np.median(atlas.points[numbers[:NUM_NEAREST]], axis=0).tolist()
        return self._view.marks((x, y), numbers)

    def _thumbnail(self, collection: str, point: int, request: gr.Request) -> tuple[bytes, str]:
        engine = self._collections[collection]
        rows = engine.searcher.atlas.rows
        if not 0 <= point < len(rows):
            raise LookupError(point)
        item = engine.index.item(int(rows[point]))
        return engine.thumbnail(item), caption_of(item, request)

    def _pick(self, collection: str, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
        finder = self._collections[collection].searcher
        point = self._view.picked(event, collection, len(finder.atlas), request)
        return collection, finder.index.item(int(finder.atlas.rows[point])).id, None


def _found(shown: DisplayedResult | None) -> Any:
    return shown or gr.skip()  # a tab without an answer leaves the marks of the other


def _colouring(finder: Searcher) -> list[str]:
    """The columns by which the map can be coloured: those of a few values."""
    counts = {name: len(finder.table.values(name, MAX_COLOURING + 1)) for name in finder.table.metadata}
    return [name for name, count in counts.items() if 2 <= count <= MAX_COLOURING][:NUM_COLUMNS]


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


class MapView:
    """The component that shows a `Projection`, by the `value` and `marks` that a handler returns.

    A click or Enter on a point is its `select` event, which `picked` reads.
    """

    def __init__(self, thumbnail: Thumbnail) -> None:
        self._thumbnail = thumbnail

    def draw(self) -> None:
        """Draw it in the current layout, empty."""

        def card(asked: Any, request: gr.Request) -> dict[str, str] | None:
            return self._card(asked, request)

        self.component = scripted_html("atlas", TEMPLATE, "map_draw", "map", server_functions=[card], marks=None)

    @staticmethod
    def value(
        collection: str, atlas: Projection, groups: Mapping[str, Sequence[str]], request: gr.Request
    ) -> dict[str, Any]:
        """What the component's value becomes; `groups` holds the value of each point in each column ("" for none).

        The page colours by the first column, or by the clusters where there is none. 7 bytes a point and 1.3 more
        for each column.
        """
        num_clusters = max(atlas.clusters.tolist(), default=-1) + 1
        clusters = [tr("map_cluster", request).format(number) for number in range(1, num_clusters + 1)]
        return {
            "collection": collection,
            "points": _packed(atlas.points.astype("<u2")),
            "colourings": [
                *(_by_column(name, values) for name, values in groups.items()),
                {"name": tr("map_clusters", request), "values": clusters, "codes": _packed(atlas.clusters)},
            ],
            "words": {key: tr(f"map_{key}", request) for key in WORDS_OF_SCRIPT}
            | {"label": tr("map_label", request).format(format_num_pictures(len(atlas), request))},
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
            raise gr.Error(tr("no_such_hit", request), print_exception=False)
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
        "name": truncate(name, MAX_COLUMN),
        "values": [truncate(value, MAX_NAME) for value in common],
        "codes": packed,
    }


def _packed(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()
