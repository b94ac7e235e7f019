"""Pictures as files in the folder of uploads: those that the page shows large, and those that visitors give."""

import hashlib
import html
import os
import time
from contextlib import suppress
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from imgsearch.errors import ImgsearchError
from imgsearch.files import write_atomic
from imgsearch.images import LazyImage
from imgsearch.web.components.collection_picker import CollectionPicker
from imgsearch.web.i18n import tr, tr_message
from imgsearch.web.page_state import PageState, Uploads
from imgsearch.web.security.decoder import Decoder


class PictureFiles:
    """Pictures as files in the folder of uploads: those that the page shows large, and those that visitors give."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def file(self, webp: bytes) -> str:
        """The path of a file with these bytes."""
        path = Path(get_upload_folder()) / "shown" / f"{hashlib.sha256(webp).hexdigest()}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, webp)  # another visitor may ask for it in this moment, or it may be swept
        return str(path)

    def given(self, path: Path) -> LazyImage:
        """A visitor's picture, to be decoded where it can do no harm; used now, it stays a while."""
        with suppress(OSError):  # gone by now, as decoding it will tell
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        return self._decoder.picture(path)

    def asked(
        self, asked: PageState, collections: CollectionPicker, uploads: Uploads, request: gr.Request
    ) -> str | None:
        """The picture that a link asks with; a message where it is an upload that is not here any more."""
        if asked.item:
            try:
                return self.file(collections[asked.collection].large_picture(asked.item))
            except ImgsearchError as error:
                gr.Warning(html.escape(tr_message(error, request), quote=False))
                return None
        path = uploads.path(asked.upload) if asked.upload else None
        if asked.upload and not path:
            gr.Warning(tr("not_here_any_more", request))
        return str(path) if path else None
