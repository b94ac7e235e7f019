"""One decode path: the right picture or one plain sentence."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgsearch.errors import PictureError
from imgsearch.images import THUMBNAIL_SIDE, open_rgb, to_webp


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces a size that its few bytes do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
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
