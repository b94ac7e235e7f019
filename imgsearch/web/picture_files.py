"""Picture files in Gradio's upload folder, from which the page loads them."""

import hashlib
import html
import os
import time
from contextlib import suppress
from pathlib import Path

import gradio as gr
from PIL import Image

from imgsearch.errors import ImgsearchError
from imgsearch.files import write_atomic
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.components.upload import upload_folder
from imgsearch.web.i18n import tr, tr_message
from imgsearch.web.page_state import PageState, Uploads
from imgsearch.web.security.decoder import Decoder


class PictureFiles:
    """Writes the pictures that the page shows large, and opens those that visitors have uploaded."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def file(self, webp: bytes) -> str:
        """Write the bytes to a file named after their digest and return its path."""
        path = upload_folder() / "shown" / f"{hashlib.sha256(webp).hexdigest()}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, webp)  # another visitor may read it, or the janitor delete it, at this moment
        return str(path)

    def open_rgb(
        self, path: Path, name: str, request: gr.Request, side: int | None = None, begin: float | None = None
    ) -> Image.Image:
        """Decode a visitor's picture in a worker, see `Decoder`. Mark the file as used, to keep it longer."""
        with suppress(OSError):  # if it has been deleted, decoding will report it
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        client = request.client.host if request.client else ""
        return self._decoder.open_rgb(path, name, side, begin, client)

    def asked(
        self, state: PageState, collections: CollectionPicker, uploads: Uploads, request: gr.Request
    ) -> str | None:
        """Return the path of the picture that a link refers to; warn and return None if it is not available."""
        if state.item:
            try:
                return self.file(collections[state.collection].large_picture(state.item))
            except ImgsearchError as error:
                gr.Warning(html.escape(tr_message(error, request), quote=False))
                return None
        path = uploads.path(state.upload) if state.upload else None
        if state.upload and not path:
            gr.Warning(tr("not_here_any_more", request))
        return str(path) if path else None
