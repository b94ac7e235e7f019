"""Measure how well the score thresholds work: unanswerable against answerable queries, near-duplicates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from imgsearch.errors import InputError
from imgsearch.index.index import Index
from imgsearch.models.encoder import Encoder
from imgsearch.search.calibration import (
    COPIES,
    NUM_FOUND,
    copy_scores,
    image_scores,
    read_queries,
    search_good_queries,
    search_texts,
)
from imgsearch.search.thresholds import (
    BEST,
    GOOD_LOST,
    LOCATION,
    Floats,
    QueryScores,
    ScoreThresholds,
    best_threshold,
    error_rates,
    fit_bias,
    fit_thresholds,
    quantile,
)

KINDS = ("absent", "absent-caption", "real-but-absent", "half-absurd", "typo", "french")
ARTICLE = re.compile(r"^(an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class CalibrationReport:
    """Figures on how well unanswerable queries ("absents") are told from answerable ones ("goods"). Shares are 0..1."""

    text: Mapping[str, float]  # text queries: thresholds fitted on one half and measured on the other
    image: Mapping[str, float]  # the same for pictures as queries, by subject
    kinds: Mapping[str, Mapping[str, float]]  # per kind of query: share flagged as unanswerable, and recall@10
    rules: Mapping[str, Mapping[str, float]]  # per possible score: AUC, and absents flagged if GOOD_LOST goods are lost
    near_duplicate: Mapping[str, float]  # threshold, both error rates, and the share missed per kind of copy

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON, numbers rounded to 4 decimals."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def evaluate_calibration(index: Index, encoder: Encoder) -> CalibrationReport:
    """Measure what `calibrate` does, on the captions and pictures of an index.

    For `text` and `image`, thresholds are fitted on every other query (captions in the order of their hashes) and
    measured on the rest, then the other way round, and averaged. Everything else uses thresholds fitted on all
    queries. Raise InputError if the index has no captions.
    """
    captions, goods = search_good_queries(index, encoder)
    if not captions:
        raise InputError("The collection has no captions to measure by. Add a caption column to its metadata.csv.")
    absent = [*read_queries("absent", "absent-caption")]
    absents, _ = search_texts(index, encoder, absent)
    return CalibrationReport(
        text=halves(goods, absents),
        image=halves(*image_scores(index, index)),
        kinds=_kinds(index, encoder, captions, fit_thresholds(goods, absents)),
        rules=_rules(index, encoder, (captions, goods), (absent, absents)),
        near_duplicate=_near_duplicate(index, encoder),
    )


def halves(goods: QueryScores, absents: QueryScores) -> dict[str, float]:
    """Return the shares of unseen goods that are lost, of unseen absents that are flagged, and of both in "strong"."""
    figures: dict[str, list[float]] = {}
    for parity in (0, 1):
        of_goods, of_absents = (np.arange(len(scores)) % 2 == parity for scores in (goods, absents))
        bounds = fit_thresholds(goods[of_goods], absents[of_absents])
        for name, figure in _figures(bounds, goods[~of_goods], absents[~of_absents]).items():
            figures.setdefault(name, []).append(figure)
    return {name: float(np.mean(values)) for name, values in figures.items()}


def _figures(bounds: ScoreThresholds, goods: QueryScores, absents: QueryScores) -> dict[str, float]:
    """Measure how well the thresholds separate these queries, and how well the plain score does."""
    return {
        "num_goods": float(len(goods)),
        "num_absents": float(len(absents)),
        "auc": auc(bounds.footing(goods), bounds.footing(absents)),
        "auc_plain": auc(goods[:, BEST], absents[:, BEST]),
        "good_lost": weak(bounds, goods),
        "good_strong": float(np.mean(bounds.footing(goods) >= bounds.strong)),
        "absent_flagged": weak(bounds, absents),
    }


def weak(bounds: ScoreThresholds, scores: QueryScores) -> float:
    """Return the share of the queries that are said to have no answer."""
    return float(np.mean(bounds.footing(scores) < bounds.fair))


def auc(goods: Floats, absents: Floats) -> float:
    """Return the chance that a good query beats an absent one; ties count half."""
    return float(roc_auc_score(np.arange(len(goods) + len(absents)) < len(goods), np.concatenate([goods, absents])))


def _kinds(
    index: Index, encoder: Encoder, captions: Sequence[str], bounds: ScoreThresholds
) -> dict[str, dict[str, float]]:
    """Return per kind the number of queries, the share flagged (of all, of those with their picture) and recall@10."""
    kinds = {kind: [*read_queries(kind).items()] for kind in KINDS}
    kinds["caption without its article"] = [(_bare_caption(caption), caption) for caption in captions]
    figures: dict[str, dict[str, float]] = {}
    for kind, queries in kinds.items():
        scores, pages = search_texts(index, encoder, [text for text, _ in queries])
        figures[kind] = {"queries": float(len(queries)), "flagged": weak(bounds, scores)}
        if queries[0][1]:
            items = ([index.item(row) for row in rows.tolist()] for rows in pages)
            pictures = zip((picture for _, picture in queries), items, strict=True)
            found = np.array([any(picture in (item.id, item.caption) for item in top) for picture, top in pictures])
            figures[kind] |= {"recall@10": float(np.mean(found)), "found and flagged": weak(bounds, scores[found])}
    return figures


def _rules(
    index: Index,
    encoder: Encoder,
    good: tuple[Sequence[str], QueryScores],
    absent: tuple[Sequence[str], QueryScores],
) -> dict[str, dict[str, float]]:
    """Return per rule its AUC and the share of absents flagged if GOOD_LOST of the goods are lost."""
    values: dict[str, list[Floats]] = {}
    biases = {"plain": ScoreThresholds(0.0, 0.0), "corrected": fit_bias(good[1], absent[1])}
    for texts, scores in (good, absent):
        vectors = encoder.encode_texts(texts)
        all_scores = vectors @ index.rows.T * encoder.text_scale
        above = scores[:, BEST] - scores[:, LOCATION]
        rules = {f"best score, {name}": bias.footing(scores) for name, bias in biases.items()} | {
            "best score less location": above,
            "z-score of the best": above / all_scores.std(axis=1),
            f"mean of the {NUM_FOUND} best": np.sort(all_scores)[:, -NUM_FOUND:].mean(axis=1),
            "gap to the 20th": scores[:, BEST] - np.sort(all_scores)[:, -20:].min(axis=1),
        }
        for name, scores_by_rule in rules.items():
            values.setdefault(name, []).append(scores_by_rule)
    return {
        name: {"auc": auc(*pair), "absent_flagged": float(np.mean(pair[1] < quantile(pair[0], GOOD_LOST)))}
        for name, pair in values.items()
    }


def _bare_caption(caption: str) -> str:
    """Return a caption as people type it: "owl" for "An owl."."""
    text = ARTICLE.sub("", caption.strip().rstrip(".!"))
    return text[:1].lower() + text[1:]


def _near_duplicate(index: Index, encoder: Encoder) -> dict[str, float]:
    copies, neighbours = copy_scores(index, encoder)
    threshold = best_threshold(copies, neighbours)
    missed, mistaken = error_rates(copies, neighbours, threshold)
    figures = {"threshold": threshold, "missed": missed, "mistaken": mistaken}
    for first, kind in enumerate(COPIES):
        figures[f"{kind} missed"] = error_rates(copies[first :: len(COPIES)], neighbours, threshold)[0]
    return figures


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(member) for name, member in value.items()}
    return round(value, 4)
