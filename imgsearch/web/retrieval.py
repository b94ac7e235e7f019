"""Answer a `PageState` from its collection: the same for the page and for clients of the API."""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from os import utime
from pathlib import Path

import gradio as gr
from PIL import Image

from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError
from imgsearch.images import ImageSource, to_webp
from imgsearch.index.filters import Condition
from imgsearch.records import SearchResult
from imgsearch.search.query import MAX_PARTS, Part, check_parts
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.columns import with_column
from imgsearch.web.components.inputs import is_upload
from imgsearch.web.i18n import tr
from imgsearch.web.page_state import PageState, Uploads, to_query_parts, token_of
from imgsearch.web.security.decoder import Decoder

PREVIEW_SIDE = 900  # pixels: the longest side of a visitor's picture in the page


@dataclass(frozen=True)
class Retrieval:
    """The collections, and the decoder of visitors' pictures."""

    collections: CollectionPicker
    decoder: Decoder

    def find(self, state: PageState, uploads: Uploads, request: gr.Request) -> SearchResult:
        """Return the hits for a state of the page; without any part of a query, those of the collection itself.

        Raise gr.Error or ImgsearchError.
        """
        engine = self.collections[state.collection]
        parsed = [Condition.parse(text) for text in state.where]
        conditions = [with_column(condition, engine.index.columns, request) for condition in parsed]
        try:
            parts = to_query_parts(state, uploads)
        except ValueError:
            raise gr.Error(tr("bad_box", request), print_exception=False) from None
        if len(parts) < len(state.terms) + state.has_main:
            raise gr.Error(tr("not_here_any_more", request), print_exception=False)
        if not parts:
            return engine.browse(state.size, start=state.start, conditions=conditions, sort=state.sort)
        begin = time.monotonic()
        parts = [self._decoded(engine, begin, part, request) for part in check_parts(parts)]
        decode_s = time.monotonic() - begin
        result = engine.query(
            parts, state.size, start=state.start, conditions=conditions, fold=state.fold, sort=state.sort
        )
        stages = {**result.stages, "encode": result.stages["encode"] + decode_s}
        return replace(result, stages=stages, seconds=result.seconds + decode_s)

    def picture(self, state: PageState, uploads: Uploads, request: gr.Request) -> bytes | None:
        """Return the picture of a state as WebP; None if it has none, or none that can be read: its answer says why."""
        path = uploads.get(state.upload)
        with suppress(ImgsearchError):
            if state.item:
                return self.collections[state.collection].large_picture(state.item)
            if path:
                return to_webp(self.open_rgb(path, request, PREVIEW_SIDE), PREVIEW_SIDE)
        return None

    def image(self, state: PageState, uploads: Uploads, request: gr.Request) -> tuple[ImageSource, str]:
        """Return the picture of a state to be described, and its name in messages. Raise gr.Error or ImgsearchError."""
        if state.item:
            return self.collections[state.collection].large_picture(state.item), state.item
        if path := uploads.get(state.upload):
            return self.open_rgb(path, request), path.name
        raise gr.Error(tr("not_here_any_more", request), print_exception=False)

    def open_rgb(
        self, path: Path, request: gr.Request, side: int | None = None, begin: float | None = None
    ) -> Image.Image:
        """Decode a visitor's picture in a worker, see `Decoder`. Mark the file as used, to keep it longer."""
        with suppress(OSError):  # if it has been deleted, decoding will report it
            utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        client = request.client.host if request.client else ""
        return self.decoder.open_rgb(path, path.name, side, begin, client)

    def _decoded(self, engine: Engine, begin: float, part: Part, request: gr.Request) -> Part:
        """Return a part with the picture instead of its path, decoded as large as the encoder will look at it."""
        if not isinstance(part.image, Path):
            return part
        left, top, right, bottom = part.box or (0.0, 0.0, 1.0, 1.0)
        side = round(engine.searcher.encoder.image_side / min(right - left, bottom - top))
        return replace(part, image=self.open_rgb(part.image, request, side, begin))


def asked(event: gr.EventData) -> tuple[PageState, Uploads]:
    """Return what an event asks, and the uploads that it names; paths that are no uploads are left out."""
    link, paths = getattr(event, "link", ""), getattr(event, "paths", None)
    texts = [text for text in (paths if isinstance(paths, list) else [])[: MAX_PARTS + 1] if isinstance(text, str)]
    uploads = [Path(text).resolve() for text in texts if is_upload(text)]
    return PageState.from_link(link if isinstance(link, str) else ""), {token_of(path): path for path in uploads}
