"""Open a bundle for an encoder, with what is derived from it: its calibration, its map and its words.

The starter collection can be used with any encoder: it is encoded on first use. What is derived takes time to make: it
is kept in the bundle or, if it has none, in the user's cache.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from imgsearch.config import is_lance_table, is_starter_collection
from imgsearch.embeddings import Embeddings, OnProgress, encode_cached
from imgsearch.environment import cache_folder
from imgsearch.errors import BundleError
from imgsearch.files import cache_path, read_at_most, write_cache
from imgsearch.images import open_rgb
from imgsearch.index.bundle import NEW, bundle_writer, install_files
from imgsearch.index.index import Index
from imgsearch.index.lance import LanceIndex
from imgsearch.index.manifest import FILE_NAME, MADE_BY, Manifest, provenance_of, read_manifest
from imgsearch.models.encoder import Encoder
from imgsearch.records import Item
from imgsearch.search.calibration import Calibration, calibrate
from imgsearch.search.projection import Projection, compute_projection
from imgsearch.search.words import WordIndex

CALIBRATION, ATLAS, WORDS = "calibration.json", "atlas.npz", "words.db"
MAX_BYTES = 2**20  # of a file: a map of NUM_POINTS points takes 130 kB
BATCH_SIZE = 8  # pictures to decode and encode at a time
log = logging.getLogger(__name__)


def open_collection(bundle: Path, encoder: Encoder, on_progress: OnProgress, *, exact: bool = False) -> Index:
    """Open a bundle made by `encoder`, or the starter collection, whose vectors can be made by any encoder.

    A Lance table is opened, too; with `exact` it is searched without its index.

    Such vectors are made on first use and kept in the user's cache folder; meanwhile `on_progress` gets the numbers of
    pictures done and in all. Raise BundleError if another encoder made the bundle.
    """
    index = LanceIndex(bundle, exact=exact) if is_lance_table(bundle) else Index.load(bundle)
    made_by = index.provenance.encoder, index.provenance.revision, str(index.dim)
    loaded = encoder.model_id, encoder.revision, str(encoder.dim)
    if made_by == loaded:
        return index
    if not is_starter_collection(bundle):
        template = "{bundle} was made by the encoder {made_by}, but the one loaded is {loaded}. Make it again."
        raise BundleError(template, bundle=bundle, made_by=" ".join(made_by), loaded=" ".join(loaded))
    key_fields = (bundle / FILE_NAME).read_bytes().decode(), encoder.model_id, encoder.revision, encoder.precision
    file = cache_path(cache_folder(), "vectors.npy", *key_fields)
    items = [index.item(row) for row in range(len(index))]

    def encode(batch: Sequence[Item]) -> Embeddings:
        sources = (index.original(item) or item.thumbnail for item in batch)  # the thumbnail of a missing picture
        return encoder.encode_images([open_rgb(source, side=encoder.image_side) for source in sources])

    vectors = encode_cached(file, encoder.dim, items, encode, BATCH_SIZE, on_progress)
    return Index.from_rows(vectors, items, provenance_of(encoder, source=index.provenance.source))


class DerivedData:
    """The calibration, the map and the words of an opened bundle. Safe to call from several threads.

    Each is read from the bundle or else from the user's cache. What neither has is made on first use and cached.
    """

    def __init__(self, bundle: Path, index: Index, encoder: Encoder, reference: Callable[[], Index]) -> None:
        """Read the calibration if one is stored. `reference` opens the example photos by the same encoder."""
        self._index = index
        self._readers: dict[str, Callable[[Path], Any]] = {
            CALIBRATION: lambda path: Calibration.model_validate_json(read_at_most(path, MAX_BYTES)),
            ATLAS: lambda path: Projection.from_bytes(read_at_most(path, MAX_BYTES), len(index)),
            WORDS: lambda path: WordIndex.open(path, len(index)),
        }
        self._makers: dict[str, Callable[[], Any]] = {
            CALIBRATION: lambda: calibrate(index, encoder, reference()),
            ATLAS: lambda: compute_projection(index),
            WORDS: lambda: WordIndex.of(index),
        }
        # Not the manifest on disk: the bundle may have been replaced since it was opened.
        own = index.provenance if isinstance(index.provenance, Manifest) else None
        self._files = [bundle / name for name in own.files] if own else []
        digests = sorted(digest.sha256 for digest in (own or read_manifest(bundle)).files.values())
        self._key = json.dumps([digests, [getattr(index.provenance, field) for field in MADE_BY], len(index)])
        self._locks = {name: threading.Lock() for name in self._makers}
        self._ready: dict[str, Any] = {}
        self.calibration: Calibration | None = self._stored(CALIBRATION)
        if index.calibration:
            with suppress(ValueError):
                self.calibration = Calibration.model_validate_json(index.calibration)

    def calibrate(self) -> None:
        """Measure the score thresholds, once, if none are stored. Takes seconds. If it fails, hits are not judged."""
        try:
            if self.calibration is None and len(self._index):
                self.calibration = self._get(CALIBRATION)
        except Exception:
            log.exception("the scores cannot be calibrated")
            self._ready[CALIBRATION] = None

    def projection(self) -> Projection:
        """Return the map. The first call may compute it, which takes up to a minute."""
        projection: Projection = self._get(ATLAS)
        return projection

    def words(self) -> WordIndex:
        """Return the words of captions and columns. The first call may read them from the items, in seconds."""
        words: WordIndex = self._get(WORDS)
        return words

    def missing_files(self) -> dict[str, bytes]:
        """Make what the bundle itself has not, by the name of its file."""
        missing = [name for name in self._makers if len(self._index) and not self._in_bundle(name)]
        return {name: self._makers[name]().to_bytes() for name in missing}

    def _get(self, name: str) -> Any:
        with self._locks[name]:
            if name not in self._ready:
                made = self._stored(name)
                if not made:
                    made = self._makers[name]()
                    write_cache(self._in_cache(name), made.to_bytes())
                self._ready[name] = made
            return self._ready[name]

    def _stored(self, name: str) -> Any:
        for path in (self._in_bundle(name), self._in_cache(name)):
            # The file may be of another version, damaged, hostile or just replaced.
            with suppress(OSError, ValueError):
                if path:
                    return self._readers[name](path)
        return None

    def _in_bundle(self, name: str) -> Path | None:
        stem, _, suffix = name.partition(".")
        return next((file for file in self._files if file.name.startswith(stem) and file.name.endswith(suffix)), None)

    def _in_cache(self, name: str) -> Path:
        return cache_path(cache_folder(), name, self._key)


def add_derived_data(bundle: Path, encoder: Encoder, reference: Callable[[], Index]) -> None:
    """Compute the calibration, the map and the words, and store in the bundle what is missing there.

    `reference` opens the example photos by the same encoder. Raise InputError if the bundle cannot be written.
    """
    index = Index.load(bundle)
    texts = DerivedData(bundle, index, encoder, reference).missing_files()
    if not texts:
        return
    with bundle_writer(bundle) as work:
        manifest = read_manifest(bundle)
        if not isinstance(index.provenance, Manifest) or manifest.files != index.provenance.files:
            return  # the bundle was replaced in the meantime
        for name, data in texts.items():
            (work / NEW / name).write_bytes(data)
        install_files([work / NEW / name for name in texts], bundle.resolve(), manifest, None)
