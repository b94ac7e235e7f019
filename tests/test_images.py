"""One decode path: the right picture or one plain sentence."""

import io
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from imgsearch.config import ROOT
from imgsearch.errors import PictureError
from imgsearch.images import (
    BYTES_PER_PIXEL,
    MAX_BYTES,
    MAX_PIXELS,
    SEEN_PIXELS,
    THUMBNAIL_SIDE,
    ZOOMED_PIXELS,
    max_pixels,
    memory_available,
    open_rgb,
    to_webp,
)
from tests.helpers.hostile_pictures import bitmap, chunk, encoded, icon, with_chunks
from tests.helpers.hostile_pictures import png as bomb


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM"])
def test_reads_the_common_formats(photo: Image.Image, format: str) -> None:
    decoded = open_rgb(encoded(photo, format))
    assert (decoded.mode, decoded.size) == ("RGB", photo.size)
    assert np.abs(np.asarray(decoded, int) - np.asarray(photo, int)).mean() < 12


def test_applies_the_exif_rotation(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn right to show
    decoded = open_rgb(encoded(photo.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif))
    assert np.array_equal(np.asarray(decoded), np.asarray(photo))


def test_broken_exif_does_not_lose_the_picture(photo: Image.Image) -> None:
    assert np.array_equal(np.asarray(open_rgb(encoded(photo, "PNG", exif=b"nonsense"))), np.asarray(photo))


def test_puts_transparency_on_white() -> None:
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    assert np.asarray(open_rgb(encoded(clear, "PNG"))).tolist() == [[[255, 255, 255], [255, 0, 0]]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    with_alpha = encoded(palette, "PNG", transparency=0)
    assert np.asarray(open_rgb(with_alpha)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_scales_16_bit_greys() -> None:
    greys = np.array([[0, 257 * 2, 257 * 128, 65535]], np.uint16)
    decoded = open_rgb(encoded(Image.fromarray(greys), "PNG"))
    assert np.asarray(decoded)[0, :, 0].tolist() == [0, 2, 128, 255]


WORKFLOW = random.Random(1).randbytes(1_500_000).hex().encode()  # 3 MB, as ComfyUI and profiles of colours have it
ANCILLARY = {
    "zTXt": b"workflow\0\0" + zlib.compress(WORKFLOW),
    "iTXt": b"workflow\0\1\0\0\0" + zlib.compress(WORKFLOW),
    "iCCP": b"profile\0\0" + zlib.compress(WORKFLOW),
    "tEXt": b"workflow\0" + WORKFLOW,
    "eXIf": WORKFLOW,
    "pHYs": b"",  # too short
    "acTL": b"",
    "abCd": b"private",
}


@pytest.mark.parametrize("error", [0, 1])
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("kind", ANCILLARY)
def test_what_stands_beside_the_pixels_of_a_png_does_not_lose_them(
    photo: Image.Image, tmp_path: Path, kind: str, before: bytes, error: int
) -> None:
    data = with_chunks(encoded(photo, "PNG"), chunk(kind.encode(), ANCILLARY[kind], error), before=before)
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, tmp_path / "a.png"):
        assert np.array_equal(np.asarray(open_rgb(source)), np.asarray(photo))


def test_transparency_counts_unless_its_checksum_is_wrong() -> None:
    red = encoded(Image.new("RGB", (2, 2), "red"), "PNG")
    for error, shown in ((0, (255, 255, 255)), (1, (255, 0, 0))):
        clear = chunk(b"tRNS", bytes([0, 255, 0, 0, 0, 0]), error)
        assert open_rgb(with_chunks(red, clear, before=b"IDAT")).getpixel((0, 0)) == shown


def jpeg_of_stripes(**options: object) -> bytes:
    """A JPEG of 300 x 200 pixels with something to see in each of its blocks."""
    stripes = np.random.default_rng(1).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    return encoded(Image.fromarray(stripes).resize((300, 200), Image.Resampling.BICUBIC), "JPEG", **options)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("num_missing", [1, 2, 3, 10, 100, 1000])
def test_a_nearly_whole_jpeg_is_shown_as_viewers_show_it(progressive: bool, num_missing: int, tmp_path: Path) -> None:
    data = jpeg_of_stripes(progressive=progressive)
    whole = np.asarray(open_rgb(data), int)
    (tmp_path / "a.jpg").write_bytes(data[:-num_missing])
    for source in (data[:-num_missing], tmp_path / "a.jpg"):
        assert np.abs(np.asarray(open_rgb(source), int) - whole).mean() < 5


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_of_which_much_is_missing_is_damaged(share: float, mode: str) -> None:
    with Image.open(io.BytesIO(jpeg_of_stripes())) as image:
        data = encoded(image.convert(mode), "JPEG")
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_rgb(data[: int(share * len(data))])


def test_a_progressive_jpeg_is_seen_whole_long_before_its_end() -> None:
    data = jpeg_of_stripes(progressive=True)
    half = np.asarray(open_rgb(data[: len(data) // 2]), int)
    assert np.abs(half - np.asarray(open_rgb(data), int)).mean() < 15
    with pytest.raises(PictureError, match="damaged or incomplete"):
        open_rgb(data[: len(data) // 20])


SHADES = np.linspace(10, 245, 64 * 64).reshape(64, 64).round()


def sixteen_signed_bits(greys: np.ndarray) -> bytes:
    """A TIFF of signed numbers, as scanners of bodies write them; Pillow reads such, but writes none."""
    data = encoded(Image.fromarray(greys.astype("<i2").view("<u2")), "TIFF", tiffinfo={339: 2})
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "I"
    return data


def with_one(greys: np.ndarray, value: float) -> np.ndarray:
    """The greys with one that is not like the others."""
    greys = greys.copy()
    greys[5, 5] = value
    return greys


@pytest.mark.parametrize(
    "greys",
    [
        *(np.round(SHADES / 255 * (2**bits - 1)).astype(np.uint16) for bits in (8, 10, 12, 14, 16)),
        *(with_one(SHADES, value).astype(np.float32) for value in (300, 1e38, np.inf, -np.inf, np.nan)),
        *((SHADES * scale).astype(np.float32) for scale in (1 / 255, 1 / 25_500, 20, 257, 4000)),
        *((SHADES * scale).astype(np.int32) for scale in (1, 16, 257, 8_000_000)),
        np.round((SHADES - 128) * 2**24).astype(np.int32),
        with_one(np.round(SHADES / 255 * 4095), 65_535).astype(np.uint16),
    ],
    ids=lambda greys: f"{greys.dtype} {greys[0, 0]:g} to {greys[-1, -1]:g} with {greys[5, 5]:g}",
)
def test_deep_greys_look_as_they_do_in_8_bits(greys: np.ndarray) -> None:
    shown = np.asarray(open_rgb(encoded(Image.fromarray(greys), "TIFF")), int)[..., 0]
    assert np.median(np.abs(shown - SHADES)) <= 12


def test_signed_greys() -> None:
    for greys in (SHADES * 128, (SHADES - 128) * 256, SHADES * 8 - 1000):
        shown = np.asarray(open_rgb(sixteen_signed_bits(greys)), int)[..., 0]
        assert np.median(np.abs(shown - SHADES)) <= 12


def test_deep_greys_of_one_shade() -> None:
    for shade, shown in ((0, 0), (40_000, 156), (65_535, 255)):
        grey = Image.fromarray(np.full((9, 9), shade, np.uint16))
        assert (np.asarray(open_rgb(encoded(grey, "PNG"))) == shown).all()
    for value in (np.nan, np.inf, -np.inf, 0.0, -7.0):
        grey = Image.fromarray(np.full((9, 9), value, np.float32))
        assert set(np.asarray(open_rgb(encoded(grey, "TIFF"))).ravel().tolist()) <= {0, 255}


def test_reads_cmyk(photo: Image.Image) -> None:
    decoded = open_rgb(encoded(photo.convert("CMYK"), "JPEG"))
    assert np.abs(np.asarray(decoded, int) - np.asarray(photo, int)).mean() < 15


def test_takes_the_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_rgb(animated).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a picture"),
        (b"hello, this is a text", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (bomb(30_000, 30_000), "more than 80 megapixels"),
        (bomb(10_000, 9_000), "more than 80 megapixels"),
        (bomb(100, 100), "damaged"),
        (bomb(300_000, 1), "a side of more than 250,000 pixels"),
        (bitmap(300_000, 1, b"\0\2\0\xff" * 4), "a side of more than 250,000 pixels"),
        (icon(encoded(Image.new("1", (10_000, 9_000)), "PNG")), "more than 80 megapixels"),
    ],
)
def test_refuses_in_one_sentence(data: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message) as raised:
        open_rgb(data, "holiday.jpg")
    assert str(raised.value).startswith("holiday.jpg ") and "\n" not in str(raised.value)


def test_refuses_a_truncated_picture(photo: Image.Image) -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        data = encoded(photo, format)
        with pytest.raises(PictureError):
            open_rgb(data[: len(data) // 2])


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="does not exist"):
        open_rgb(tmp_path / "none.jpg", "none.jpg")


def test_thumbnails_keep_the_shape(photo: Image.Image) -> None:
    thumbnail = open_rgb(to_webp(photo))
    assert max(thumbnail.size) == THUMBNAIL_SIDE
    assert thumbnail.width / thumbnail.height == pytest.approx(photo.width / photo.height, rel=0.01)
    assert open_rgb(to_webp(Image.new("RGB", (20, 10)))).size == (20, 10)


def test_the_primary_picture_of_a_heic() -> None:
    pictures = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    pictures.add_from_pillow(Image.new("RGB", (32, 32), "blue"))
    buffer = io.BytesIO()
    pictures.save(buffer, primary_index=1)
    decoded = open_rgb(buffer.getvalue())
    assert decoded.size == (32, 32) and decoded.getpixel((9, 9))[2] > 200


def test_the_library_for_heic_is_loaded_with_the_first_one(examples: Path, tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        import app
        from imgsearch.images import open_rgb
        open_rgb(Path(sys.argv[1]))
        assert "pillow_heif" not in sys.modules
        assert open_rgb(Path(sys.argv[2])).size == (8, 8)"""
    (tmp_path / "phone.heic").write_bytes(encoded(Image.new("RGB", (8, 8)), "HEIF"))
    command = [sys.executable, "-c", code, examples / "skimage" / "coffee.jpg", tmp_path / "phone.heic"]
    subprocess.run(command, cwd=ROOT, check=True)


@pytest.mark.parametrize("size", [(3000, 2000), (2000, 3000), (60_000, 100)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_scales_down_what_no_model_sees(size: tuple[int, int], format: str) -> None:
    decoded = open_rgb(encoded(Image.linear_gradient("L").resize(size), format))
    assert 0.95 * SEEN_PIXELS < decoded.width * decoded.height <= SEEN_PIXELS
    assert decoded.width / decoded.height == pytest.approx(size[0] / size[1], rel=0.02)
    corners = [decoded.getpixel(place)[0] for place in ((0, 0), (decoded.width - 1, decoded.height - 1))]
    assert corners[0] < 5 and corners[1] > 250


def test_leaves_more_to_see_a_small_part_of() -> None:
    picture = encoded(Image.new("1", (5000, 4000)), "PNG")
    assert open_rgb(picture, side=2048).width < 2500
    assert 0.95 * ZOOMED_PIXELS < np.prod(open_rgb(picture, side=4480).size) <= ZOOMED_PIXELS


def test_leaves_what_is_small_enough() -> None:
    assert open_rgb(encoded(Image.new("1", (2048, 2048)), "PNG")).size == (2048, 2048)


def test_greys_that_are_no_numbers() -> None:
    greys = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)
    assert np.asarray(open_rgb(encoded(Image.fromarray(greys), "TIFF")))[0, :, 0].tolist() == [0, 0, 255, 128]


def test_refuses_what_may_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path):
        with pytest.raises(PictureError, match="It cannot be read: it is not a file"):
            open_rgb(path, "It")


def test_refuses_a_file_of_too_many_bytes(tmp_path: Path) -> None:
    with (tmp_path / "long.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(PictureError, match="has more than 256 MB"):
        open_rgb(tmp_path / "long.jpg")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_memory_is_what_machine_and_container_leave(tmp_path: Path) -> None:
    assert memory_available(tmp_path) is None
    write(tmp_path / "proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:   5000 kB\nHugePages_Total:   0\n")
    assert memory_available(tmp_path) == 5_000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    write(group / "memory.stat", "anon 1000000\nactive_file 300000\ninactive_file 200000\n")
    write(group / "memory.current", "1500000\n")
    write(group / "memory.max", "max\n")
    assert memory_available(tmp_path) == 5_000 * 1024
    write(group / "memory.max", "3000000\n")
    assert memory_available(tmp_path) == 2_000_000
    write(group / "memory/memory.stat", "inactive_file 9\ntotal_active_file 0\ntotal_inactive_file 100000\n")
    write(group / "memory/memory.usage_in_bytes", "1100000\n")
    write(group / "memory/memory.limit_in_bytes", "1500000\n")
    assert memory_available(tmp_path) == 500_000
    assert memory_available() > 0 or sys.platform != "linux"


def test_fewer_pixels_where_memory_is_short() -> None:
    assert max_pixels(None) == max_pixels(2**40) == MAX_PIXELS
    assert max_pixels(2**30) == 2**29 // BYTES_PER_PIXEL
    assert max_pixels(0) == 1_000_000
