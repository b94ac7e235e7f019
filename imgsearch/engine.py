"""`Engine`: describe, find similar, search by text. All that the app and the command line talk to."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgsearch.config import cache_folder
from imgsearch.describer import Describer
from imgsearch.encoder import Encoder
from imgsearch.errors import BundleError, InputError, PictureError
from imgsearch.images import ImageSource, open_rgb, to_webp
from imgsearch.models import check_spec, load_encoder
from imgsearch.records import Answer, Description

if TYPE_CHECKING:  # FAISS and Arrow are imported with the models, after the page is served
    from imgsearch.index import Index

MAX_TEXT = 500  # characters: what the smallest text model reads whole (512 tokens)
LARGE_SIDE = 1600  # pixels: the longest side of a picture shown large


class Engine:
    """Safe to call from several threads. Encoder and bundle are loaded once, by the first call that needs them."""

    def __init__(self, bundle: Path, encoder: str = "auto", captioner: str = "auto") -> None:
        """Raises SettingsError for an unknown encoder or captioner."""
        check_spec("encoder", encoder)
        check_spec("captioner", captioner)
        self.bundle = bundle
        self._encoder_spec = encoder
        self._lock = threading.RLock()
        self._encoder: Encoder | None = None
        self._describer: Describer | None = None
        self._index: Index | None = None

    @property
    def encoder(self) -> Encoder:
        """The encoder; the first call loads it."""
        with self._lock:
            if self._encoder is None:
                self._encoder = load_encoder(self._encoder_spec)
            return self._encoder

    @property
    def describer(self) -> Describer:
        """The describer over the encoder."""
        with self._lock:
            if self._describer is None:
                self._describer = Describer(self.encoder, cache_folder())
            return self._describer

    @property
    def index(self) -> Index:
        """The opened bundle. Raises BundleError where it cannot be opened, or another encoder made it."""
        with self._lock:
            if self._index is None:
                from imgsearch.index import Index

                index = Index.load(self.bundle)
                if index.encoder != self.encoder.model_id:
                    raise BundleError(
                        f"The bundle {self.bundle} was made by the encoder {index.encoder}, but the one loaded is "
                        f"{self.encoder.model_id}. Build it again."
                    )
                self._index = index
            return self._index

    def describe(self, image: ImageSource, name: str = "The picture") -> Description:
        """Describe a picture, which messages call `name`. Raises PictureError."""
        rgb = open_rgb(image, name)
        describer = self.describer
        start = time.perf_counter()
        return replace(describer.describe(rgb), seconds=time.perf_counter() - start)

    def similar(self, image: ImageSource, k: int = 12, name: str = "The picture") -> Answer:
        """The k items (all, where there are fewer) most like a picture; score = cosine of the embeddings.

        Raises PictureError, InputError for k < 1, BundleError.
        """
        _check_k(k)
        rgb = open_rgb(image, name)
        index = self.index
        start = time.perf_counter()
        hits = index.search(self.encoder.encode_images([rgb]), k)
        return Answer(name, hits, time.perf_counter() - start)

    def search(self, text: str, k: int = 12) -> Answer:
        """The k items (all, where there are fewer) that fit a text best; score = cosine of text and picture.

        Raises InputError for a text that is empty or over MAX_TEXT characters and for k < 1, BundleError.
        """
        _check_k(k)
        text = text.strip()
        if not text:
            raise InputError("The query is empty. Type what to look for.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError("The query is not valid Unicode. Type it again.")
        if len(text) > MAX_TEXT:
            raise InputError(f"The query has {len(text):,} characters, at most {MAX_TEXT} are read. Shorten it.")
        index = self.index
        start = time.perf_counter()
        hits = index.search(self.encoder.encode_texts([text]), k)
        hits = [replace(hit, score=hit.score * self.encoder.text_scale) for hit in hits]
        return Answer(text, hits, time.perf_counter() - start)

    def large_picture(self, id: str) -> bytes:
        """An item's picture as WebP of at most LARGE_SIDE pixels; its thumbnail where the file is gone or changed.

        Raises InputError for an unknown id, BundleError.
        """
        item = self.index.find(id)
        path = self.index.source / item.id
        try:
            data = path.read_bytes() if path.is_file() else b""
            # The digest holds a bundle to the pictures it was built from: it cannot name another file.
            if hashlib.sha256(data).hexdigest() == item.sha256:
                return to_webp(open_rgb(data), LARGE_SIDE)
        except (OSError, PictureError):
            pass
        return item.thumbnail


def _check_k(k: int) -> None:
    if k < 1:
        raise InputError(f"The number of hits is {k}. Ask for at least 1.")
