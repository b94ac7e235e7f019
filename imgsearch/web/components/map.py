"""The map of the collection: near points look alike. Drawn when a visitor opens it; the script marks the hits in it."""

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from imgsearch.engine import Engine
from imgsearch.images import open_rgb, to_webp
from imgsearch.index.filters import ColumnStore
from imgsearch.records import FIGURES
from imgsearch.text import truncate
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.columns import column_names
from imgsearch.web.components.scripted import data_url, scripted_html, server_function
from imgsearch.web.handlers import HIDDEN, with_error_messages
from imgsearch.web.i18n import caption_of, format_count, tr

if TYPE_CHECKING:
    from imgsearch.search.projection import Projection  # with FAISS, which must not come before torch

MAP_ID = "atlas"  # of the component in the page
MAX_PICTURES = 400  # points that are drawn as small pictures: with more of them these would cover each other
POINT_SIDE, SHEET_COLUMNS = 44, 20  # pixels of such a picture; how many stand side by side in the one that is sent
MAX_NAMED, NAMED_SHARE, MAX_NAME = 40, 0.6, 30  # values of a column that names areas, items that share one, characters
MAPS: dict[str, Any] = HIDDEN | {"concurrency_limit": 1, "concurrency_id": "maps", "trigger_mode": "multiple"}
TEMPLATE = """
<p class="atlas-wait"></p>
<div class="atlas" hidden>
  <canvas tabindex="0" role="application"></canvas>
  <div class="atlas-zoom">
    <button type="button" data-word="zoom_in" data-key="+">+</button>
    <button type="button" data-word="zoom_out" data-key="-">−</button>
    <button type="button" data-word="fit" data-key="0">⤢</button>
  </div>
  <div class="atlas-card" hidden><img alt=""><p></p></div>
  <p class="live" aria-live="polite"></p>
</div>
"""


def draw_map(collections: CollectionPicker) -> None:
    """Draw the component, empty; its `submit` event asks for the map of a collection."""

    def card(collection: str, point: int, request: gr.Request) -> dict[str, str] | None:
        engine = collections[collection]
        rows = engine.searcher.derived.projection().rows
        if not 0 <= point < len(rows):
            return None
        item = engine.index.item(int(rows[point]))
        return {"src": data_url(engine.thumbnail(item)), "caption": caption_of(item, request), "id": item.id}

    def draw(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        collection = str(getattr(event, "collection", ""))
        return map_value(collection, collections[collection], request)

    component = scripted_html(MAP_ID, TEMPLATE, "elements", "map", server_functions=[server_function(card, int)])
    component.submit(with_error_messages(draw, "map"), None, component, **MAPS)


def map_value(collection: str, engine: Engine, request: gr.Request) -> dict[str, Any]:
    """Return the component's value. It takes about 12 bytes per point, and 1.5 kB for each one's small picture."""
    projection = engine.searcher.derived.projection()
    count = format_count("picture", len(projection), request)
    return {
        "collection": collection,
        "points": _to_base64(projection.points.astype("<u2")),
        "rows": _to_base64(projection.rows.astype("<u4")),
        "clusters": _to_base64(projection.clusters),
        "areas": _areas(engine.index.columns, projection, request),
        "sheet": _sheet(engine, projection) if len(projection) <= MAX_PICTURES else "",
        "side": POINT_SIDE,
        "across": SHEET_COLUMNS,
        "label": tr("map_label", request).format(count),
    }


def _areas(table: ColumnStore, projection: "Projection", request: gr.Request) -> list[list[Any]]:
    """Return name, x and y of each cluster most of whose items share a value in the first column with few values."""
    columns = [name for name in column_names(table.metadata, request) if name not in FIGURES]
    name = next((name for name in columns if 2 <= len(table.values(name, MAX_NAMED + 1)) <= MAX_NAMED), "")
    if not name:
        return []
    values, areas = np.array(table.of(name, projection.rows.tolist())), []
    for cluster in np.unique(projection.clusters):
        is_in = projection.clusters == cluster
        value, count = Counter(values[is_in].tolist()).most_common(1)[0]
        if value and count >= NAMED_SHARE * is_in.sum():
            areas.append([truncate(value, MAX_NAME), *np.median(projection.points[is_in], axis=0).tolist()])
    return areas


def _sheet(engine: Engine, projection: "Projection") -> str:
    """Return the small pictures of all points as one picture, SHEET_COLUMNS side by side."""
    num_rows = -(-len(projection) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (SHEET_COLUMNS * POINT_SIDE, max(num_rows, 1) * POINT_SIDE), "white")
    for point, row in enumerate(projection.rows.tolist()):
        image = open_rgb(engine.thumbnail(engine.index.item(row)))
        down, across = divmod(point, SHEET_COLUMNS)
        padded = ImageOps.pad(image, (POINT_SIDE, POINT_SIDE), color="white")
        sheet.paste(padded, (across * POINT_SIDE, down * POINT_SIDE))
    return data_url(to_webp(sheet, max(sheet.size)))


def _to_base64(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()
