"""The map of the collection in the page: drawn when it is opened, marked with each answer."""

from typing import Any

import gradio as gr
import numpy as np

from imgsearch.errors import ImgsearchError
from imgsearch.finder import Finder
from imgsearch.tabs.address import Address
from imgsearch.tabs.atlas import AtlasView
from imgsearch.tabs.collections import Collections
from imgsearch.tabs.handlers import HIDDEN, guarded
from imgsearch.tabs.languages import caption_of
from imgsearch.tabs.picked import Picked, Pictures
from imgsearch.tabs.results import Results
from imgsearch.tabs.shown import Shown

NUM_COLUMNS = 4  # that colour the map
MAX_VALUES = 100  # of a column that does: with more of them it tells nothing
NUM_NEAREST = 5  # hits, in whose midst the query is marked
MAPS: dict[str, Any] = HIDDEN | {"concurrency_limit": 1, "concurrency_id": "maps"}


class Overview:
    """The components: folded until a visitor opens them."""

    def __init__(
        self, collections: Collections, pictures: Pictures, address: Address, t: gr.I18n, models: gr.State
    ) -> None:
        """Draw them in the current layout."""
        self._collections = collections
        self._is_open = gr.State(False)
        self._shown = gr.State(None)  # the last answer
        with gr.Accordion(t("map_title"), open=False, elem_id="overview") as accordion:
            note = gr.Markdown(t("map_wait"), elem_classes="note", elem_id="map_note")
            self._view = AtlasView(self._thumbnail)
            self._view.draw()
            picked = Picked(collections, pictures, address, "map", t)
        component = self._view.component
        opened = accordion.expand(lambda: True, None, self._is_open, **HIDDEN)
        inputs = [self._is_open, collections.choice]
        for trigger in (opened.then, models.change, *collections.changes):
            drawn = trigger(guarded(self._draw), inputs, [component, note], **MAPS)
            drawn.success(self._mark, [*inputs, self._shown], component, **HIDDEN)
        picked.connect(component.select, self._pick, collections.choice)

    def connect(self, results: Results) -> None:
        """Mark what is found there."""
        event = results.shown.change(_found, results.shown, self._shown, **HIDDEN)
        event.then(self._mark, [self._is_open, self._collections.choice, self._shown], self._view.component, **HIDDEN)

    def _draw(self, is_open: bool, collection: str, request: gr.Request) -> tuple[Any, Any]:
        if not is_open:
            return gr.skip(), gr.skip()
        finder = self._collections[collection].finder
        rows = finder.atlas.rows.tolist()
        groups = {name: finder.table.of(name, rows) for name in _colouring(finder)}
        return self._view.value(collection, finder.atlas, groups, request), gr.Markdown(visible=False)

    def _mark(self, is_open: bool, collection: str, shown: Shown | None) -> Any:
        if not is_open:
            return gr.skip()
        if shown is None or shown.asked.collection != self._collections.named(collection):
            return self._view.marks(None, [])
        try:
            atlas = self._collections[collection].finder.atlas
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
        rows = engine.finder.atlas.rows
        if not 0 <= point < len(rows):
            raise LookupError(point)
        item = engine.index.item(int(rows[point]))
        return engine.thumbnail(item), caption_of(item, request)

    def _pick(self, collection: str, event: gr.EventData, request: gr.Request) -> tuple[str, str, float | None]:
        finder = self._collections[collection].finder
        point = self._view.picked(event, collection, len(finder.atlas), request)
        return collection, finder.index.item(int(finder.atlas.rows[point])).id, None


def _found(shown: Shown | None) -> Any:
    return shown or gr.skip()  # a tab without an answer leaves the marks of the other


def _colouring(finder: Finder) -> list[str]:
    """The columns by which the map can be coloured: those of a few values."""
    counts = {name: len(finder.table.values(name, MAX_VALUES + 1)) for name in finder.table.metadata}
    return [name for name, count in counts.items() if 2 <= count <= MAX_VALUES][:NUM_COLUMNS]
