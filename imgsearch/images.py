"""The one decode path: bytes, a file or a PIL image to upright RGB. Index and query both go through it."""

import io
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from imgsearch.errors import PictureError

ImageSource: TypeAlias = bytes | Path | Image.Image

MAX_PIXELS = 80_000_000
THUMBNAIL_SIDE = 320
LONGEST_RATIO = 100  # of a picture's sides
DRAFT_RATIO = 1.4  # at least, of what a JPEG is decoded to over what a model sees: below it scaling shows
warnings.filterwarnings("ignore", module="PIL")  # what matters is raised, our pixel cap among it
# What Pillow decodes by itself: nothing that starts another program (EPS) or is a document (PDF).
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def open_rgb(source: ImageSource, name: str = "The picture", *, side: int | None = None) -> Image.Image:
    """Decode to an upright 8-bit RGB image: EXIF rotation applied, transparency on white, first frame.

    `name` stands for the picture in messages. With `side`, the pixels of the square that a model sees, a JPEG much
    larger than that is decoded at a half, a quarter or an eighth of its size, which takes half the time and less.
    Raises PictureError, before decoding where the header announces more than MAX_PIXELS.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name)
            if side:
                _draft(image, side)
            return _to_rgb(image)
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{name} does not exist. Check the path.") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that can be read. Use a JPEG, PNG, WebP, GIF or AVIF.") from None
    except OSError as error:
        if error.errno is None:  # Pillow's own
            raise _damaged(name) from error
        raise PictureError(f"{name} cannot be read: {error.strerror}. Check the path.") from error
    except Exception as error:  # on damaged bytes Pillow's readers raise almost anything
        raise _damaged(name) from error


def to_webp(image: Image.Image, longest_side: int = THUMBNAIL_SIDE) -> bytes:
    """Encode an RGB image as WebP, scaled down to at most `longest_side` pixels."""
    small = image.copy()
    small.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80, method=0)  # the fastest: a tenth larger, in a third of the time
    return buffer.getvalue()


def within_ratio(image: Image.Image) -> Image.Image:
    """The middle of a picture whose sides are further apart than LONGEST_RATIO, any other picture as it is.

    Scaled by its shorter side, as CLIP does, such a strip becomes gigabytes.
    """
    width, height = (min(side, LONGEST_RATIO * min(image.size)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image if (width, height) == image.size else image.crop((left, top, left + width, top + height))


def _draft(image: Image.Image, side: int) -> None:
    """Have a JPEG decoded so small that its shorter side is still enough for a model and its longer for a thumbnail."""
    least = max(THUMBNAIL_SIDE, round(DRAFT_RATIO * side))
    image.draft(None, (least, least))


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels. Scale it down first.")


def _damaged(name: str) -> PictureError:
    return PictureError(f"{name} is damaged or incomplete. Save it again, or use another one.")


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    with suppress(Exception):  # on broken EXIF data; the picture itself is whole
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba)
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit and float greys to 0..255 (Pillow's own conversion clips them to white)."""
    grey: npt.NDArray[np.floating] = np.nan_to_num(np.asarray(image, dtype=np.float32))
    highest = float(grey.max(initial=0.0))
    if image.mode.startswith("I;16") or highest > 255:
        grey = grey / 257  # 65535 becomes 255
    elif image.mode == "F" and highest <= 1:
        grey = grey * 255
    return Image.fromarray(np.clip(grey.round(), 0, 255).astype(np.uint8))
