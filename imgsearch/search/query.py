"""What is looked for: parts, each a text, a picture or an item of the collection, with a weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

from PIL import Image

from imgsearch.errors import InputError
from imgsearch.images import ImageSource, open_rgb

MAX_TEXT = 500  # characters: what the smallest text model reads whole (512 tokens)
MAX_PARTS = 16
MAX_WEIGHT = 10.0
MIN_EXTENT = 0.0199  # of a picture's side, of a part of it: 2 %, as the page rounds it
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a picture, as shares of its sides: 0..1."""


@dataclass(frozen=True)
class Part:
    """A part of a query: a text, else a picture, else the item of an id. Below 0 the weight means less like it."""

    text: str = ""
    image: ImageSource | None = None
    item: str = ""
    weight: float = 1.0
    box: Box | None = None  # of the picture or item: only what is in it counts
    name: str = "The picture"  # what messages call it

    @property
    def shown(self) -> str:
        """The part in words."""
        return self.text or (self.item if self.image is None else self.name)

    def checked(self) -> "Part":
        """The part with a clean text. Raises InputError where it cannot be looked for."""
        text = self.text.strip()
        if self.image is None and not self.item and not text:
            raise InputError("The query is empty. Type what to look for.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError("The query is not valid Unicode. Type it again.")
        if len(text) > MAX_TEXT:
            raise InputError(
                "The query has {num_characters:,} characters, at most {max_characters} are read. Shorten it.",
                num_characters=len(text),
                max_characters=MAX_TEXT,
            )
        if not isfinite(self.weight) or not 0 < abs(self.weight) <= MAX_WEIGHT:
            raise InputError(
                "The weight {weight:g} is not possible. Give up to {max_weight:g}, but not 0.",
                weight=self.weight,
                max_weight=MAX_WEIGHT,
            )
        return Part(text, self.image, self.item, self.weight, _checked(self.box), self.name)


def check_parts(parts: Sequence[Part]) -> list[Part]:
    """The parts, checked. Raises InputError where one cannot be looked for, or where none is wanted."""
    if len(parts) > MAX_PARTS:
        raise InputError(
            "The query has {num_parts} parts, at most {max_parts} are possible. Take some away.",
            num_parts=len(parts),
            max_parts=MAX_PARTS,
        )
    checked = [part.checked() for part in parts]
    if not any(part.weight > 0 for part in checked):
        raise InputError("The query says only what is not wanted. Add something that is.")
    return checked


def open_part(source: ImageSource, name: str, side: int, box: Box | None) -> Image.Image:
    """The picture, or what the box holds of it, decoded for a model that sees `side` pixels. Raises PictureError."""
    if box is None:
        return open_rgb(source, name, side=side)
    left, top, right, bottom = box
    image = open_rgb(source, name, side=round(side / min(right - left, bottom - top)))
    width, height = image.size
    across, down = _pixels(left, right, width), _pixels(top, bottom, height)
    return image.crop((across[0], down[0], across[1], down[1]))


def _pixels(first: float, last: float, size: int) -> tuple[int, int]:
    """Where a share of a side begins and ends: in the picture, and at least one pixel apart."""
    begin = min(round(first * size), size - 1)
    return begin, max(round(last * size), begin + 1)


def _checked(box: Box | None) -> Box | None:
    if box is None:
        return None
    left, top, right, bottom = box
    is_inside = all(isfinite(edge) and 0 <= edge <= 1 for edge in box)
    if not is_inside or right - left < MIN_EXTENT or bottom - top < MIN_EXTENT:
        raise InputError("That part of the picture is empty or too small. Give left, top, right and bottom anew.")
    return box
