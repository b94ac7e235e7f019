"""Bounds worked out by hand, floors on the example photos, and the same words whatever the order of the items."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgsearch.config import ROOT, STARTER_BUNDLE
from imgsearch.embeddings import Embeddings, normalize
from imgsearch.engine import Engine
from imgsearch.errors import InputError
from imgsearch.files import read_table
from imgsearch.images import open_rgb, to_webp
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance, provenance_of
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import model_name
from imgsearch.records import CAPTIONED_BY, GENERATED_CAPTION, Item
from imgsearch.search.calibration import Calibration, calibrate, read_queries, sample_rows, text_scores
from imgsearch.search.collection import open_collection
from imgsearch.search.thresholds import (
    BEST,
    Floats,
    QueryScores,
    ScoreThresholds,
    best_threshold,
    error_rates,
    fit_thresholds,
)
from tests.quality.calibration import CalibrationReport, auc, evaluate_calibration, weak

CARD = Provenance(encoder="line", vectors="float32")


def scores(best: Sequence[float] | Floats, length: Sequence[float] | Floats = (0,)) -> QueryScores:
    values = np.asarray(best, np.float64)
    return np.stack([values, np.zeros(len(values)), np.zeros(len(values)) + np.asarray(length)], axis=1)


def steps(first: float, number: int = 19) -> Floats:
    """first, first + 0.01, ..."""
    return first + np.arange(number) / 100


def test_bounds_by_hand() -> None:
    goods = scores(steps(0.5))  # 0.50 .. 0.68: the least of 19 stands for 1/20, the median is 0.59
    # Well apart: midway between the best absent, 0.28, and the least good; half of the goods are strong.
    assert fit_thresholds(goods, scores(steps(0.1))) == ScoreThresholds(0.39, 0.59)
    # Overlapping: nothing but the least of the goods is lost; absents up to 0.63 push strong up.
    assert fit_thresholds(goods, scores(steps(0.45))) == ScoreThresholds(0.5, 0.63)
    # Absents that are there after all do not take strong beyond the best quarter: the 15th of 19.
    assert fit_thresholds(goods, scores(steps(0.6))) == ScoreThresholds(0.5, 0.64)
    assert fit_thresholds(scores([0.3]), scores([0.3])) == ScoreThresholds(0.3, 0.3)
    assert fit_thresholds(scores([]), scores([0.2, 0.4])) == ScoreThresholds(0.2, 0.4)
    assert fit_thresholds(scores([]), scores([])) == ScoreThresholds(0.0, 1.0)


def test_bias_by_hand() -> None:
    lengths = np.arange(4, 44, dtype=np.float64)
    falls = 0.005 * lengths
    long = scores(0.6 - falls, lengths), scores(0.5 - falls, lengths)
    bounds = fit_thresholds(*long)
    # Without what length takes, the goods are all 0.6 and the absents all 0.5. The regression shrinks the slope a bit.
    assert bounds.length_bias == pytest.approx(-0.005, rel=0.2) and bounds.bias == 0
    assert weak(bounds, long[0]) == 0 and weak(bounds, long[1]) == 1
    assert bounds.at(0.9, "x" * 1000) == bounds.at(0.9, "x" * 80)  # beyond what was measured nothing is known
    located = [np.stack([each[:, BEST], falls, np.zeros(40)], axis=1) for each in long]
    assert fit_thresholds(*located).bias == pytest.approx(-1, rel=0.2)
    swapped = fit_thresholds(long[1], long[0])  # goods that score lower than absents teach nothing
    assert swapped.bias == swapped.length_bias == 0


def test_auc_by_hand() -> None:
    assert auc(np.array([0.3, 0.5]), np.array([0.1, 0.3])) == (1 + 0.5 + 1 + 1) / 4


def test_threshold_by_hand() -> None:
    copies, others = np.array([0.7, 0.9, 0.95, 0.97]), np.array([0.3, 0.5, 0.8, 0.6])
    # Just under 0.9 one copy of four is missed; just under 0.7 one other of four is mistaken: the stricter one.
    assert best_threshold(copies, others) == pytest.approx(0.85)
    assert error_rates(copies, others, 0.85) == (0.25, 0.0)
    assert error_rates(copies, others, 0.8) == (0.25, 0.25)
    assert best_threshold(np.array([]), others) == 1.0


class Line:
    """An encoder for which each text is (1, 0): the cosine of an item is its first number."""

    model_id, revision, precision, preprocess, dim, text_scale = "line", "", "float32", "", 2, 1.0

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        return np.tile(np.array([1, 0], np.float32), (len(texts), 1))


def line(cosines: Sequence[float], captions: Sequence[str]) -> Index:
    rows = normalize([[cosine, np.sqrt(1 - cosine**2)] for cosine in cosines])
    items = [Item(f"{n}.jpg", caption, {}, "", b"") for n, caption in enumerate(captions)]
    return Index.from_rows(rows, items, CARD)


def test_an_index_without_captions_takes_the_references() -> None:
    reference = line([0.6, 0.4], ["a", "b"])
    index = line([0.9, 0.5], ["", ""])
    goods, absents, _ = text_scores(index, Line(), reference)
    # Both captions find their own picture, and 0.6 at best; scores lie 0.7 - 0.5 higher in the index.
    assert goods[:, :2] == pytest.approx(np.array([[0.8, 0.7], [0.8, 0.7]]))
    assert absents[:, BEST] == pytest.approx(np.full(len(absents), 0.9))
    assert len(absents) == len(read_queries("absent", "absent-caption"))


def test_queries(examples: Path) -> None:
    with (examples / "metadata.csv").open(encoding="utf-8", newline="") as file:
        captions = {row["file_name"]: row["caption"] for row in csv.DictReader(file)}
    least = {"absent": 80, "half-absurd": 20, "real-but-absent": 20, "typo": 20, "french": 20}
    for kind, number in least.items():
        assert len(read_queries(kind)) >= number
    rows = [tuple(row) for row in read_table("queries.tsv") if row[0] in (*least, "absent-caption")]
    assert len({*rows}) == len(rows) == sum(len(read_queries(kind)) for kind in (*least, "absent-caption"))
    assert {*read_queries("typo", "french").values()} <= {*captions}
    assert {*read_queries("absent", "absent-caption", "half-absurd", "real-but-absent").values()} == {""}
    said = {caption.lower().rstrip(".!") for caption in captions.values()}
    assert not {text.lower() for text in read_queries("absent")} & said


@pytest.fixture(scope="module")
def report(engine: Engine, encoder: Encoder) -> CalibrationReport:
    return evaluate_calibration(engine.index, encoder)


def test_text_floors(report: CalibrationReport) -> None:
    assert report.text["absent_flagged"] >= 0.58
    assert report.text["good_lost"] <= 0.05
    assert report.text["good_strong"] >= 0.38
    assert report.text["auc"] >= 0.88
    rules = {rule: figures["auc"] for rule, figures in report.rules.items()}
    assert max(rules, key=lambda rule: rules[rule]) == "best score, corrected"


def test_other_floors(report: CalibrationReport) -> None:
    assert report.image["good_lost"] <= 0.05
    assert report.near_duplicate["missed"] <= 0.05
    assert report.near_duplicate["mistaken"] <= 0.02
    assert report.kinds["absent"]["flagged"] >= 0.68
    for kind, recall in (("typo", 0.55), ("french", 0.7)):
        assert report.kinds[kind]["recall@10"] >= recall and report.kinds[kind]["flagged"] <= 0.3
    json.dumps(report.to_json(), allow_nan=False)


def test_a_long_query_makes_few_best_matches(engine: Engine) -> None:
    query = "A brown dog with curly hair sits on a wooden floor beside a window, looking out at the garden where two "
    query += "children play with a red ball, and behind it a grey cat sleeps on a blue chair."
    hits = engine.search(query).hits
    assert len(hits) == 12 and sum(hit.strength == "strong" for hit in hits) <= 3


@pytest.mark.parametrize("wording", ["{}", "a {}"])
def test_bare_nouns_are_seldom_told_that_nothing_matches(wording: str, engine: Engine) -> None:
    """By vectors alone: 201 nouns of what the photos show."""
    by_vectors = Engine.open(engine.bundle, "starter", words=False)
    lines = (ROOT / "tests" / "quality" / "bare_nouns.tsv").read_text("utf-8").splitlines()
    nouns = [line.split("\t")[0] for line in lines if not line.startswith("#")]
    texts = [re.sub("^a (?=[aeiou])", "an ", wording.format(noun)) for noun in nouns]
    lost = [text for text in texts if not by_vectors.search(text, 1).has_match]
    assert len(texts) > 145 and len(lost) <= 12, lost
    assert all(engine.search(text, 1).has_match for text in texts if engine.search(text, 1).hits[0].words == 1)


def test_a_report_needs_captions(encoder: Encoder, engine: Engine) -> None:
    items = [replace(engine.index.item(row), caption="") for row in range(3)]
    with pytest.raises(InputError, match="no captions"):
        evaluate_calibration(Index.from_rows(engine.index.rows[:3], items, engine.index.provenance), encoder)


def words(index: Index, encoder: Encoder, calibration: Calibration, text: str) -> list[tuple[str, str]]:
    """Caption and word of the first hits."""
    row = encoder.encode_texts([text])
    sample = index.rows_of(sample_rows(index).tolist())
    fair, strong = calibration.text.at(float(np.mean(sample @ row[0])) * encoder.text_scale, text)
    hits = [(hit.item.caption, hit.score * encoder.text_scale) for hit in index.search(row, 5)]
    return [(caption, "strong" if s >= strong else "fair" if s >= fair else "weak") for caption, s in hits]


def test_the_same_bounds_after_a_rebuild(tiny_encoder: Encoder, tmp_path: Path) -> None:
    whole = open_collection(STARTER_BUNDLE, tiny_encoder, lambda done, total: None)
    chosen = np.arange(0, len(whole), 2)
    found = []
    for number, order in enumerate((chosen, np.random.default_rng(0).permutation(chosen))):
        items = [whole.item(int(row)) for row in order]
        Index.from_rows(whole.rows_of(order.tolist()), items, whole.provenance).save(tmp_path / f"{number}")
        index = Index.load(tmp_path / f"{number}")
        calibration = calibrate(index, tiny_encoder, whole)
        sample = sorted(index.item(int(row)).id for row in sample_rows(index))
        queries = [text for kind in ("absent", "real-but-absent", "typo") for text in [*read_queries(kind)][:20]]
        found.append((calibration, sample, [words(index, tiny_encoder, calibration, query) for query in queries]))
    assert found[0] == found[1]


def test_the_captions_of_people_come_before_those_of_models(tiny_encoder: Encoder) -> None:
    whole = open_collection(STARTER_BUNDLE, tiny_encoder, lambda done, total: None)
    items = [whole.item(row) for row in range(len(whole))]
    wrong = [replace(item, columns={**item.columns, GENERATED_CAPTION: "an owl"}) for item in items]
    moved = [replace(one, caption="", columns={GENERATED_CAPTION: one.caption, CAPTIONED_BY: "me"}) for one in items]
    made = []
    for those in (items, wrong, moved):
        index = Index.from_rows(whole.rows, those, whole.provenance)
        goods, absents, captions = text_scores(index, tiny_encoder, index)
        made.append((fit_thresholds(goods, absents), captions))
    assert [captions for _, captions in made] == ["caption", "caption", "generated_caption"]
    assert made[0][0] == made[1][0] == made[2][0]
    by_encoder = {CAPTIONED_BY: model_name(tiny_encoder.model_id)}  # as it writes without a captioner: no questions
    for those in (moved[:5], [replace(one, columns={**one.columns, **by_encoder}) for one in moved]):
        index = Index.from_rows(whole.rows[: len(those)], those, whole.provenance)
        assert calibrate(index, tiny_encoder, whole).captions == "examples"


GOLDEN = {
    "a musical instrument": ["A red electric guitar leaning against a drum kit. strong"],
    "a cup of coffee": ["A white cup of coffee with a leaf drawn in the milk foam. fair"],
    "frog": [
        "A brown frog with warty skin, seen from above. strong",
        "A brown owl perched on a branch in misty light. fair",
    ],
    "red motorcycle": ["A pink children's bicycle with a basket at the front. fair"],
    "two dogs": [
        "A German shepherd with its tongue out, standing in dry grass. fair",
        "Two curly brown dogs leaning out of a window to look down. fair",
    ],
    "people dancing at a nightclub": ["A columned façade carved into the pink cliffs of Petra. weak"],
    "business meeting in an office": ["A white chair with worn paint. weak"],
    "passport": ["A shut red metal toolbox. weak"],
}


def test_golden_words(engine: Engine, encoder: Encoder) -> None:
    calibration = calibrate(engine.index, encoder, engine.index)
    for query, golden in GOLDEN.items():
        found = [f"{caption} {word}" for caption, word in words(engine.index, encoder, calibration, query)]
        assert found[: len(golden)] == golden, query


def check_sound(calibration: Calibration) -> None:
    """Its bounds are finite and in order, and it comes back from JSON as it was."""
    assert Calibration.model_validate_json(calibration.to_bytes()) == calibration
    assert -1 <= calibration.near_duplicate <= 1 + 1e-6


@pytest.mark.parametrize("number", [1, 3])
def test_sound_on_tiny_inputs(number: int, folder: Path, tiny_encoder: Encoder, engine: Engine) -> None:
    images = [open_rgb(path) for path in sorted(folder.glob("*.jpg"))]
    for caption in ("", "a thing"):
        items = [Item(f"{n}.jpg", caption, {}, "", to_webp(image)) for n, image in enumerate(images)]
        whole = Index.from_rows(tiny_encoder.encode_images(images), items, provenance_of(tiny_encoder))
        small = Index.from_rows(whole.rows[:number], items[:number], provenance_of(tiny_encoder))
        for index, reference in ((small, small), (small, whole), (whole, small)):
            check_sound(calibrate(index, tiny_encoder, reference))
    items = [replace(item, thumbnail=b"") for item in items[:number]]
    bare = Index.from_rows(whole.rows[:number], items, provenance_of(tiny_encoder))
    calibration = calibrate(bare, tiny_encoder, bare)
    check_sound(calibration)
    assert calibration.near_duplicate == 1.0  # no picture to copy


def test_nothing_is_measured_on_nothing(engine: Engine, encoder: Encoder) -> None:
    empty = Index.from_rows(np.zeros((0, encoder.dim), np.float32), [], engine.index.provenance)
    assert len(sample_rows(empty)) == 0
    for index, reference in ((empty, engine.index), (engine.index, empty)):
        with pytest.raises(ValueError, match="empty"):
            calibrate(index, encoder, reference)


TEXT, IMAGE = ScoreThresholds(0.4, 0.6, 0.0, -0.005), ScoreThresholds(0.5, 0.7)
SOUND = Calibration(text=TEXT, image=IMAGE, near_duplicate=0.86)


@pytest.mark.parametrize(
    "change",
    [
        {"text": {"fair": 0.7, "strong": 0.6, "bias": 0.0, "length_bias": 0.0}},
        {"image": {"fair": 0.5}},
        {"image": {"fair": 0.5, "strong": 0.7, "more": 0.1}},
        {"image": {"fair": "0.5", "strong": 0.7}},
        {"image": None},
        {"text": {"fair": float("nan"), "strong": 0.6}},
        {"near_duplicate": None},
        {"near_duplicate": float("inf")},
        {"near_duplicate": True},
        {"figures": {"text_auc": "high"}},
        {"figures": 3},
        {"captions": "theirs"},
        {"another": 1},
    ],
)
def test_nonsense_is_refused(change: dict[str, Any]) -> None:
    fields = json.loads(SOUND.to_bytes())
    assert Calibration.model_validate_json(json.dumps(fields)) == SOUND
    older = fields | {"template": "{}", "figures": {"text_auc": 0.98}}  # as it was written once
    assert Calibration.model_validate_json(json.dumps(older)).to_bytes() == SOUND.to_bytes()
    with pytest.raises(ValueError, match="Calibration"):
        Calibration.model_validate_json(json.dumps(fields | change))


@pytest.mark.parametrize("fields", [None, [], "text", {}, {"text": 1}])
def test_what_is_no_calibration_is_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match="Calibration"):
        Calibration.model_validate_json(json.dumps(fields))
