"""The examples that the page offers shine: their first four hits were looked at, and are all right."""

from pathlib import Path

import pytest

from imgsearch.engine import Engine
from imgsearch.models.encoder import STARTER_ID
from imgsearch.web.i18n import LOCALES
from imgsearch.web.tabs import EXAMPLES

FLOWERS = {"wallpapers/yellow_flower.jpg", "wallpapers/orange_flower.jpg", "stamps/plants-flowers-chemparathi.jpg"}
FLOWERS |= {"stamps/plants-flowers-daffodil.jpg", "wallpapers/red_marigold.jpg", "animals/flying_bee.jpg"}
FLOWERS |= {"animals/butterfly.jpg"}  # on a flower, as the bee
BUILDINGS = {"places/scottish_castle.jpg", "places/notre_dame.jpg", "sklearn/chinese_temple.jpg"}
BUILDINGS |= {"places/parthenon.jpg", "places/leaning_tower.jpg", "places/colosseum.jpg"}
MUSIC = {"music/drum_kit.jpg", "faces/bass_guitar.jpg", "stamps/hobbies-music-string-guitar_electric.jpg"}
MUSIC |= {"music/concert.jpg", "music/lute.jpg"}
BIRDS = {"animals/hens.jpg", "stamps/animals-birds-rooster.jpg", "animals/swans.jpg", "puzzles/kookaburra.jpg"}
BIRDS |= {"stamps/animals-birds-vulture.jpg", "stamps/animals-birds-pigeon.jpg", "animals/chinstrap_penguin.jpg"}
BIRDS |= {"stamps/animals-birds-owl.jpg"}
TOOLS = {"things/hammer.jpg", "things/screwdriver.jpg", "things/scissors.jpg", "things/wrench.jpg"}
TOOLS |= {"stamps/household-tools-saw.jpg", "things/pliers.jpg"}
MOUNTAINS = {"wallpapers/mountain_path.jpg", "wallpapers/autumn_mountain.jpg", "places/machu_picchu.jpg"}
MOUNTAINS |= {"places/great_wall.jpg", "places/mount_rushmore.jpg"}
CATS = {"skimage/chelsea.jpg", "faces/cat_profile.jpg", "puzzles/grey_cat.jpg", "animals/kitten.jpg"}
RIGHT = [FLOWERS, BUILDINGS, MUSIC, BIRDS, TOOLS, MOUNTAINS]
ALIKE = [BIRDS, CATS, FLOWERS, BUILDINGS | {"places/skyscrapers.jpg"}, MOUNTAINS]


@pytest.mark.parametrize("language", LOCALES)
def test_example_queries(language: str, engine: Engine) -> None:
    for query, right in zip(LOCALES[language]["examples"], RIGHT, strict=True):
        result = engine.search(query, 4)
        assert {hit.item.id for hit in result.hits} <= right and result.has_match and not result.language, query


def test_example_pictures(engine: Engine, examples: Path) -> None:
    assert engine.searcher.encoder.model_id == STARTER_ID
    for picture, right in zip(EXAMPLES, ALIKE, strict=True):
        hits = engine.similar(examples / picture, 4).hits
        assert hits[0].item.id == picture and {hit.item.id for hit in hits} <= right, picture
