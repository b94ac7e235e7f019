"""What may be looked for, and that the part of a picture that is looked for is the part that was marked."""

import io
from math import inf, nan

import numpy as np
import pytest
from PIL import Image

from imgsearch.errors import InputError, PictureError
from imgsearch.search.query import MAX_PARTS, MAX_TEXT, MAX_WEIGHT, Box, Part, check_parts, open_part

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
QUARTERS: dict[str, Box] = {
    "red": (0, 0, 0.5, 0.5),
    "green": (0.5, 0, 1, 0.5),
    "blue": (0, 0.5, 0.5, 1),
    "white": (0.5, 0.5, 1, 1),
}


def quartered(width: int, height: int) -> Image.Image:
    """A picture of four colours, as QUARTERS has them."""
    image = Image.new("RGB", (width, height))
    for name, (left, top, right, bottom) in QUARTERS.items():
        edges = (round(left * width), round(top * height), round(right * width), round(bottom * height))
        image.paste(COLOURS[name], edges)
    return image


def jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95, subsampling=0)
    return buffer.getvalue()


def check_colour(image: Image.Image, name: str) -> None:
    """The picture is of that colour, but for what JPEG smears over an edge."""
    pixels = np.asarray(image, np.int64)
    inner = pixels[pixels.shape[0] // 8 : -pixels.shape[0] // 8, pixels.shape[1] // 8 : -pixels.shape[1] // 8]
    assert np.abs(inner - COLOURS[name]).max() <= 8, name


@pytest.mark.parametrize(
    "part",
    [
        Part("a dog"),
        Part("  a dog\n"),
        Part("x" * MAX_TEXT),
        Part("犬 👩‍👩‍👧 e\u0301"),
        Part("dog", weight=-MAX_WEIGHT),
        Part("dog", weight=1e-3),
        Part(item="a.jpg"),
        Part(item="a.jpg", box=(0, 0, 1, 1)),
        Part(image=b"x", box=(0.97, 0.97, 1, 1)),
        Part(image=b"", box=(0.5, 0, 0.525, 1)),
    ],
)
def test_a_sound_part_stays_as_it_is(part: Part) -> None:
    checked = part.checked()
    assert checked.text == part.text.strip()
    assert (checked.image, checked.item, checked.weight, checked.box, checked.name) == (
        part.image,
        part.item,
        part.weight,
        part.box,
        part.name,
    )
    assert checked.checked() == checked


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(), "empty"),
        (Part(" \n\t"), "empty"),
        (Part("x" * (MAX_TEXT + 1)), "501 characters, at most 500"),
        (Part("dog \ud800"), "Unicode"),
        (Part("dog \udfff"), "Unicode"),
        *[(Part("dog", weight=weight), "weight") for weight in (0, nan, inf, -inf, 10.5, -11, 1e300)],
    ],
)
def test_a_part_that_cannot_be_looked_for(part: Part, message: str) -> None:
    with pytest.raises(InputError, match=message):
        part.checked()


@pytest.mark.parametrize(
    "box",
    [
        (-0.01, 0, 1, 1),
        (0, 0, 1.01, 1),
        (0, 0.5, 1, 2),
        (nan, 0, 1, 1),
        (0, 0, 1, nan),
        (0, -inf, 1, inf),
        (0.6, 0, 0.4, 1),
        (0, 0.6, 1, 0.4),
        (0.5, 0.5, 0.5, 0.5),
        (0.5, 0, 0.51, 1),
        (0, 0.99, 1, 1),
    ],
)
def test_a_box_that_holds_nothing(box: Box) -> None:
    with pytest.raises(InputError, match="empty or too small"):
        Part(image=b"", box=box).checked()


def test_parts_together() -> None:
    parts = [Part("a dog"), Part("snow", weight=-2)]
    assert check_parts(parts) == parts
    for nothing in ([], [Part("a dog", weight=-1)], [Part("a dog", weight=-1), Part("snow", weight=-0.5)]):
        with pytest.raises(InputError, match="only what is not wanted"):
            check_parts(nothing)
    assert len(check_parts([Part("a dog")] * MAX_PARTS)) == MAX_PARTS
    with pytest.raises(InputError, match="17 parts, at most 16"):
        check_parts([Part("a dog")] * (MAX_PARTS + 1))


def test_what_a_part_is_called() -> None:
    assert [part.shown for part in (Part("a dog"), Part(item="a.jpg"), Part(image=b"", name="b.jpg"))] == [
        "a dog",
        "a.jpg",
        "b.jpg",
    ]


@pytest.mark.parametrize("name", QUARTERS)
def test_a_box_holds_its_part_of_the_picture(name: str) -> None:
    image = quartered(64, 48)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    part = open_part(buffer.getvalue(), "it", 224, QUARTERS[name])
    assert part.size == (32, 24) and part.getcolors() == [(32 * 24, COLOURS[name])]
    # As the picture is seen, not as it lies in the file: 6 is "turned by 90 degrees to the left".
    check_colour(open_part(jpeg(image.rotate(90, expand=True), 6), "it", 224, QUARTERS[name]), name)


@pytest.mark.parametrize("name", QUARTERS)
def test_a_box_of_a_large_jpeg_keeps_what_a_model_sees(name: str) -> None:
    data = jpeg(quartered(3000, 2000), 1)
    whole, part = open_part(data, "it", 224, None), open_part(data, "it", 224, QUARTERS[name])
    assert whole.width < 1500  # decoded at less than its size
    assert whole.width / 2 < part.width < 1500 and min(part.size) >= 224
    check_colour(part, name)
    small = open_part(data, "it", 224, (0.2, 0.2, 0.25, 0.25))
    assert small.size == (150, 100)  # there is no more
    check_colour(small, "red")


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 20), (20, 7)])
@pytest.mark.parametrize("box", [(0, 0, 0.03, 0.03), (0.97, 0.97, 1, 1), (0.45, 0, 0.48, 1)])
def test_a_box_of_a_tiny_picture_is_of_its_pixels(size: tuple[int, int], box: Box) -> None:
    part = open_part(Image.new("RGB", size, "white"), "it", 224, box)
    assert part.getcolors() == [(part.width * part.height, COLOURS["white"])]


def test_a_file_that_is_no_picture() -> None:
    for box in (None, QUARTERS["red"]):
        with pytest.raises(PictureError, match=r"notes\.txt is not a picture"):
            open_part(b"hello", "notes.txt", 224, box)
