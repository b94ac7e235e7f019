"""Copies of pictures as they circulate, to measure which score two copies have: re-encoded, smaller, cropped ..."""

import io
from collections.abc import Callable, Mapping

from PIL import Image, ImageEnhance, ImageOps

CROPPED = 0.1  # share of each side's length
QUALITY = 90  # of a JPEG written by a camera or an editor
POOR_QUALITY = 40  # of a JPEG sent by a messenger app


def _jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _resized(image: Image.Image) -> Image.Image:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image) -> Image.Image:
    left, top = round(image.width * CROPPED / 2), round(image.height * CROPPED / 2)
    return image.crop((left, top, image.width - left, image.height - top))


def _recoloured(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(ImageEnhance.Color(image).enhance(1.4)).enhance(1.1)


COPIES: Mapping[str, Callable[[Image.Image], bytes]] = {
    "re-encoded": lambda image: _jpeg(image, POOR_QUALITY),
    "resized": lambda image: _jpeg(_resized(image)),
    "cropped": lambda image: _jpeg(_cropped(image)),
    "mirrored": lambda image: _jpeg(ImageOps.mirror(image)),
    "recoloured": lambda image: _jpeg(_recoloured(image)),
}
"""By kind: a function that makes a JPEG of an RGB image."""
