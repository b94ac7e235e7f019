"""Try damaged files for a number of seconds: python -m tests.helpers.fuzz pictures|bundles SECONDS. Print how many."""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from imgsearch.config import ROOT
from imgsearch.errors import BundleError, PictureError
from imgsearch.images import SEEN_PIXELS, open_rgb
from imgsearch.index.index import Index
from tests.helpers import hostile_bundles as bundles
from tests.helpers.hostile_pictures import READ, bitmap, encoded, icon, photo, tiff

MAX_ADDRESSES = 8 * 2**30  # a file that asks for more fails, and not the machine
ROUND = 200  # examples before the clock is looked at
HEADER, BUNDLE_HEADER = 400, 2000  # bytes: of a picture; of items, whose first batch is described after their schema


def mutated(data: bytes, others: list[bytes], head: int = HEADER) -> SearchStrategy[bytes]:
    """`data` with some bytes changed, a number in its header changed, cut, doubled, or spliced with another."""
    place = st.integers(0, len(data) - 1)
    header = st.integers(0, min(head, len(data) - 1))
    extremes = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 9_000, 60_000]
    number = st.builds(
        lambda value, size, order: (value % 256**size).to_bytes(size, order),
        st.sampled_from(extremes),
        st.sampled_from([1, 2, 4, 8]),
        st.sampled_from(["little", "big"]),
    )

    def flip(changes: list[tuple[int, int]]) -> bytes:
        changed = bytearray(data)
        for where, value in changes:
            changed[where] = value
        return bytes(changed)

    def put(changes: list[tuple[int, bytes]]) -> bytes:
        changed = data
        for where, value in changes:
            changed = changed[:where] + value + changed[where + len(value) :]
        return changed

    return st.one_of(
        st.builds(flip, st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=20)),
        st.builds(flip, st.lists(st.tuples(header, st.integers(0, 255)), min_size=1, max_size=5)),
        st.builds(put, st.lists(st.tuples(header, number), min_size=1, max_size=3)),
        st.builds(lambda end, rest: data[:end] + rest, place, st.binary(max_size=20)),
        st.builds(lambda start, end: data[:start] + data[end:], place, place),
        st.builds(lambda end, start, other: data[:end] + other[start:], place, place, st.sampled_from(others)),
    )


def pictures() -> tuple[SearchStrategy[bytes], Callable[[bytes], None]]:
    """Files of each format; each must be an RGB image within bounds, or be refused."""
    small = photo().resize((32, 24))
    files = [encoded(small, format) for format in READ.values()]
    files += [encoded(small.convert(mode), "PNG") for mode in ("1", "P", "RGBA", "I;16")]
    files += [encoded(small.convert("L"), "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "packbits")]
    files += [encoded(small.convert("CMYK"), "JPEG"), encoded(small, "JPEG", progressive=True)]
    files += [encoded(small, "GIF", save_all=True, append_images=[small.rotate(90)]), icon(encoded(small, "PNG"))]
    runs = b"\x20\1\x20\2\0\0" * 48 + b"\0\1"
    files += [bitmap(64, 48, runs), tiff({256: (4, 8), 257: (4, 8), 258: (3, 8), 262: (3, 1), 273: (4, 8)}, bytes(64))]

    def check(data: bytes) -> None:
        try:
            image = open_rgb(data, "It", side=224 if len(data) % 2 else None)
        except PictureError as error:
            assert str(error).startswith("It ") and "\n" not in str(error)
        else:
            assert image.mode == "RGB" and 0 < image.width * image.height <= SEEN_PIXELS
            image.getpixel((image.width - 1, image.height - 1))

    return st.integers(0, len(files) - 1).flatmap(lambda number: mutated(files[number], files)), check


def small_bundles(folder: Path) -> tuple[SearchStrategy[tuple[str, bytes]], Callable[[tuple[str, bytes]], None]]:
    """A small bundle with one of its files changed and its digests put right: an index that answers, or refused."""
    sound = bundles.save_sound(ROOT / "indexes" / "starter", folder / "sound")
    names = ["manifest.json", *(path.name for path in sound.iterdir() if path.suffix in (".faiss", ".arrow"))]
    files = [(sound / name).read_bytes() for name in names]
    query = Index.load(sound).rows[:1]
    query /= np.linalg.norm(query)

    def check(change: tuple[str, bytes]) -> None:
        name, data = change
        bundle = Path(shutil.copytree(sound, folder / "bundle", dirs_exist_ok=True))
        (bundle / name).write_bytes(data)
        with suppress(ValueError, LookupError, TypeError, AttributeError, OSError):  # no manifest to put right
            bundles.seal(bundle)
        try:
            index = Index.load(bundle)
            if index.dim == query.shape[1] and len(index):
                assert len(index.search(query, 5)) == min(5, len(index))
            for row in range(len(index)):
                index.item(row)
        except BundleError as error:
            assert "\n" not in str(error)

    def changes(name: str, data: bytes) -> SearchStrategy[tuple[str, bytes]]:
        return st.tuples(st.just(name), mutated(data, files, BUNDLE_HEADER))

    return st.one_of(*(changes(*each) for each in zip(names, files, strict=True))), check


def repeat(strategy: SearchStrategy[object], check: Callable[[object], None], seconds: float) -> int:
    """Check examples until the time is over, and return how many there were."""
    count = 0

    @settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def examples(example: object) -> None:
        nonlocal count
        count += 1
        check(example)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        examples()
    return count


def main(kind: str, seconds: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    with tempfile.TemporaryDirectory() as folder:
        strategy, check = pictures() if kind == "pictures" else small_bundles(Path(folder))
        print(repeat(strategy, check, float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
