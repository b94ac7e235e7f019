"""Calibration, map and words take time to make: they are kept in the bundle or, if it has none, in the user's cache."""

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from imgsearch.environment import cache_folder
from imgsearch.errors import BundleError
from imgsearch.files import read_at_most, write_atomic
from imgsearch.index.bundle import bundle_writer, install_files
from imgsearch.index.index import Index
from imgsearch.index.manifest import MADE_BY, Manifest, read_manifest
from imgsearch.models.encoder import Encoder
from imgsearch.search.calibration import Calibration, calibrate
from imgsearch.search.projection import Projection, compute_projection
from imgsearch.search.words import WordIndex

CALIBRATION, ATLAS, WORDS = "calibration.json", "atlas.npz", "words.db"
MAX_BYTES = 2**20  # of a file: a map of NUM_POINTS points takes 130 kB
T = TypeVar("T")


def add_derived_data(bundle: Path, encoder: Encoder, reference: Callable[[], Index]) -> None:
    """Compute the calibration, the map and the words, and store in the bundle what is missing there.

    `reference` opens the example photos by the same encoder. Raise InputError if the bundle cannot be written.
    """
    index = Index.load(bundle)
    makers: dict[str, Callable[[], bytes]] = {
        CALIBRATION: lambda: _calibration_bytes(calibrate(index, encoder, reference())),
        ATLAS: lambda: compute_projection(index).to_bytes(),
        WORDS: lambda: WordIndex.of(index).to_bytes(),
    }
    texts = {name: make() for name, make in makers.items() if len(index) and not _bundle_file(name, bundle, index)}
    if not texts:
        return
    with bundle_writer(bundle) as work:
        manifest = read_manifest(bundle)
        if not isinstance(index.provenance, Manifest) or manifest.files != index.provenance.files:
            return  # the bundle was replaced in the meantime
        folder = work / "annex"
        folder.mkdir(exist_ok=True)
        for name, data in texts.items():
            (folder / name).write_bytes(data)
        install_files([folder / name for name in texts], bundle.resolve(), manifest, None)
        shutil.rmtree(folder, ignore_errors=True)


def stored_calibration(bundle: Path, index: Index) -> Calibration | None:
    """Return the calibration of a bundle that is opened as `index`; None if none is stored."""
    return _read(CALIBRATION, bundle, index, _read_calibration)


def calibration_of(bundle: Path, index: Index, encoder: Encoder, reference: Callable[[], Index]) -> Calibration:
    """Return the calibration of a bundle that is opened as `index`. Measure and cache it if none is stored."""
    stored = stored_calibration(bundle, index)
    if stored:
        return stored
    computed = calibrate(index, encoder, reference())
    _store_in_cache(CALIBRATION, bundle, index, _calibration_bytes(computed))
    return computed


def projection_of(bundle: Path, index: Index) -> Projection:
    """Return the map of a bundle that is opened as `index`. Compute and cache it if none is stored."""
    stored = _read(ATLAS, bundle, index, lambda path: Projection.from_bytes(read_at_most(path, MAX_BYTES), len(index)))
    if stored:
        return stored
    computed = compute_projection(index)
    _store_in_cache(ATLAS, bundle, index, computed.to_bytes())
    return computed


def words_of(bundle: Path, index: Index) -> WordIndex:
    """Return the words of a bundle that is opened as `index`. Read them from its items and cache them if none are."""
    stored = _read(WORDS, bundle, index, lambda path: WordIndex.open(path, len(index)))
    if stored:
        return stored
    words = WordIndex.of(index)
    _store_in_cache(WORDS, bundle, index, words.to_bytes())
    return words


def _read_calibration(path: Path) -> Calibration:
    return Calibration.from_json(json.loads(read_at_most(path, MAX_BYTES)))


def _calibration_bytes(calibration: Calibration) -> bytes:
    return json.dumps(calibration.to_json(), indent=2).encode()


def _read(name: str, bundle: Path, index: Index, read: Callable[[Path], T]) -> T | None:
    """Return `read` of the file in the bundle or else in the cache; None if neither can be used."""
    for path in (_bundle_file(name, bundle, index), _cache_file(name, bundle, index)):
        # The file may be of another version, damaged, hostile (too deep, numbers too large) or just replaced.
        with suppress(OSError, ValueError, RecursionError, OverflowError):
            if path:
                return read(path)
    return None


def _store_in_cache(name: str, bundle: Path, index: Index, data: bytes) -> None:
    file = _cache_file(name, bundle, index)
    with suppress(OSError):  # without a writable cache it is computed again next time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)


def _bundle_file(name: str, bundle: Path, index: Index) -> Path | None:
    """Return the file in the bundle that `index` was opened from; None if it has none."""
    stem, _, suffix = name.partition(".")
    files = index.provenance.files if isinstance(index.provenance, Manifest) else ()
    return next((bundle / file for file in files if file.startswith(stem) and file.endswith(suffix)), None)


def _cache_file(name: str, bundle: Path, index: Index) -> Path:
    try:  # not the manifest on disk: the bundle may have been replaced since it was opened
        manifest = index.provenance if isinstance(index.provenance, Manifest) else read_manifest(bundle)
        digests = [digest.sha256 for digest in manifest.files.values()]
    except BundleError:
        digests = []
    encoder_fields = [getattr(index.provenance, field) for field in MADE_BY]
    key = hashlib.sha256(json.dumps([sorted(digests), encoder_fields, len(index)]).encode()).hexdigest()[:16]
    stem, _, suffix = name.partition(".")
    return cache_folder() / f"{stem}-{key}.{suffix}"
