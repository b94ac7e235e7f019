"""The map of the collection: near points look alike. Drawn when a visitor opens it; the script marks the hits in it."""

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError
from imgsearch.images import open_rgb, to_webp
from imgsearch.search.projection import Projection
from imgsearch.search.searcher import Searcher
from imgsearch.text import truncate
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.scripted import scripted_html
from imgsearch.web.components.wall import data_url
from imgsearch.web.handlers import HIDDEN, with_error_messages
from imgsearch.web.i18n import caption_of, format_num_pictures, tr

MAP_ID = "atlas"  # of the component in the page
NUM_COLUMNS = 4  # columns that can colour the map
MAX_COLOURING = 100  # values of such a column: with more of them the colours say nothing
MAX_PICTURES = 400  # points that are drawn as small pictures: with more of them these would cover each other
POINT_SIDE, SHEET_COLUMNS = 44, 20  # pixels of such a picture; how many stand side by side in the one that is sent
MAPS: dict[str, Any] = HIDDEN | {"concurrency_limit": 1, "concurrency_id": "maps"}
MAX_VALUES = 12  # values of a column with their own mark: six colours in two shapes
MAX_NAME, MAX_COLUMN = 60, 100  # characters of a value and of a column's name in the legend
TEMPLATE = """
<p class="atlas-wait"></p>
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


def draw_map(collections: CollectionPicker) -> None:
    """Draw the component, empty; its `submit` event asks for the map of a collection."""

    def card(place: Any, request: gr.Request) -> dict[str, str] | None:
        """Return picture, caption and id of a point; `place` is [collection, point]. None if there is none."""
        match place:
            case [str(collection), int(point)] if not isinstance(point, bool):
                engine = collections[collection]
                try:
                    rows = engine.searcher.derived.projection().rows
                except ImgsearchError:
                    return None
                if 0 <= point < len(rows):
                    item = engine.index.item(int(rows[point]))
                    return {
                        "src": data_url(engine.thumbnail(item)),
                        "caption": caption_of(item, request),
                        "id": item.id,
                    }
        return None

    def draw(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        collection = str(getattr(event, "collection", ""))
        return map_value(collection, collections[collection], request)

    component = scripted_html(MAP_ID, TEMPLATE, "map_draw", "map", server_functions=[card])
    component.submit(with_error_messages(draw, "map"), None, component, **MAPS)


def map_value(collection: str, engine: Engine, request: gr.Request) -> dict[str, Any]:
    """Return the component's value. It takes about 11 bytes per point and 1.3 more per column, without pictures.

    The page first colours by the first column with few values, or by clusters if there is none.
    """
    searcher = engine.searcher
    projection = searcher.derived.projection()
    rows = projection.rows.tolist()
    groups = {name: searcher.table.of(name, rows) for name in _colouring_columns(searcher)}
    num_clusters = max(projection.clusters.tolist(), default=-1) + 1
    clusters = [tr("map_cluster", request).format(number) for number in range(1, num_clusters + 1)]
    return {
        "collection": collection,
        "points": _to_base64(projection.points.astype("<u2")),
        "rows": _to_base64(projection.rows.astype("<u4")),
        "sheet": _sheet(engine, projection) if len(projection) <= MAX_PICTURES else "",
        "side": POINT_SIDE,
        "across": SHEET_COLUMNS,
        "colourings": [
            *(_by_column(name, values) for name, values in groups.items()),
            {"name": tr("map_clusters", request), "values": clusters, "codes": _to_base64(projection.clusters)},
        ],
        "words": {key: tr(f"map_{key}", request) for key in WORDS_OF_SCRIPT}
        | {"label": tr("map_label", request).format(format_num_pictures(len(projection), request))},
    }


def _sheet(engine: Engine, projection: Projection) -> str:
    """Return the small pictures of all points as one picture, SHEET_COLUMNS side by side."""
    num_rows = -(-len(projection) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (SHEET_COLUMNS * POINT_SIDE, max(num_rows, 1) * POINT_SIDE), "white")
    for point, row in enumerate(projection.rows.tolist()):
        image = open_rgb(engine.thumbnail(engine.index.item(row)))
        image.thumbnail((POINT_SIDE, POINT_SIDE))
        down, across = divmod(point, SHEET_COLUMNS)
        left, top = (POINT_SIDE - image.width) // 2, (POINT_SIDE - image.height) // 2
        sheet.paste(image, (across * POINT_SIDE + left, down * POINT_SIDE + top))
    return data_url(to_webp(sheet, max(sheet.size)))


def _colouring_columns(searcher: Searcher) -> list[str]:
    """Return the columns that can colour the map: those with 2 to MAX_COLOURING values."""
    counts = {name: len(searcher.table.values(name, MAX_COLOURING + 1)) for name in searcher.table.metadata}
    return [name for name, count in counts.items() if 2 <= count <= MAX_COLOURING][:NUM_COLUMNS]


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
