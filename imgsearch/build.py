"""A stream of pictures into a bundle."""

import hashlib
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from imgsearch.collection import index_of
from imgsearch.dataset import Folder
from imgsearch.encoder import Encoder
from imgsearch.errors import InputError, PictureError
from imgsearch.images import open_rgb, to_webp
from imgsearch.index import check_target
from imgsearch.records import BuildReport, Item, Skip
from imgsearch.vectors import Embeddings

BATCH_SIZE = 8  # pictures encoded at a time: larger batches are no faster on a CPU and cost memory


def build_index(
    folder: Folder,
    bundle: Path,
    encoder: Encoder,
    *,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """Index the pictures of a folder, at most `limit` of them, and save the bundle.

    `on_progress` is called with the numbers of pictures indexed and expected. Raises InputError where no
    picture can be read or `bundle` is something else than a bundle; then nothing is written.
    """
    start = time.perf_counter()
    check_target(bundle)
    skipped = list(folder.skips)
    pictures = islice(_decode(folder, skipped), limit)
    expected = min(len(folder), limit or len(folder))
    items: list[Item] = []
    batches: list[Embeddings] = []
    while batch := list(islice(pictures, BATCH_SIZE)):
        batches.append(encoder.encode_images([image for _, image in batch]))
        items += [item for item, _ in batch]
        on_progress(len(items), expected)
    if not items:
        raise InputError(f"{folder.path} holds no picture that can be read ({len(skipped)} files skipped).")
    rows = np.concatenate(batches)
    index_of(rows, items, encoder, folder.path).save(bundle)
    return BuildReport(len(items), skipped, time.perf_counter() - start)


def _decode(folder: Folder, skipped: list[Skip]) -> Iterator[tuple[Item, Image.Image]]:
    """The pictures that decode, as items with their images; the others are added to `skipped`."""
    for entry in folder:
        if isinstance(entry, Skip):
            skipped.append(entry)
            continue
        try:
            image = open_rgb(entry.data, "It")
        except PictureError as error:
            skipped.append(Skip(entry.id, str(error)))
            continue
        sha256 = hashlib.sha256(entry.data).hexdigest()
        yield Item(entry.id, entry.caption, entry.columns, sha256, to_webp(image)), image
