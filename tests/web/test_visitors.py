"""Two visitors of one app: neither ever sees a picture, a caption or a state of the other."""

from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.helpers.pages import WAIT_MS, Open, act, captions, chips_of, described, expect_first, search, upload


def test_what_one_visitor_does_does_not_reach_the_other(visit: Open, examples: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / "owl.jpg", tmp_path / "orange.jpg"]
    for path, name in zip(pictures, ("animals-birds-owl", "food-fruit-orange_seville"), strict=True):
        Image.open(examples / "stamps" / f"{name}.jpg").resize((300, 300)).save(path)
    first, second = visit(), visit()
    for page, picture in zip((first, second), pictures, strict=True):
        upload(page, "describe", picture)
    assert described(first) != described(second)
    for page, picture in zip((first, second), pictures, strict=True):
        upload(page, "similar", picture)
    expect_first(first, "owl")
    expect_first(second, "orange")
    for page, text in ((first, "an animal"), (second, "a fruit")):
        search(page, text)
    assert captions(first) != captions(second)
    act(first.locator("#wall .tile").first, 2)
    expect(chips_of(first)).to_have_count(2, timeout=WAIT_MS)
    expect(chips_of(second)).to_have_count(1)
    expect(second.locator("#query textarea")).to_have_value("a fruit")
