"""Name the colours of a picture and of a text: the describer says them, the starter encoder compares them."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgsearch.embeddings import Embeddings
from imgsearch.files import read_table

SIDE = 96  # pixels: enough for colours
GROUND_TOLERANCE = 24  # of 255: a pixel this near to the border's median belongs to the background
PLAIN_SHARE = 0.8  # of the border's pixels: from here on the background is plain
WHITE_SHARE = 0.4  # the same for a white background: an object cut out on white may touch the border
MAX_COLOURS = 3
MIN_SHARE = 0.15
MAX_TINT = 12  # of 255: a pixel whose channels are this near to each other is grey
SPREAD = 0.5  # of half the picture: the standard deviation of the weights around its centre

# Upper hue bounds in degrees, with the names of a vivid, a pale and a dark tone.
HUES = (
    (14, "red", "pink", "brown"),
    (42, "orange", "beige", "brown"),
    (68, "yellow", "beige", "olive"),
    (160, "green", "green", "green"),
    (196, "turquoise", "turquoise", "turquoise"),
    (256, "blue", "blue", "blue"),
    (292, "purple", "purple", "purple"),
    (338, "pink", "pink", "purple"),
    (360, "red", "pink", "brown"),
)
_TABLE = read_table("colours.tsv")
COLOURS = tuple(name for name, *_ in _TABLE)
FRENCH_COLOURS = {name: (masculine, feminine) for name, masculine, feminine, _ in _TABLE}
# The position in COLOURS of each of its names, and of the other words for them in a query.
INDEX_OF = {word: i for i, (name, _, _, others) in enumerate(_TABLE) for word in (name, *others.split())}
Pixels = npt.NDArray[np.int16]  # (height, width, 3), 0..255


@dataclass(frozen=True)
class Colours:
    """The colours of a picture."""

    shares: dict[str, float]  # colour -> share of the pixels that are not plain background, largest first
    ground: str | None  # the colour of the plain background around the subject; None if it is not plain
    is_grey: bool  # a black-and-white picture, not a grey object on a plain background


def read_colours(image: Image.Image) -> Colours:
    """Name the main colours of an RGB picture: at most three, each of at least 15 % of the foreground pixels.

    If most of the border has one colour, that colour is the background and is left out.
    """
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    pixels = np.asarray(small, np.int16)
    is_subject, ground = _find_subject(pixels)
    subject = pixels[is_subject]
    shares = np.bincount(_names(subject), minlength=len(COLOURS)) / len(subject)
    largest = np.argsort(-shares, kind="stable")[:MAX_COLOURS]
    return Colours(
        shares={COLOURS[i]: float(shares[i]) for i in largest if shares[i] >= MIN_SHARE},
        ground=None if ground is None else COLOURS[_names(ground[None])[0]],
        is_grey=ground is None
        and bool(np.ptp(subject) > GROUND_TOLERANCE and np.mean(np.ptp(subject, axis=-1) <= MAX_TINT) > 0.98),
    )


def picture_colours(pixels: Pixels) -> Embeddings:
    """Return the colours of a picture as a unit vector, float32 (len(COLOURS),).

    It holds the square roots of the colours' shares of the subject, whose pixels count more the nearer they are to the
    centre: the inner product of two such vectors is the Bhattacharyya coefficient of their shares.
    """
    is_subject, _ = _find_subject(pixels)
    rows, columns = (np.linspace(-1, 1, side) for side in pixels.shape[:2])
    weights = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * SPREAD**2))
    shares = np.bincount(_names(pixels[is_subject]), weights[is_subject], len(COLOURS))
    return np.asarray(np.sqrt(shares / shares.sum()), np.float32)


def text_colours(text: str) -> Embeddings:
    """Return the colours that a text names as a unit vector, float32 (len(COLOURS),); zeros if it names none."""
    vector = np.zeros(len(COLOURS), np.float32)
    for word in re.findall(r"\w+", text.lower()):
        if word in INDEX_OF:
            vector[INDEX_OF[word]] = 1
    return vector / np.float32(max(1.0, float(np.linalg.norm(vector))))


def shows_colour(text: Embeddings, picture: Embeddings) -> bool:
    """Return True if a picture has MIN_SHARE of a colour that a text names: rows, (dim,), that end with the colours."""
    shares = picture[-len(COLOURS) :] ** 2
    return bool((shares[text[-len(COLOURS) :] > 0] >= MIN_SHARE * shares.sum()).any())


def _find_subject(pixels: Pixels) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int16] | None]:
    """Return where the subject is, bool (height, width), and the colour of the plain ground around it, if it is plain.

    A picture of one colour, or without a plain ground, is all subject.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = np.median(border, axis=0).astype(np.int16)
    min_share = WHITE_SHARE if median.min() >= 255 - GROUND_TOLERANCE else PLAIN_SHARE
    is_subject = _distance(pixels, median) > GROUND_TOLERANCE
    if np.mean(_distance(border, median) <= GROUND_TOLERANCE) >= min_share and is_subject.any():
        return is_subject, median
    return np.ones(pixels.shape[:2], np.bool_), None


def _distance(pixels: npt.NDArray[np.int16], colour: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    return np.asarray(np.abs(pixels - colour).max(axis=-1))


def _names(pixels: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """Return the colour of each of (n, 3) pixels: (n,) positions in COLOURS."""
    hsv = np.asarray(Image.fromarray(pixels[None].astype(np.uint8)).convert("HSV"), np.float32)[0]
    hue, saturation, value = hsv[:, 0] * (360 / 255), hsv[:, 1] / 255, hsv[:, 2] / 255
    bounds, *tones = zip(*HUES, strict=True)
    family = np.searchsorted(bounds, hue)
    vivid, pale, dark = (np.array([INDEX_OF[name] for name in tone])[family] for tone in tones)
    chroma = saturation * value
    grey = [INDEX_OF[name] for name in ("black", "white", "grey")]
    conditions = [value < 0.2, (chroma < 0.1) & (value > 0.82), chroma < 0.08, value < 0.6, saturation < 0.45]
    return np.select(conditions, [*grey, dark, pale], default=vivid)
