"""Hits as a zip: their pictures and captions.csv, in a file that the page fetches and that `cleanup` deletes."""

import re
import secrets
import shutil
from collections import deque
from pathlib import Path, PurePosixPath
from threading import Lock
from zipfile import ZipFile

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.records import Hit, SearchResult
from imgsearch.web.components.inputs import upload_folder
from imgsearch.web.i18n import tr

MAX_PICTURES, MAX_MB, NUM_KEPT = 200, 200, 4  # in a zip; zips


class Zips:
    """Makes one zip at a time, and keeps the last ones."""

    def __init__(self, *, originals: bool) -> None:
        """With `originals` a zip holds the files themselves; else smaller pictures without a camera's notes (EXIF)."""
        self._originals, self._turn, self._folders = originals, Lock(), deque[Path]()

    def make(self, result: SearchResult, engine: Engine, request: gr.Request) -> Path:
        """Return a new zip of the hits. Raise gr.Error if they are too many or too large, or while another is made."""
        if not self._turn.acquire(blocking=False):
            raise gr.Error(tr("zip_busy", request), print_exception=False)
        folder = upload_folder() / secrets.token_hex(16)
        try:
            folder.mkdir()
            left = MAX_MB * 10**6 if len(result.hits) <= MAX_PICTURES else -1
            with ZipFile(folder / "imgsearch.zip", "w") as file:
                file.writestr("captions.csv", result.to_csv())
                for hit in result.hits:
                    name, picture = self._picture(hit, engine)
                    left -= len(picture)
                    if left < 0:
                        message = tr("zip_limit", request).format(MAX_PICTURES, MAX_MB)
                        raise gr.Error(message, print_exception=False)
                    file.writestr(name, picture)
            self._folders.append(folder)
            if len(self._folders) > NUM_KEPT:
                shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._turn.release()
        return folder / "imgsearch.zip"

    def _picture(self, hit: Hit, engine: Engine) -> tuple[str, bytes]:
        """Return a hit's picture and its name: the rank, which no other hit has, and the end of the id, made safe."""
        name = re.sub(r"[^\w.-]", "_", re.split(r"[/\\]", hit.item.id)[-1])[-60:].rstrip(".")
        original = engine.index.original(hit.item) if self._originals else None
        if original:
            return f"{hit.rank:03}-{name}", original
        return f"{hit.rank:03}-{PurePosixPath(name).stem}.webp", engine.large_picture(hit.item.id)
