"""How well scores are judged: queries without an answer against those with one, near-duplicates, phrasings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imgsearch.errors import InputError
from imgsearch.index.index import Index
from imgsearch.models.encoder import Encoder
from imgsearch.search.augmentations import COPIES
from imgsearch.search.calibration import (
    NUM_COPIES,
    NUM_FOUND,
    apply_template,
    bare_caption,
    best_template,
    copy_scores,
    image_scores,
    search_captions,
    search_texts,
    template_figures,
)
from imgsearch.search.calibration_queries import CalibrationQuery, read_queries
from imgsearch.search.thresholds import (
    GOOD_LOST,
    Floats,
    QueryScores,
    ScoreThresholds,
    auc,
    best_threshold,
    error_rates,
    fit_biases,
    fit_thresholds,
    quantile,
)


@dataclass(frozen=True)
class CalibrationReport:
    """How well queries without an answer are told from the others. Shares are 0..1."""

    text: Mapping[str, float]  # bounds of one half of the queries, measured on the other
    image: Mapping[str, float]  # the same of pictures, by subject
    kinds: Mapping[str, Mapping[str, float]]  # of each kind of query the share said to have no answer, and recall@10
    rules: Mapping[str, Mapping[str, float]]  # what a query may be judged by; the absents flagged with GOOD_LOST
    near_duplicate: Mapping[str, float]  # threshold, both error rates, and for each way of copying the share missed
    templates: Mapping[str, Mapping[str, float]]  # of short queries, against "{}"

    def to_json(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in asdict(self).items()}


def evaluate_calibration(index: Index, encoder: Encoder) -> CalibrationReport:
    """Measure on the example photos what `calibrate` does.

    `text` and `image` come from halves: bounds are set on every other query (captions in the order of their hashes)
    and measured on the rest, then the other way round, and the shares averaged. All else takes the bounds of all
    queries. Raises InputError where the index has no captions.
    """
    templates = template_figures(index, encoder)
    template = best_template(templates)
    captions, goods = search_captions(index, encoder, template)
    if not captions:
        raise InputError("The collection has no captions to measure by. Add a caption column to its metadata.csv.")
    absent = [query.text for query in read_queries("absent")]
    absents, _ = search_texts(index, encoder, absent, template)
    return CalibrationReport(
        text=halves(goods, absents),
        image=halves(*image_scores(index, index)),
        kinds=_kinds(index, encoder, template, captions, fit_thresholds(goods, absents)),
        rules=_rules(index, encoder, template, (captions, goods), (absent, absents)),
        near_duplicate=_near_duplicate(index, encoder),
        templates=templates,
    )


def halves(goods: QueryScores, absents: QueryScores) -> dict[str, float]:
    """Shares of unseen goods that are lost and of unseen absents that are flagged; of each reaching "strong"."""
    figures: dict[str, list[float]] = {}
    for fitted in (0, 1):
        of_goods, of_absents = (np.arange(len(scores)) % 2 == fitted for scores in (goods, absents))
        bounds = fit_thresholds(goods[of_goods], absents[of_absents])
        for name, figure in bounds.figures(goods[~of_goods], absents[~of_absents]).items():
            figures.setdefault(name, []).append(figure)
    return {name: float(np.mean(each)) for name, each in figures.items()}


def _kinds(
    index: Index, encoder: Encoder, template: str, captions: Sequence[str], bounds: ScoreThresholds
) -> dict[str, dict[str, float]]:
    """Of each kind the share of all its queries that is flagged, of those that find their picture, and recall@10."""
    kinds = {kind: read_queries(kind) for kind in ("absent", "real-but-absent", "half-absurd", "typo", "french")}
    kinds["absent, written like a caption"] = [
        CalibrationQuery("", f"A {bare_caption(query.text)}.") for query in kinds["absent"]
    ]
    kinds["caption without its article"] = [
        CalibrationQuery("", bare_caption(caption), caption) for caption in captions
    ]
    figures: dict[str, dict[str, float]] = {}
    for kind, queries in kinds.items():
        scores, hits = search_texts(index, encoder, [query.text for query in queries], template)
        figures[kind] = {"queries": float(len(queries)), "flagged": bounds.weak(scores)}
        if queries[0].picture:
            pairs = zip(queries, hits, strict=True)
            found = np.array(
                [any(query.picture in (hit.item.id, hit.item.caption) for hit in each) for query, each in pairs]
            )
            figures[kind] |= {"recall@10": float(np.mean(found)), "found and flagged": bounds.weak(scores[found])}
    return figures


def _rules(
    index: Index,
    encoder: Encoder,
    template: str,
    good: tuple[Sequence[str], QueryScores],
    absent: tuple[Sequence[str], QueryScores],
) -> dict[str, dict[str, float]]:
    """Of each rule its AUC, and the share of absents flagged where GOOD_LOST of the goods are lost."""
    values: dict[str, list[Floats]] = {}
    fitted = fit_biases(good[1], absent[1])
    for texts, scores in (good, absent):
        rows = encoder.encode_texts([apply_template(text, template) for text in texts])
        all_scores = rows @ index.rows.T * encoder.text_scale
        above = scores.best - scores.location
        rules = {f"best score, {name}": bias.footing(scores) for name, bias in fitted.items()} | {
            "best score less location": above,
            "z-score of the best": above / all_scores.std(axis=1),
            f"mean of the {NUM_FOUND} best": np.sort(all_scores)[:, -NUM_FOUND:].mean(axis=1),
            "gap to the 20th": scores.best - np.sort(all_scores)[:, -20:].min(axis=1),
        }
        for name, value in rules.items():
            values.setdefault(name, []).append(value)
    return {
        name: {"auc": auc(*both), "absent_flagged": float(np.mean(both[1] < quantile(both[0], GOOD_LOST)))}
        for name, both in values.items()
    }


def _near_duplicate(index: Index, encoder: Encoder) -> dict[str, float]:
    copies, neighbours = copy_scores(index, encoder, NUM_COPIES)
    threshold = best_threshold(copies, neighbours)
    missed, mistaken = error_rates(copies, neighbours, threshold)
    figures = {"threshold": threshold, "missed": missed, "mistaken": mistaken}
    for number, kind in enumerate(COPIES):
        figures[f"{kind} missed"] = error_rates(copies[number :: len(COPIES)], neighbours, threshold)[0]
    return figures


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, 4)
