"""Builds that `tests.bench` measures, with made-up pictures.

Each runs in its own process, `python -m tests.bench.builds TRIAL FOLDER`, and prints one JSON object.
If its docstring says so, FOLDER must hold the checkpoint that `baselines.make_clip` writes.
"""

import copy
import json
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from imgsearch.config import ROOT
from imgsearch.images import open_rgb
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.ingest.source import BuildOptions, Source
from imgsearch.models.clip import LOCAL_DIR_PREFIX
from imgsearch.models.encoder import BATCH_SIZE, Encoder
from imgsearch.models.registry import load_encoder
from tests.bench.baselines import NUM_PHOTOS, compare, load_plainly, main, make_pictures, memory
from tests.bench.fakes import DIM, FakeSource, Projection

NUM_PLAIN, NUM_READY = 100, 320  # photos for the plain loop and for the model alone
NUM_LARGE = 24  # pictures of 4000 x 3000 pixels
NUM_ROWS = 100_000
SAMPLE_S = 0.02  # seconds between two readings of the memory


def make_photos(folder: Path) -> dict[str, Any]:
    """Write NUM_PHOTOS pictures of 640 x 480 pixels."""
    make_pictures(folder / "photos", NUM_PHOTOS, (640, 480))
    return {}


def plain_rate(folder: Path) -> dict[str, Any]:
    """Measure the pictures per second of the plain loop, with the checkpoint."""
    photos = sorted((folder / "photos").iterdir())[:NUM_PLAIN]
    return {"rate": NUM_PLAIN / compare(plain=partial(load_plainly(folder), photos))["plain"]}


def model_rate(folder: Path) -> dict[str, Any]:
    """Measure the pictures per second of the checkpoint alone, with arrays that are already prepared."""
    photos, encoder = sorted((folder / "photos").iterdir())[:NUM_READY], _encoder(folder)
    ready = [encoder.prepare(open_rgb(path, side=encoder.image_side)) for path in photos]
    batches = [ready[start : start + BATCH_SIZE] for start in range(0, len(ready), BATCH_SIZE)]
    seconds = compare(model=lambda: [encoder.encode_prepared(batch) for batch in batches])
    return {"rate": NUM_READY / seconds["model"], "precision": encoder.precision}


def bare_rate(folder: Path) -> dict[str, Any]:
    """Measure the pictures per second of a build without thumbnails, as a user runs it, with the checkpoint."""
    return _build_rate(folder, "--no-thumbnails")


def whole_rate(folder: Path) -> dict[str, Any]:
    """Measure the pictures per second of a build with thumbnails, with the checkpoint."""
    return _build_rate(folder)


def large_pictures(folder: Path) -> dict[str, Any]:
    """Measure the seconds to decode NUM_LARGE pictures for the checkpoint, and to build them: plainly and as we do."""
    photos = make_pictures(folder / "large", NUM_LARGE, (4000, 3000))
    encoder = _encoder(folder)
    plain: Any = copy.copy(encoder)
    plain.image_side = 0  # turns off decoding at reduced size (JPEG draft mode)
    seconds: dict[str, Any] = {}
    for name, variant in (("plain", plain), ("ours", encoder)):
        seconds |= {
            name: lambda variant=variant: [variant.prepare(open_rgb(path, side=variant.image_side)) for path in photos],
            f"{name}_build": lambda variant=variant: _build(Folder(folder / "large"), variant),
        }
    return dict(compare(**seconds))


def build_small(folder: Path) -> dict[str, Any]:
    """Measure the peak of RssAnon in bytes while building NUM_ROWS / 10 pictures with a model that takes no memory."""
    return _build_memory(NUM_ROWS // 10)


def build_large(folder: Path) -> dict[str, Any]:
    """Do the same with NUM_ROWS pictures."""
    return _build_memory(NUM_ROWS)


def _encoder(folder: Path) -> Encoder:
    return load_encoder(f"{LOCAL_DIR_PREFIX}{folder}")


def _build_rate(folder: Path, *flags: str) -> dict[str, Any]:
    command = ["-m", "imgsearch", "build", str(folder / "photos"), "--out", str(folder / "bundle"), "--json", *flags]
    command = [sys.executable, *command, "--encoder", f"{LOCAL_DIR_PREFIX}{folder}"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {"rate": json.loads(done.stdout)["pictures_per_s"]}


def _build(source: Source, encoder: Encoder, options: BuildOptions = BuildOptions()) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build_index(source, Path(folder) / "bundle", encoder, options)


def _build_memory(num_rows: int) -> dict[str, Any]:
    _build(FakeSource(BATCH_SIZE), Projection())  # so that late imports are not measured
    peaks, is_over = [memory("RssAnon")], threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_S):
            peaks.append(max(memory("RssAnon"), peaks.pop()))

    thread = threading.Thread(target=sample)
    thread.start()
    _build(FakeSource(num_rows), Projection())
    is_over.set()
    thread.join()
    return {"peak": peaks[0], "rows": num_rows, "dim": DIM}


TRIALS = (make_photos, plain_rate, model_rate, bare_rate, whole_rate, large_pictures, build_small, build_large)

if __name__ == "__main__":
    main(TRIALS)
