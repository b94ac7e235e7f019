"""What is worked out of a collection once, calibration and map: kept in its bundle, else in the user's cache."""

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

CALIBRATION, ATLAS = "calibration.json", "atlas.npz"
MAX_BYTES = 2**20  # of a file: a map of all its points takes 130 kB
T = TypeVar("T")


def add_derived_data(bundle: Path, encoder: Encoder, reference: Callable[[], Index]) -> None:
    """Work out both and keep them in the bundle, where one of them is missing.

    `reference` gives the example photos by the same encoder. Raises InputError where the bundle cannot be written.
    """
    index = Index.load(bundle)
    if not len(index) or all(_own(name, bundle, index) for name in (CALIBRATION, ATLAS)):
        return
    texts = {
        CALIBRATION: _bytes(calibrate(index, encoder, reference())),
        ATLAS: compute_projection(index).to_bytes(),
    }
    with bundle_writer(bundle) as work:
        manifest = read_manifest(bundle)
        if not isinstance(index.provenance, Manifest) or manifest.files != index.provenance.files:
            return  # it was replaced meanwhile
        folder = work / "annex"
        folder.mkdir(exist_ok=True)
        for name, data in texts.items():
            (folder / name).write_bytes(data)
        install_files([folder / name for name in texts], bundle.resolve(), manifest, None)
        shutil.rmtree(folder, ignore_errors=True)


def stored_calibration(bundle: Path, index: Index) -> Calibration | None:
    """The calibration of a bundle that is opened as `index`, where there is one."""
    return _read(CALIBRATION, bundle, index, _calibration)


def calibration_of(bundle: Path, index: Index, encoder: Encoder, reference: Callable[[], Index]) -> Calibration:
    """The calibration of a bundle that is opened as `index`; measured where no one has before."""
    kept = stored_calibration(bundle, index)
    if kept:
        return kept
    made = calibrate(index, encoder, reference())
    _keep(CALIBRATION, bundle, index, _bytes(made))
    return made


def projection_of(bundle: Path, index: Index) -> Projection:
    """The map of a bundle that is opened as `index`; drawn where no one has before."""
    kept = _read(ATLAS, bundle, index, lambda data: Projection.from_bytes(data, len(index)))
    if kept:
        return kept
    made = compute_projection(index)
    _keep(ATLAS, bundle, index, made.to_bytes())
    return made


def _calibration(data: bytes) -> Calibration:
    return Calibration.from_json(json.loads(data))


def _bytes(calibration: Calibration) -> bytes:
    return json.dumps(calibration.to_json(), indent=2).encode()


def _read(name: str, bundle: Path, index: Index, read: Callable[[bytes], T]) -> T | None:
    """What `read` makes of the file in the bundle, else in the cache; None where there is none of use."""
    for path in (_own(name, bundle, index), _cached(name, bundle, index)):
        # Of another version, damaged, hostile (too deep, too large a number), or replaced meanwhile.
        with suppress(OSError, ValueError, RecursionError, OverflowError):
            if path:
                return read(read_at_most(path, MAX_BYTES))
    return None


def _keep(name: str, bundle: Path, index: Index, data: bytes) -> None:
    file = _cached(name, bundle, index)
    with suppress(OSError):  # a place that cannot be written to is done without
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)


def _own(name: str, bundle: Path, index: Index) -> Path | None:
    """The file in the bundle, where this index was opened from it as it is."""
    stem, _, suffix = name.partition(".")
    files = index.provenance.files if isinstance(index.provenance, Manifest) else ()
    return next((bundle / file for file in files if file.startswith(stem) and file.endswith(suffix)), None)


def _cached(name: str, bundle: Path, index: Index) -> Path:
    try:  # what lies there by now may be another bundle than the one that was opened
        manifest = index.provenance if isinstance(index.provenance, Manifest) else read_manifest(bundle)
        digests = [digest.sha256 for digest in manifest.files.values()]
    except BundleError:
        digests = []
    made_by = [getattr(index.provenance, field) for field in MADE_BY]
    key = hashlib.sha256(json.dumps([sorted(digests), made_by, len(index)]).encode()).hexdigest()[:16]
    stem, _, suffix = name.partition(".")
    return cache_folder() / f"{stem}-{key}.{suffix}"
