"""Name the colours of a picture from its pixels, for its description."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 96  # pixels: enough for colours
GROUND_TOLERANCE = 24  # of 255: a pixel this near to the border's median belongs to the background
PLAIN_SHARE = 0.8  # of the border's pixels: from here on the background is plain
WHITE_SHARE = 0.4  # the same for a white background: an object cut out on white may touch the border
MAX_COLOURS = 3
MIN_SHARE = 0.15
MAX_TINT = 12  # of 255: a pixel whose channels are this near to each other is grey

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
    pixels = np.asarray(small, np.int16)  # (height, width, 3)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = np.median(border, axis=0).astype(np.int16)
    min_share = WHITE_SHARE if median.min() >= 255 - GROUND_TOLERANCE else PLAIN_SHARE
    is_plain = bool(np.mean(_distance(border, median) <= GROUND_TOLERANCE) >= min_share)
    subject = pixels[_distance(pixels, median) > GROUND_TOLERANCE] if is_plain else pixels.reshape(-1, 3)
    if len(subject) == 0:
        subject, is_plain = pixels.reshape(-1, 3), False
    names, counts = np.unique(_names(subject), return_counts=True)
    order = np.argsort(-counts)[:MAX_COLOURS]
    shares = {str(names[i]): float(counts[i] / len(subject)) for i in order}
    return Colours(
        shares={name: share for name, share in shares.items() if share >= MIN_SHARE},
        ground=str(_names(median[None])[0]) if is_plain else None,
        is_grey=not is_plain
        and bool(np.ptp(subject) > GROUND_TOLERANCE and np.mean(np.ptp(subject, axis=-1) <= MAX_TINT) > 0.98),
    )


def _distance(pixels: npt.NDArray[np.int16], colour: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    distance: npt.NDArray[np.int16] = np.abs(pixels - colour).max(axis=-1)
    return distance


def _names(pixels: npt.NDArray[np.int16]) -> npt.NDArray[np.str_]:
    """Return the colour name of each of (n, 3) pixels: (n,)."""
    hsv = np.asarray(Image.fromarray(pixels[None].astype(np.uint8)).convert("HSV"), np.float32)[0]
    hue, saturation, value = hsv[:, 0] * (360 / 255), hsv[:, 1] / 255, hsv[:, 2] / 255
    bounds, *tones = zip(*HUES, strict=True)
    family = np.searchsorted(bounds, hue)
    vivid, pale, dark = (np.array(tone)[family] for tone in tones)
    chroma = saturation * value
    return np.select(
        [value < 0.2, (chroma < 0.1) & (value > 0.82), chroma < 0.08, value < 0.6, saturation < 0.45],
        ["black", "white", "grey", dark, pale],
        default=vivid,
    )
