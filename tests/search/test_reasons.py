"""What spoke for a hit is named where it was measured, and only there."""

import pytest

from imgsearch.engine import Engine
from imgsearch.search.query import Part

COFFEE = Part(item="skimage/coffee.jpg")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            [Part("a red fruit")],
            {
                "stamps/food-fruit-strawberry2.jpg": ("look", "colour"),
                "puzzles/blackberries.jpg": ("look",),
                "stamps/food-fruit-kiwi.jpg": ("caption",),  # which holds "fruit"
            },
        ),
        ([Part("un hibou")], {"stamps/animals-birds-owl.jpg": ("look", "caption")}),
        ([Part("Rachel Michetti")], {"skimage/coffee.jpg": ("column",), "animals/gorilla.jpg": ()}),
        (
            [Part("a cat"), Part("a planet")],
            {
                "puzzles/grey_cat.jpg": ("look", "caption", "part:a cat"),
                "space/rosette_nebula.jpg": ("look", "part:a planet"),
            },
        ),
        ([Part("a cat"), COFFEE], {"faces/latte.jpg": ("look", "part:skimage/coffee.jpg")}),
        ([Part("a cat"), Part("a planet", weight=-1)], {"faces/cat_profile.jpg": ("look", "caption")}),
        ([COFFEE], {"faces/latte.jpg": ("look",)}),
    ],
    ids=lambda value: "+".join(part.shown for part in value) if isinstance(value, list) else "",
)
def test_what_spoke_for_a_hit(parts: list[Part], expected: dict[str, tuple[str, ...]], engine: Engine) -> None:
    found = {hit.item.id: hit.reasons for hit in engine.query(parts, 16).hits}
    assert {id: found.get(id) for id in expected} == expected


def test_browsing_gives_no_reasons(engine: Engine) -> None:
    assert not any(hit.reasons for hit in engine.browse(12).hits)
