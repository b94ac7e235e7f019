"""The parts of a query: texts, pictures or items of the collection, each with a weight. Checked before any encoding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TypeAlias

from PIL import Image

from imgsearch.embeddings import Embeddings
from imgsearch.errors import InputError
from imgsearch.images import ImageSource, open_rgb
from imgsearch.models.encoder import STARTER_IDS
from imgsearch.models.language import LANGUAGE_CODES, language_of_query, to_english
from imgsearch.models.registry import PRESETS
from imgsearch.records import Strength

MAX_TEXT = 500  # characters, so that even the smallest text model reads all of it (512 tokens)
MAX_PARTS = 16
MAX_WEIGHT = 10.0
NO_SPREAD = 1e-6  # standard deviation that rounding leaves among equal scores
MIN_EXTENT = 0.0199  # least side of a box, as a share of the picture's: 2 %, minus what the page rounds off
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom of a region of a picture, as shares of its sides: 0..1."""


@dataclass(frozen=True)
class Part:
    """A part of a query: a text, a picture or the id of an item. A negative weight asks for less of it."""

    text: str = ""
    image: ImageSource | None = None
    item: str = ""  # id, used if there is no picture
    weight: float = 1.0
    box: Box | None = None  # region of the picture or item to search for; None for all of it
    name: str = "The picture"  # of the picture, for error messages

    @property
    def shown(self) -> str:
        """Return the part in words."""
        return self.text or (self.item if self.image is None else self.name)

    def checked(self) -> "Part":
        """Return the part with its text stripped. Raise InputError if it cannot be searched for."""
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
        left, top, right, bottom = box = self.box or (0.0, 0.0, 1.0, 1.0)
        if not all(0 <= edge <= 1 for edge in box) or min(right - left, bottom - top) < MIN_EXTENT:
            raise InputError("That part of the picture is empty or too small. Give left, top, right and bottom anew.")
        return replace(self, text=text)


@dataclass(frozen=True)
class QueryVector:
    """A query or a part of one: float32 (1, dim) of unit length; score = inner product * scale."""

    vector: Embeddings
    scale: float
    sample: Embeddings  # float32 (<= 1000,): the query's scores over the fixed sample
    bounds: tuple[float, float] | None = None  # lowest scores of a fair and of a strong hit

    @property
    def location(self) -> float:
        """Return the mean score over the fixed sample; 0 if that is empty."""
        return float(self.sample.mean()) if len(self.sample) else 0.0

    @property
    def spread(self) -> float:
        """Return the standard deviation of these scores; 1 if all are equal."""
        spread = float(self.sample.std()) if len(self.sample) else 0.0
        return spread if spread > NO_SPREAD else 1.0

    def z_score(self, row: Embeddings) -> float:
        """Return the score of a row, (dim,), in standard deviations above the mean over the sample."""
        return (float(row @ self.vector[0]) * self.scale - self.location) / self.spread

    def strength(self, score: float, words: float) -> Strength | None:
        """Judge a hit by its score and by the share of the query's words that it holds; None without bounds."""
        if not self.bounds:
            return None
        fair, strong = self.bounds if words < 1 else (-inf, self.bounds[0])  # all words: one better
        return "strong" if score >= strong else "fair" if score >= fair else "weak"


def check_parts(parts: Sequence[Part]) -> list[Part]:
    """Return the checked parts. Raise InputError if one cannot be searched for, or if no weight is positive."""
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


def understood_languages(model_id: str) -> frozenset[str] | None:
    """Return the codes in LANGUAGE_CODES of the languages that an encoder understands; None if that is not known."""
    if model_id in STARTER_IDS:
        return frozenset({"en", "fr"})
    languages = {preset.model_id: preset.languages for preset in PRESETS if preset.kind == "encoder"}
    if model_id not in languages:
        return None
    return frozenset({"en"} if languages[model_id] == "English" else LANGUAGE_CODES)


def foreign_language(model_id: str, text: str) -> str:
    """Return the code of a text's language if the encoder does not understand it; "" if it does, or if unsure.

    The starter model's French is a dictionary: a text with a word that is not in it is foreign.
    """
    understood = understood_languages(model_id)
    language = language_of_query(text) if understood else ""
    if language == "fr" and model_id in STARTER_IDS and to_english(text)[1]:
        return language
    return "" if language in (understood or ()) else language


def open_part(source: ImageSource, name: str, side: int, box: Box | None) -> Image.Image:
    """Decode the picture, or its region `box`, for a model with inputs of `side` pixels. Raise PictureError."""
    if box is None:
        return open_rgb(source, name, side=side)
    left, top, right, bottom = box
    image = open_rgb(source, name, side=round(side / min(right - left, bottom - top)))
    width, height = image.size
    (left_px, right_px), (top_px, bottom_px) = _pixels(left, right, width), _pixels(top, bottom, height)
    return image.crop((left_px, top_px, right_px, bottom_px))


def _pixels(first: float, last: float, size: int) -> tuple[int, int]:
    """Convert two shares of a side to pixels, inside the picture and at least one pixel apart."""
    begin = min(round(first * size), size - 1)
    return begin, max(round(last * size), begin + 1)
