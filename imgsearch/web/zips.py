"""Hits as a zip: their pictures and captions.csv, in a file that the page fetches and that `cleanup` deletes."""

import re
import secrets
import shutil
from pathlib import Path, PurePosixPath
from threading import Lock
from zipfile import ZipFile

import gradio as gr

from imgsearch.engine import Engine
from imgsearch.records import Hit, SearchResult
from imgsearch.web.components.inputs import upload_folder
from imgsearch.web.i18n import tr

MAX_PICTURES, MAX_MB = 200, 200  # in a zip
NUM_AT_ONCE, NUM_KEPT = 2, 4  # zips: of a client only one


class Zips:
    """Makes zips and keeps the last ones. Safe to call from several threads."""

    def __init__(self, *, originals: bool) -> None:
        """With `originals` a zip holds the files themselves; else smaller pictures without notes of a camera (EXIF)."""
        self._originals, self._lock = originals, Lock()
        self._kept: dict[str, Path] = {}  # client -> its zip; the oldest first
        self._making: set[str] = set()  # clients

    def make(self, result: SearchResult, engine: Engine, request: gr.Request) -> Path:
        """Return a new zip of the hits; the client's last one is deleted.

        Raise gr.Error if they are too many or too large, or while other zips are made.
        """
        too_large = gr.Error(tr("zip_limit", request).format(MAX_PICTURES, MAX_MB), print_exception=False)
        if len(result.hits) > MAX_PICTURES:
            raise too_large
        client = request.client.host if request.client else ""
        path = upload_folder() / secrets.token_hex(16) / "imgsearch.zip"
        with self._lock:
            if client in self._making or len(self._making) == NUM_AT_ONCE:
                raise gr.Error(tr("zip_busy", request), print_exception=False)
            self._making.add(client)
            self._forget(client)
        try:
            if not self._write(path, result, engine):
                raise too_large
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        finally:
            self._making.remove(client)
        with self._lock:
            self._kept[client] = path
            if len(self._kept) > NUM_KEPT:
                self._forget(next(iter(self._kept)))
        return path

    def _forget(self, client: str) -> None:
        if path := self._kept.pop(client, None):
            shutil.rmtree(path.parent, ignore_errors=True)

    def _write(self, path: Path, result: SearchResult, engine: Engine) -> bool:
        """Write a zip; return False as soon as it would be too large."""
        path.parent.mkdir()
        left = MAX_MB * 10**6
        with ZipFile(path, "w") as file:
            file.writestr("captions.csv", result.to_csv())
            for hit in result.hits:
                name, picture = self._picture(hit, engine)
                left -= len(picture)
                if left < 0:
                    return False
                file.writestr(name, picture)
        return True

    def _picture(self, hit: Hit, engine: Engine) -> tuple[str, bytes]:
        """Return a hit's picture and its name: the rank, which no other hit has, and the end of the id, made safe."""
        name = re.sub(r"[^\w.-]", "_", re.split(r"[/\\]", hit.item.id)[-1])[-60:].rstrip(".")
        original = engine.index.original(hit.item) if self._originals else None
        if original:
            return f"{hit.rank:03}-{name}", original
        return f"{hit.rank:03}-{PurePosixPath(name).stem}.webp", engine.large_picture(hit.item.id)
