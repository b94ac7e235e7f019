import runpy
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imgsearch.config import ROOT
from imgsearch.describe.describer import SURE, SURE_BY_VOTES, VOTE_SHARE, Describer
from imgsearch.describe.sentence import SCENES, THINGS, read_vocabulary
from imgsearch.embeddings import Embeddings, normalize
from imgsearch.files import read_table
from imgsearch.images import open_rgb
from imgsearch.models.colours import read_colours
from imgsearch.models.encoder import Classifier, Encoder
from tests.quality.tags import object_tags

TERMS = read_vocabulary()
TOOL = runpy.run_path(str(ROOT / ".tools" / "match_classes.py"))


class FakeEncoder:
    """Every text has a direction of its own; every picture lies where `text` does."""

    model_id = "fake"
    revision = ""
    precision = "float32"
    dim = 256
    text_scale = 1.0

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.num_calls = 0

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        return normalize(np.tile(self._embed(self.texts).sum(0), (len(images), 1)))

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        self.num_calls += 1
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        seeds = [zlib.crc32(text.encode()) for text in texts]
        return normalize([np.random.default_rng(seed).standard_normal(self.dim) for seed in seeds])


class Voter(FakeEncoder):
    """Every picture and text is one and the same direction, so that only the votes tell; eight classes are no thing."""

    classes = ["owl", "vulture", *[""] * 8]

    def __init__(self, owl: float, vulture: float) -> None:
        super().__init__("all alike")
        self.probabilities = [owl, vulture, *[(1 - owl - vulture) / 8] * 8]

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        return self._embed(["all alike"] * len(texts))

    def class_probabilities(self, rows: Embeddings) -> Embeddings:
        return np.tile(np.array(self.probabilities, np.float32), (len(rows), 1))


class Silent(FakeEncoder):
    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        raise AssertionError("the vocabulary is in the cache")


def scene(colour: str = "green") -> Image.Image:
    """A picture without plain ground."""
    image = Image.new("RGB", (100, 100), colour)
    image.paste("blue", (0, 0, 100, 50))
    return image


def cut_out(colour: str, ground: str = "white") -> Image.Image:
    image = Image.new("RGB", (100, 100), ground)
    ImageDraw.Draw(image).ellipse((20, 20, 80, 80), fill=colour)
    return image


def test_vocabulary_has_about_1500_terms_each_once_and_below_its_kind() -> None:
    assert 1400 <= len(TERMS) <= 1800
    texts = [term.text for term in TERMS]
    assert len({text.lower() for text in texts}) == len(texts)
    assert {term.group for term in TERMS} == {*THINGS, *SCENES}
    for row, term in enumerate(TERMS):
        assert not term.kind or TERMS[texts.index(term.kind)].group == term.group
        assert term.kind not in texts[row:]


def test_articles() -> None:
    """A noun takes the one of its first sound, or none; a phrase none."""
    phrases = {term.phrase for term in TERMS}
    assert {"an owl", "a unicycle", "an hourglass", "an umbrella", "a ukulele", "grass", "on a beach"} <= phrases
    sound_like_you, silent = ("eu", "ew", "uk", "uni"), ("hour",)
    for term in TERMS:
        first = term.text.lower()
        is_vowel = (first[0] in "aeiou" and not first.startswith(sound_like_you)) or first.startswith(silent)
        assert term.article in ("", "an" if is_vowel else "a")
        assert not term.article or term.group in THINGS


def test_what_a_picture_plainly_is_comes_first_with_its_kinds() -> None:
    encoder = FakeEncoder("a photo of an owl")
    describer = Describer(encoder, None)
    tags = object_tags(describer, encoder.encode_images([scene()]), 4)[0]
    assert {tag.tag for tag in tags} == {"owl", "bird of prey", "bird", "animal"}
    assert all(0.99 < tag.score <= 1 and tag.group == "animals" for tag in tags)
    assert describer.describe(scene()).caption == "This looks like an owl; mostly green and blue."


def test_two_equal_candidates_give_their_kind_and_a_doubt() -> None:
    encoder = FakeEncoder("a photo of a rose", "a photo of a tulip")
    caption = Describer(encoder, None).describe(cut_out("red")).caption
    assert caption.startswith("This looks like a red flower, possibly a ")
    assert caption.endswith(", on a plain white background.")


def test_a_picture_near_no_term_is_said_to_show_nothing_in_particular() -> None:
    caption = Describer(FakeEncoder("nothing of the kind"), None).describe(cut_out("blue")).caption
    assert caption == "No single object stands out, on a plain white background; mostly blue."


def test_a_scene_is_named_but_not_behind_a_cut_out() -> None:
    describer = Describer(FakeEncoder("a photo, on a beach"), None)
    shown = describer.describe(scene())
    assert shown.caption.endswith(", on a beach; mostly green and blue.")
    assert ("on a beach", "places") in [(tag.tag, tag.group) for tag in shown.tags]
    assert "beach" not in describer.describe(cut_out("red")).caption


@pytest.mark.parametrize(
    ("chain", "term"),
    [
        (("great grey owl", "bird of prey", "bird", "animal"), "owl"),
        (("ram (adult male sheep)", "sheep", "animal"), "ram"),
        (("cardboard box / carton", "container"), "box"),
        (("bell or wind chime", "percussion instrument"), "bell"),
        (("Arctic fox", "fox", "animal"), "arctic fox"),
        (("tench", "cyprinid", "fish", "vertebrate", "animal"), "fish"),
        (("construction crane", "lifting device", "device"), ""),
        (("sea cucumber", "echinoderm", "invertebrate", "animal"), "invertebrate"),
        (("Boxer", "working dog", "dog", "animal"), "dog"),
        (("plectrum",), ""),
    ],
)
def test_a_class_is_the_narrowest_thing_on_its_chain(chain: tuple[str, ...], term: str) -> None:
    assert TOOL["match"](chain, [term for term in TERMS if term.group in THINGS]) == term


def test_the_shipped_terms_of_the_classes_are_those_of_the_facts() -> None:
    assert [term for _, term, _ in read_table("imagenet.tsv")] == TOOL["match_all"]()


def test_classes_vote_for_things_and_their_kinds() -> None:
    """Where every thing is as near as the next, n things have 1 / n each, and the votes make the difference."""
    voter = Voter(0.5, 0.3)
    assert isinstance(voter, Classifier)
    assert not isinstance(FakeEncoder(), Classifier)
    describer = Describer(voter, None)
    scores = {tag.tag: tag.score for tag in object_tags(describer, voter.encode_images([scene()]), 10_000)[0]}
    one = (1 - VOTE_SHARE) / len(scores)
    in_bird_of_prey = 1 + sum(term.kind == "bird of prey" for term in TERMS)
    assert scores["hammer"] == pytest.approx(one)
    assert scores["owl"] == pytest.approx(one + VOTE_SHARE * 0.5)
    assert scores["vulture"] == pytest.approx(one + VOTE_SHARE * 0.3)
    assert scores["bird of prey"] == pytest.approx(in_bird_of_prey * one + VOTE_SHARE * 0.8)
    widest = [scores[term.text] for term in TERMS if term.group in THINGS and not term.kind]
    assert sum(widest) == pytest.approx(1 - VOTE_SHARE * 0.2, abs=1e-4)  # what the gizmos have is lost


def test_strong_votes_are_possible_and_equal_ones_say_nothing() -> None:
    assert Describer(Voter(0.98, 0.01), None).describe(cut_out("red")).caption.startswith("Possibly an owl, on")
    assert Describer(Voter(0.1, 0.1), None).describe(cut_out("red")).caption.startswith("No single object")
    assert VOTE_SHARE < SURE_BY_VOTES < SURE  # votes alone never make sure


def test_the_vocabulary_is_embedded_once_and_kept(tmp_path: Path) -> None:
    encoder = FakeEncoder("owl")
    describer = Describer(encoder, tmp_path / "new")
    seen: list[tuple[int, int]] = []
    describer.preload(lambda done, total: seen.append((done, total)))
    num_calls = encoder.num_calls
    assert len(seen) == num_calls > 1 and seen[0][0] == 0 and seen[-1][0] < seen[-1][1]
    before = object_tags(describer, encoder.encode_images([scene()]), 5)
    assert encoder.num_calls == num_calls
    assert object_tags(Describer(Silent(), tmp_path / "new"), encoder.encode_images([scene()]), 5) == before
    assert [file.suffix for file in (tmp_path / "new").iterdir()] == [".npy"]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other shape", "not unit"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    encoder = FakeEncoder("owl")
    Describer(encoder, tmp_path).preload()
    num_calls = encoder.num_calls
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    rows = np.load(file)
    if damage in ("other shape", "not unit"):
        np.save(file, rows[1:] if damage == "other shape" else rows * 2)
    else:
        file.write_bytes({"empty": b"", "cut": good[: len(good) // 2], "text": b"not an array"}[damage])
    Describer(encoder, tmp_path).preload()
    assert encoder.num_calls == 2 * num_calls
    assert file.read_bytes() == good


def test_a_cache_folder_that_cannot_be_made_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = FakeEncoder("owl")
    describer = Describer(encoder, tmp_path / "file")
    describer.preload()
    num_calls = encoder.num_calls
    describer.preload()
    assert encoder.num_calls == num_calls


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((220, 20, 20), "red"),
        ((255, 140, 0), "orange"),
        ((250, 220, 30), "yellow"),
        ((30, 160, 40), "green"),
        ((40, 200, 200), "turquoise"),
        ((30, 60, 220), "blue"),
        ((140, 40, 180), "purple"),
        ((250, 150, 190), "pink"),
        ((110, 65, 25), "brown"),
        ((128, 128, 128), "grey"),
        ((10, 10, 10), "black"),
        ((252, 252, 252), "white"),
    ],
)
def test_colour_names(rgb: tuple[int, int, int], name: str) -> None:
    assert read_colours(Image.new("RGB", (60, 40), rgb)).shares == {name: 1.0}


def test_the_ground_of_a_cut_out_does_not_count() -> None:
    colours = read_colours(cut_out("red"))
    assert (colours.ground, list(colours.shares), colours.is_grey) == ("white", ["red"], False)
    assert read_colours(cut_out("white", ground="black")).ground == "black"


def test_black_and_white_is_said_of_photos() -> None:
    ramp = Image.linear_gradient("L").convert("RGB")
    assert read_colours(ramp).is_grey
    assert not read_colours(scene()).is_grey
    assert not read_colours(Image.new("RGB", (60, 40), "black")).is_grey  # one tone is a colour


@pytest.mark.parametrize(
    ("file", "tag"),
    [
        ("stamps/animals-birds-duck.jpg", "duck"),
        ("puzzles/citrus_slices.jpg", "orange"),
        ("things/baseball.jpg", "baseball"),
    ],
)
def test_the_starter_model_knows(encoder: Encoder, own_cache: Path, examples: Path, file: str, tag: str) -> None:
    description = Describer(encoder, own_cache).describe(open_rgb(examples / file))
    assert tag in [tag.tag for tag in description.tags[:5]]
    assert tag in description.caption


def test_scores_are_shares(encoder: Encoder, own_cache: Path, examples: Path) -> None:
    description = Describer(encoder, own_cache).describe(open_rgb(examples / "skimage/chelsea.jpg"))
    assert all(0 <= tag.score <= 1 for tag in description.tags)
    things = [tag.score for tag in description.tags if tag.group in THINGS]
    assert 1 <= len(things) <= 5 and things == sorted(things, reverse=True)


@pytest.mark.parametrize("colour", ["grey", "beige", "white"])
def test_nothing_is_named_where_nothing_stands_out(encoder: Encoder, own_cache: Path, colour: str) -> None:
    ramp = Image.linear_gradient("L").resize((320, 240))
    for image in (Image.new("RGB", (320, 240), colour), Image.merge("RGB", [ramp] * 3)):
        description = Describer(encoder, own_cache).describe(image)
        assert description.caption.startswith("No single object stands out")
        assert not [tag for tag in description.tags if tag.group in THINGS]
