"""`Searcher` on numbers worked out by hand, page after page, and on the starter model with its words."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imgsearch.config import STARTER_BUNDLE
from imgsearch.embeddings import Embeddings, normalize
from imgsearch.engine import Engine
from imgsearch.errors import InputError
from imgsearch.images import to_webp
from imgsearch.index.edit import merge
from imgsearch.index.filters import Condition
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance
from imgsearch.ingest.builder import build_index
from imgsearch.ingest.folder import Folder
from imgsearch.models.encoder import Encoder, Prepared
from imgsearch.records import Item, SearchResult, Strength
from imgsearch.search.calibration import Calibration
from imgsearch.search.collection import add_derived_data, open_collection
from imgsearch.search.duplicates import MAX_LOOKED_AT
from imgsearch.search.query import Part
from imgsearch.search.searcher import Searcher
from imgsearch.search.thresholds import ScoreThresholds
from imgsearch.search.words import WordIndex
from tests.helpers.examples import CATS

HUES = ("red", "lime", "blue")  # the directions 0, 1 and 2


class Toy:
    """An encoder whose text rows are the numbers in the text, and whose image rows are the mean colour."""

    model_id, revision, precision, preprocess = "toy", "", "float32", ""
    dim, image_side, text_scale = 3, 8, 2.0

    def prepare(self, image: Image.Image) -> Prepared:
        return np.asarray(image, np.float32).mean(axis=(0, 1))

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        return normalize(np.stack(prepared))

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        return self.encode_prepared([self.prepare(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        return normalize([[float(number) for number in text.split()] for text in texts])

    def truncated_tail(self, text: str) -> str:
        return ""


def calibration(near_duplicate: float = 2.0) -> Calibration:
    """Texts are fair from 0.32 and strong from 0.4 on, pictures from 0.25 and 0.5 on."""
    text, image = ScoreThresholds(0.32, 0.4), ScoreThresholds(0.25, 0.5)
    return Calibration(text=text, image=image, near_duplicate=near_duplicate)


def searcher_of(index: Index, encoder: Encoder, calibration: Calibration | None = None) -> Searcher:
    """One that judges by this calibration, and by vectors alone: its items hold no words."""
    wordless = [replace(index.item(row), caption="", columns={}) for row in range(len(index))]
    words = WordIndex.of(Index.from_rows(index.rows, wordless, index.provenance))
    return Searcher(index, encoder, SimpleNamespace(calibration=calibration, words=lambda: words))


def finder(
    rows: Embeddings, calibration: Calibration | None = None, encoder: Encoder | None = None, source: str = ""
) -> Searcher:
    encoder = encoder or Toy()
    thumbnail = to_webp(Image.new("RGB", (4, 4), "blue"))
    items = [Item(f"{n}.jpg", f"number {n}", {"n": str(n)}, "", thumbnail) for n in range(len(rows))]
    index = Index.from_rows(rows, items, Provenance(encoder=encoder.model_id, vectors="float32", source=source))
    return searcher_of(index, encoder, calibration)


def upright(*pairs: tuple[float, float]) -> Embeddings:
    """Unit rows that begin with these two numbers."""
    return np.array([[a, b, np.sqrt(1 - a * a - b * b)] for a, b in pairs], np.float32)


def picture(hue: str) -> Image.Image:
    return Image.new("RGB", (6, 6), hue)


def ids(answer: SearchResult) -> list[int]:
    return [hit.row for hit in answer.hits]


# To the text "1 0 0" (scale 2) the items score 0.2, 0.2, 0.4, 0.4: mean 0.3, standard deviation 0.1. To a lime
# picture they score 0.5, -0.5, 0.5, -0.5: mean 0, standard deviation 0.5.
ROWS = upright((0.1, 0.5), (0.1, -0.5), (0.2, 0.5), (0.2, -0.5))
TEXT, LIME = Part("1 0 0"), Part(image=picture("lime"), name="lime.jpg")


def test_a_single_part_scores_the_cosine() -> None:
    find = finder(ROWS, calibration()).search
    answer = find([TEXT], 4)
    assert ids(answer) == [2, 3, 0, 1] and [hit.rank for hit in answer.hits] == [1, 2, 3, 4]
    assert [hit.score for hit in answer.hits] == pytest.approx([0.4, 0.4, 0.2, 0.2], abs=1e-6)
    assert answer.bounds == (0.32, 0.4)
    answer = find([LIME], 4)
    assert ids(answer) == [0, 2, 1, 3] and [hit.strength for hit in answer.hits] == ["strong"] * 2 + ["weak"] * 2
    assert [hit.score for hit in answer.hits] == pytest.approx([0.5, 0.5, -0.5, -0.5], abs=1e-6)
    assert answer.bounds == (0.25, 0.5) and answer.query == "lime.jpg"
    heavier = find([Part("1 0 0", weight=3)], 4)
    assert [hit.score for hit in heavier.hits] == pytest.approx([0.4, 0.4, 0.2, 0.2], abs=1e-6)
    assert heavier.query == "+ 3 * 1 0 0" and heavier.bounds == (0.32, 0.4)


def test_bounds_follow_the_querys_own_location_and_length() -> None:
    bounds = ScoreThresholds(0.2, 0.3, bias=0.5, length_bias=0.01)
    judged = Calibration(text=bounds, image=ScoreThresholds(0.1, 0.2, bias=1.0), near_duplicate=2.0)
    # The text's location is 0.3, its length 5; the picture's location is 0.
    assert finder(ROWS, judged).search([TEXT], 4).bounds == pytest.approx((0.4, 0.5))
    assert finder(ROWS, judged).search([LIME], 4).bounds == pytest.approx((0.1, 0.2))


def test_two_parts_stand_on_the_same_footing() -> None:
    """Added are z: -1, -1, 1, 1 of the text and 1, -1, 1, -1 of the picture, whose scores spread five times wider."""
    answer = finder(ROWS, calibration()).search([Part("1 0 0", weight=1.5), LIME], 4)
    assert ids(answer) == [2, 3, 0, 1]  # z: 2.5, 0.5, -0.5, -2.5; of the scores themselves 1.1, 0.1, 0.8, -0.2
    # The one row is 1.5 / 0.1 * 2 = 30 along the text and 1 / 0.5 = 2 along the picture, scaled to unit length.
    length = np.hypot(30, 2)
    assert [hit.score * length for hit in answer.hits] == pytest.approx([7, 5, 4, 2], abs=1e-4)
    # fair is z = 0.2 of the text and 0.5 of the picture, strong is 1 and 1: in the mean 0.32 and 1 of the sum, whose
    # scores 4, 2, 7 and 5 have the mean 4.5 and the variance 13 / 4.
    assert answer.bounds
    assert np.array(answer.bounds) * length == pytest.approx([4.5 + np.sqrt(13 / 4) * z for z in (0.32, 1)], abs=1e-4)
    assert [hit.strength for hit in answer.hits] == ["strong", "weak", "weak", "weak"]
    assert answer.query == "+ 1.5 * 1 0 0 + lime.jpg"


def test_a_part_that_spreads_ten_times_wider_drowns_no_other() -> None:
    rows = upright((0.30, 0.5), (0.30, -0.5), (0.35, 0.5), (0.35, -0.5))  # 2 * 0.05 apart, and 1
    both = finder(rows, calibration()).search([Part("1 0 0", weight=1.1), LIME], 4)
    assert ids(both) == [2, 3, 0, 1]
    both = finder(rows, calibration()).search([TEXT, Part(image=picture("lime"), weight=1.1)], 4)
    assert ids(both) == [2, 0, 3, 1]


def test_what_is_not_wanted_counts_against() -> None:
    find = finder(ROWS, calibration()).search
    answer = find([TEXT, Part(image=picture("lime"), weight=-2, name="lime.jpg")], 4)
    assert ids(answer) == [3, 1, 2, 0]  # z: -3, 1, -1, 3
    assert answer.query == "1 0 0 - 2 * lime.jpg"
    # Only the text is wanted: fair is its z of 0.2, of the sum's z, whose standard deviation is the root of 5.
    length = np.hypot(20, 4)
    assert answer.bounds
    scores = np.array([20 * a - 4 * b for a, b, _ in ROWS])
    assert answer.bounds[0] * length == pytest.approx(scores.mean() + 0.2 * scores.std(), abs=1e-4)


def test_an_item_is_a_part_and_finds_itself() -> None:
    answer = finder(ROWS, calibration()).search([Part(item="1.jpg")], 4)
    assert ids(answer)[0] == 1 and answer.hits[0].score == pytest.approx(1, abs=1e-6)
    assert answer.query == "1.jpg" and answer.bounds == (0.25, 0.5)
    with pytest.raises(InputError, match=r"no picture 'none\.jpg'"):
        finder(ROWS).search([Part(item="none.jpg")], 4)


@pytest.mark.parametrize("calibrated", [None, calibration()])
def test_parts_that_say_nothing_together(calibrated: Calibration | None) -> None:
    find = finder(ROWS, calibrated).search
    for parts in ([TEXT, Part("2 0 0", weight=-1)], [LIME, TEXT, Part("0 1 0", weight=-1), Part("1 0 0", weight=-1)]):
        with pytest.raises(InputError, match="cancel each other out"):
            find(parts, 4)
    with pytest.raises(InputError, match="only what is not wanted"):
        find([Part("1 0 0", weight=-1), Part("0 1 0", weight=-2)], 4)
    assert len(find([TEXT, Part("2 0 0", weight=-0.9)], 4).hits) == 4  # something is left


def test_a_part_that_all_items_fit_alike_moves_nothing() -> None:
    """Their scores are equal but for rounding, which must not count as a spread."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    rows = upright(*[(0.3, float(b)) for b in np.linspace(-0.6, 0.6, 40)]) @ turn
    alike, other = (Part(" ".join(map(repr, direction))) for direction in turn[:2].tolist())
    assert ids(finder(normalize(rows), calibration()).search([alike, other], 40)) == list(range(39, -1, -1))


def test_a_box_of_a_picture_and_of_an_item() -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("lime", (20, 0, 40, 20))
    rows = np.eye(3, dtype=np.float32)
    find = finder(rows).search
    for box, row in (((0.0, 0.0, 0.5, 1.0), 0), ((0.5, 0.0, 1.0, 1.0), 1)):
        assert ids(find([Part(image=image, box=box)], 1)) == [row]
    # An item without its file is opened as its thumbnail, here blue; whole, it is its embedding.
    assert ids(find([Part(item="0.jpg")], 1)) == [0]
    assert ids(find([Part(item="0.jpg", box=(0, 0, 0.5, 1))], 1)) == [2]


def test_a_box_of_an_item_reads_its_file(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200), "red")
    image.paste("lime", (200, 0, 400, 200))
    image.save(tmp_path / "both.png")
    toy = Toy()
    for hue in HUES:
        picture(hue).save(tmp_path / f"{hue}.png")
    build_index(Folder(tmp_path), tmp_path.parent / "toy", toy)
    found = searcher_of(Index.load(tmp_path.parent / "toy"), toy)
    for box, hue in (((0.0, 0.0, 0.4, 1.0), "red"), ((0.6, 0.0, 1.0, 1.0), "lime")):
        assert found.search([Part(item="both.png", box=box)], 1).hits[0].item.id == f"{hue}.png"


def clusters(number: int, sizes: int) -> tuple[Embeddings, list[int]]:
    """Rows in groups of 1 to `sizes` near-duplicates (cosine > 0.999), the groups apart (< 0.99), and their groups."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0.15, 1.5, number)
    centres = np.stack([np.cos(angles), np.sin(angles), np.zeros(number)], axis=1)
    groups = [n for n in range(number) for _ in range(rng.integers(1, sizes + 1))]
    groups = rng.permutation(groups).tolist()
    return normalize(centres[groups] + rng.normal(scale=1e-3, size=(len(groups), 3))), groups


def pages(
    found: Searcher, parts: Sequence[Part], k: int, *, fold: bool = True, where: str = "", sort: str = ""
) -> list[SearchResult]:
    conditions = [Condition.parse(where)] if where else []
    answers = [found.search(parts, k, conditions=conditions, fold=fold, sort=sort)]
    while (start := answers[-1].following) is not None:
        assert start > answers[-1].start
        answers.append(found.search(parts, k, start=start, conditions=conditions, fold=fold, sort=sort))
    return answers


@pytest.mark.parametrize("k", [1, 3, 7, 12, 200])
@pytest.mark.parametrize("where", ["", "n:20..70"])
def test_near_duplicates_fold_and_pages_hold_every_item(k: int, where: str) -> None:
    rows, groups = clusters(9, 30)
    found = finder(rows, calibration(near_duplicate=0.995))
    answers = pages(found, [TEXT], k, where=where)
    wanted = [n for n in range(len(rows)) if not where or 20 <= n <= 70]
    shown: list[int] = []
    for answer in answers:
        leaders = [groups[row] for row in ids(answer)]
        assert len(set(leaders)) == len(leaders) <= k
        assert len(leaders) == k or answer.following is None
        assert [hit.rank for hit in answer.hits] == sorted(hit.rank for hit in answer.hits)
        assert answer.hits[0].rank == answer.start + 1
        for hit in answer.hits:
            members = {int(id.removesuffix(".jpg")) for id in hit.near_duplicates}
            assert {groups[row] for row in members} <= {groups[hit.row]} and len(members) == len(hit.near_duplicates)
            shown += [hit.row, *members]
    assert sorted(shown) == wanted  # each once
    first = answers[0]
    assert len(first.hits) == min(k, len({groups[row] for row in wanted}))


@pytest.mark.parametrize("k", [1, 7, 50, 500])
@pytest.mark.parametrize("judged", [None, calibration(near_duplicate=0.995)])
def test_unfolded_pages_hold_every_item_once(k: int, judged: Calibration | None) -> None:
    rows, _ = clusters(9, 30)
    found = finder(rows, judged)
    for where in ("", "n:20..70"):
        answers = pages(found, [TEXT, LIME], k, fold=False, where=where)
        rows_found = [row for answer in answers for row in ids(answer)]
        assert sorted(rows_found) == [n for n in range(len(rows)) if not where or 20 <= n <= 70]
        scores = [hit.score for answer in answers for hit in answer.hits]
        assert scores == sorted(scores, reverse=True)
        assert [hit.rank for answer in answers for hit in answer.hits] == list(range(1, len(rows_found) + 1))
        assert all(len(answer.hits) == k for answer in answers[:-1])
        assert not any(hit.near_duplicates for answer in answers for hit in answer.hits)


@pytest.mark.parametrize("k", [1, 7, 500])
@pytest.mark.parametrize(("sort", "sign"), [("n", 1), ("-n", -1)])
def test_sorted_hits_keep_the_likely_apart_and_page_on(k: int, sort: str, sign: int) -> None:
    rng = np.random.default_rng(1)
    scores = rng.permutation(np.linspace(0.05, 0.6, 40))  # of the text: strong from 0.4 on
    found = finder(upright(*((score / 2, 0.5) for score in scores)), calibration())
    answers = pages(found, [TEXT], k, sort=sort)
    rows = [row for answer in answers for row in ids(answer)]
    likely = [row for row in range(40) if scores[row] >= 0.4]
    others = [row for row in range(40) if scores[row] < 0.4]
    assert 10 < len(likely) < 20 and rows == [*likely[::sign], *others[::sign]]
    hits = [hit for answer in answers for hit in answer.hits]
    assert [hit.rank for hit in hits] == list(range(1, 41)) and all(answer.has_match for answer in answers)
    assert [hit.row for hit in hits if hit.is_likely] == likely[::sign]
    unsorted = [hit for answer in pages(found, [TEXT], 500) for hit in answer.hits]
    assert {hit.row for hit in unsorted if hit.is_likely} == set(likely)


def test_sorted_hits_fold_copies_and_are_the_best_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, groups = clusters(9, 30)
    found = finder(rows, calibration(near_duplicate=0.995))
    plain = {hit.row: hit.near_duplicates for hit in found.search([TEXT], 100).hits}
    hits = [hit for answer in pages(found, [TEXT], 2, sort="n") for hit in answer.hits]
    assert {hit.row: hit.near_duplicates for hit in hits} == plain and len(hits) == 9
    monkeypatch.setattr("imgsearch.search.searcher.NUM_SORTED", 4)
    best = [hit.row for answer in pages(found, [TEXT], 3, sort="-n") for hit in answer.hits]
    assert best == sorted(best, reverse=True) and {groups[row] for row in best} == {0, 1, 2, 3}
    with pytest.raises(InputError, match=r"no column 'nothing'.* It has: id, caption, n"):
        found.search([TEXT], 1, conditions=[Condition.parse("n=none")], sort="-nothing")


def test_what_is_likely_depends_on_no_part_of_the_query() -> None:
    """A picture finds itself, and would be the only strong hit: then the fair ones would be less likely."""
    rows = np.array([[1, 0, 0], [0.3, 0.6, 0.7], [0.1, 0.9, 0.3]], np.float32)
    found = finder(normalize(rows), calibration())
    assert [hit.is_likely for hit in found.search([Part(item="0.jpg")], 3).hits] == [True, True, False]
    assert found.search([Part(item="0.jpg")], 1).has_match
    weak = found.search([Part("0.1 1 0"), Part(item="0.jpg", weight=-1)], 3).hits[-1]
    assert (weak.row, weak.strength, weak.is_likely) == (0, "weak", False)


def test_many_copies_of_the_best_hide_no_other() -> None:
    copies = np.tile(np.array([[1, 0, 0]], np.float32), (300, 1))
    rows, groups = clusters(9, 1)
    found = finder(np.concatenate([copies, rows]), calibration(near_duplicate=0.995))
    answer = found.search([TEXT], 5)
    assert [hit.row for hit in answer.hits] == [0, 300 + groups.index(0)] + [300 + groups.index(n) for n in (1, 2, 3)]
    assert [len(hit.near_duplicates) for hit in answer.hits] == [299, 0, 0, 0, 0]
    assert answer.following == 304


def test_more_copies_than_are_looked_at_still_page_on() -> None:
    copies = np.tile(np.array([[1, 0, 0]], np.float32), (MAX_LOOKED_AT + 50, 1))
    found = finder(np.concatenate([copies, np.eye(3, dtype=np.float32)[1:]]), calibration(near_duplicate=0.995))
    answers = pages(found, [TEXT], 5)
    assert [len(answer.hits) for answer in answers] == [1, 3]
    assert answers[0].following == MAX_LOOKED_AT and answers[1].hits[0].row == MAX_LOOKED_AT
    whole = found.search([TEXT], MAX_LOOKED_AT + 1)  # beyond that nothing is folded
    assert ids(whole) == list(range(MAX_LOOKED_AT + 1)) and whole.following == MAX_LOOKED_AT + 1


def test_without_a_calibration_nothing_is_judged_or_folded() -> None:
    answer = finder(np.tile(ROWS, (3, 1))).search([TEXT], 5)
    assert answer.bounds is None and answer.has_match
    assert [(hit.strength, hit.near_duplicates) for hit in answer.hits] == [(None, ())] * 5
    assert answer.following == 5


def test_more_than_there_is() -> None:
    for judged in (None, calibration(near_duplicate=0.995)):
        found = finder(ROWS, judged)
        for k in (4, 5, 1000, 10**15):
            answer = found.search([TEXT], k)
            assert len(answer.hits) == 4 and answer.following is None
        for start in (4, 5, 10**15):
            answer = found.search([TEXT], 12, start=start)
            assert answer.hits == [] and answer.following is None
        nothing = found.search([TEXT], 12, conditions=[Condition.parse("n=none")])
        assert nothing.hits == [] and nothing.following is None
        with pytest.raises(InputError, match="at least 1"):
            found.search([TEXT], 0)
        with pytest.raises(InputError, match="leave out is -1"):
            found.search([TEXT], 12, start=-1)


@pytest.mark.filterwarnings("error")
def test_an_empty_index_has_no_hits() -> None:
    found = finder(np.zeros((0, 3), np.float32))
    for parts in ([TEXT], [TEXT, LIME]):
        answer = found.search(parts, 12, conditions=[Condition.parse("caption~x")])
        assert (answer.hits, answer.following, answer.bounds) == ([], None, None)
    with pytest.raises(InputError, match="no picture"):
        found.search([Part(item="0.jpg")], 12)


def test_filters_hold_within_the_search() -> None:
    """The one item that meets the condition is found, though it is the last of all."""
    rows, groups = clusters(9, 30)
    found = finder(rows, calibration(near_duplicate=0.995))
    last = found.index.search(np.array([[1, 0, 0]], np.float32), len(rows))[-1].row
    answer = found.search([TEXT], 1, conditions=[Condition.parse(f"id={last}.jpg")])
    assert ids(answer) == [last] and answer.hits[0].rank == 1 and answer.following is None
    with pytest.raises(InputError, match="no column 'nothing'"):
        found.search([TEXT], 1, conditions=[Condition.parse("nothing=1")])


def test_a_foreign_language_is_noticed(engine: Engine) -> None:
    assert engine.search("a red fruit").language == ""
    assert engine.search("un chien dans la neige").language == ""  # the starter looks it up
    assert engine.search("un zorglub dans la neige").language == "fr"
    assert engine.query([Part("a red fruit"), Part("ein Hund im Schnee", weight=-1)]).language == "de"
    assert engine.query([Part(item="skimage/coffee.jpg")]).language == ""
    assert finder(ROWS, encoder=Toy()).search([Part("1 0 0")], 4).language == ""  # of a model no one knows


def test_parts_of_the_starter_move_the_answer(engine: Engine) -> None:
    def found(*parts: Part) -> list[str]:
        return [hit.item.id for hit in engine.query(parts, 5).hits]

    animal, cat, drum_kit = Part("an animal"), Part("a cat"), "music/drum_kit.jpg"
    assert set(found(animal, replace(cat, weight=2))) <= CATS
    assert not CATS & set(found(animal, replace(cat, weight=-1)))
    assert found(Part("a musical instrument"))[0] == drum_kit
    less = found(Part("a musical instrument"), Part(item=drum_kit, weight=-0.5))
    assert drum_kit not in less and any("percussion" in id for id in less)
    coffee = engine.query([Part(item="skimage/coffee.jpg"), Part("a cup of coffee")], 1)
    assert coffee.hits[0].item.id == "skimage/coffee.jpg" and coffee.hits[0].strength == "strong"


def test_a_box_of_the_starters_item(engine: Engine, examples: Path) -> None:
    """The left half of two pictures side by side finds the one, the right half the other."""
    both = Image.new("RGB", (800, 400))
    for number, name in enumerate(("skimage/coffee", "stamps/animals-birds-owl")):
        with Image.open(examples / f"{name}.jpg") as image:
            both.paste(image.convert("RGB").resize((400, 400)), (400 * number, 0))
    buffer = io.BytesIO()
    both.save(buffer, "JPEG", quality=90)
    for box, name in (((0.0, 0.0, 0.5, 1.0), "skimage/coffee"), ((0.5, 0.0, 1.0, 1.0), "stamps/animals-birds-owl")):
        assert engine.query([Part(image=buffer.getvalue(), box=box)], 1).hits[0].item.id == f"{name}.jpg"


GOLDEN = {
    "a cup of coffee": ["An espresso in a red cup and saucer on a wooden table. strong"],
    "a bird": ["A griffon vulture hunched on a perch. strong"],
    "business meeting in an office": ["Drummers at a Japanese summer festival, under paper lanterns. weak"],
}


def said(bundle: Path) -> dict[str, list[tuple[str, Strength | None]]]:
    """Caption and word of the first hits of a few queries."""
    engine = Engine.open(bundle, "starter")
    return {query: [(hit.item.caption, hit.strength) for hit in engine.search(query, 4).hits] for query in GOLDEN}


def test_the_same_words_whatever_the_order_of_a_build(encoder: Encoder, examples: Path, tmp_path: Path) -> None:
    with (examples / "metadata.csv").open(encoding="utf-8", newline="") as file:
        captions = {row["file_name"]: row["caption"] for row in csv.DictReader(file)}
    chosen = ["skimage/coffee.jpg", *list(captions)[::8]]
    for folder, order in (("whole", chosen), ("one", chosen[15:]), ("other", chosen[:15])):
        (tmp_path / folder).mkdir()
        for name in order:
            shutil.copy(examples / name, tmp_path / folder / Path(name).name)
        lines = ["file_name,caption", *(f'{Path(name).name},"{captions[name]}"' for name in order)]
        (tmp_path / folder / "metadata.csv").write_text("\n".join(lines), "utf-8")
        build_index(Folder(tmp_path / folder), tmp_path / f"{folder}.bundle", encoder)
    merge([tmp_path / "one.bundle", tmp_path / "other.bundle"], tmp_path / "merged.bundle")
    whole, merged = tmp_path / "whole.bundle", tmp_path / "merged.bundle"
    assert list(Index.load(whole).column("id")) != list(Index.load(merged).column("id"))
    add_derived_data(whole, encoder, lambda: open_collection(STARTER_BUNDLE, encoder, lambda done, total: None))
    words = said(whole)
    assert words == said(merged)  # calibrated on first use
    found = {query: [f"{caption} {strength}" for caption, strength in hits] for query, hits in words.items()}
    assert {query: found[query][: len(golden)] for query, golden in GOLDEN.items()} == GOLDEN
