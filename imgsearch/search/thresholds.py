"""Bounds that part the scores of queries that have an answer from those of queries that have none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
LONGEST = 80  # characters of a text that count: scores were measured up to there
GOOD_LOST = 0.045  # of the good queries, wrongly said to have no answer; so that it stays below 5 % on unseen ones
ABSENT_LEFT = 0.02  # of the absent queries whose best hit may be called strong
MIN_FITTED = 20  # queries of each kind, to fit a bias
DIGITS = 6  # of bounds: what sums of the same scores in another order agree in
CLEAR = 2.0  # standard errors by which a bias must part the scores better


@dataclass(frozen=True)
class QueryScores:
    """Queries by what their judgement rests on; float64 (n,) each."""

    best: Floats  # the score of the best hit
    location: Floats  # the mean score over the fixed sample of the items
    length: Floats  # of a text, in characters; 0 of a picture

    def __getitem__(self, mask: npt.NDArray[np.bool_]) -> "QueryScores":
        return QueryScores(self.best[mask], self.location[mask], self.length[mask])

    def __len__(self) -> int:
        return len(self.best)

    def moved(self, higher: float) -> "QueryScores":
        """The same queries where all scores are that much higher."""
        return QueryScores(self.best + higher, self.location + higher, self.length)


@dataclass(frozen=True)
class ScoreThresholds:
    """The scores from which on a hit is fair, and strong; what is neither is weak. fair <= strong."""

    fair: float
    strong: float
    bias: float = 0.0  # what both rise by for each unit of the query's location
    length_bias: float = 0.0  # what both rise by for each character of the query

    def at(self, location: float, text: str = "") -> tuple[float, float]:
        """Fair and strong for a query: `location` is its mean score over the fixed sample, `text` its words if any."""
        shift = self.bias * location + self.length_bias * min(len(text), LONGEST)
        return self.fair + shift, self.strong + shift

    def footing(self, scores: QueryScores) -> Floats:
        """(n,): the best scores as `fair` and `strong` stand, less what is the queries' own."""
        return scores.best - self.bias * scores.location - self.length_bias * np.minimum(scores.length, LONGEST)

    def weak(self, scores: QueryScores) -> float:
        """The share of the queries that are said to have no answer; 0 of none."""
        return float(np.mean(self.footing(scores) < self.fair)) if len(scores) else 0.0

    def figures(self, goods: QueryScores, absents: QueryScores) -> Mapping[str, float]:
        """How well the bounds part these queries, and how well the plain score does."""
        strong = float(np.mean(self.footing(goods) >= self.strong)) if len(goods) else 0.0
        return {
            "num_goods": float(len(goods)),
            "num_absents": float(len(absents)),
            "auc": auc(self.footing(goods), self.footing(absents)),
            "auc_plain": auc(goods.best, absents.best),
            "good_lost": self.weak(goods),
            "good_strong": strong,
            "absent_flagged": self.weak(absents),
        }


def fit_thresholds(goods: QueryScores, absents: QueryScores) -> ScoreThresholds:
    """Bounds from queries that have an answer and queries that have none.

    fair loses GOOD_LOST of the goods, or fewer where the absents stay well below: then it lies midway. strong is
    reached by ABSENT_LEFT of the absents, and by half of the goods at most and a quarter at least. Where one kind
    is missing it is taken to be like the other: little is weak. Without any query all from 0 on is fair.
    """
    if not len(goods) and not len(absents):
        return ScoreThresholds(0.0, 1.0)
    goods, absents = goods if len(goods) else absents, absents if len(absents) else goods
    bias = _chosen(goods, absents)
    good, absent = bias.footing(goods), bias.footing(absents)
    lowest = quantile(good, GOOD_LOST)
    fair = min(lowest, (lowest + quantile(absent, 1 - ABSENT_LEFT)) / 2)
    strong = max(fair, quantile(good, 0.5), min(quantile(absent, 1 - ABSENT_LEFT), quantile(good, 0.75)))
    return ScoreThresholds(*(round(number, DIGITS) for number in (fair, strong, bias.bias, bias.length_bias)))


def auc(goods: Floats, absents: Floats) -> float:
    """The chance that a good query scores higher than an absent one (ties count half); 0.5 where there is none."""
    if not len(goods) or not len(absents):
        return 0.5
    return float(np.mean(_wins(goods, absents)))


def best_threshold(copies: Floats, others: Floats) -> float:
    """The score from which on to call a pair copies, with the least sum of both error rates; of several the highest.

    1.0 where there are no copies to learn from.
    """
    if not len(copies):
        return 1.0
    values = np.unique(np.concatenate([copies, others]))
    between = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    errors = [sum(error_rates(copies, others, float(threshold))) for threshold in between]
    return float(between[len(errors) - 1 - int(np.argmin(errors[::-1]))])


def error_rates(copies: Floats, others: Floats, threshold: float) -> tuple[float, float]:
    """The shares of copies below a threshold, and of others not below it; 0 of none."""
    missed = float(np.mean(copies < threshold)) if len(copies) else 0.0
    return missed, float(np.mean(others >= threshold)) if len(others) else 0.0


def fit_biases(goods: QueryScores, absents: QueryScores) -> dict[str, ScoreThresholds]:
    """What may be taken off the best score of a query: nothing, by its length, by its location; bounds of 0 with it.

    Each is the slope of the best score over it within the two kinds of queries (least squares, pooled); of too few
    queries none is fitted.
    """
    plain = ScoreThresholds(0.0, 0.0)
    if min(len(goods), len(absents)) < MIN_FITTED:
        return {"plain": plain}
    best = [goods.best, absents.best]
    by_length = _slope([np.minimum(scores.length, LONGEST) for scores in (goods, absents)], best)
    by_location = _slope([goods.location, absents.location], best)
    return {
        "plain": plain,
        "length": ScoreThresholds(0.0, 0.0, length_bias=by_length),
        "location": ScoreThresholds(0.0, 0.0, bias=by_location),
    }


def _chosen(goods: QueryScores, absents: QueryScores) -> ScoreThresholds:
    """The bias that parts best; none where no other is clearly better than the plain score."""
    candidates = fit_biases(goods, absents)
    return max(candidates.values(), key=lambda bias: _gain(candidates["plain"], bias, goods, absents))


def _slope(x: list[Floats], y: list[Floats]) -> float:
    across = np.concatenate([values - values.mean() for values in x])
    up = np.concatenate([values - values.mean() for values in y])
    return float(across @ up / (across @ across)) if across @ across > 0 else 0.0


def _gain(plain: ScoreThresholds, other: ScoreThresholds, goods: QueryScores, absents: QueryScores) -> float:
    """How much larger the AUC becomes; 0 where that is within CLEAR standard errors.

    The error is that of a difference of two AUCs over the same queries (DeLong et al. 1988, Biometrics 44, 837).
    """
    if other == plain:
        return 0.0
    more = _wins(other.footing(goods), other.footing(absents)) - _wins(plain.footing(goods), plain.footing(absents))
    by_good, by_absent = more.mean(axis=1), more.mean(axis=0)
    error = np.sqrt(by_good.var(ddof=1) / len(goods) + by_absent.var(ddof=1) / len(absents))
    return float(more.mean()) if more.mean() > CLEAR * error else 0.0


def _wins(goods: Floats, absents: Floats) -> Floats:
    """(goods, absents): 1 where a good query scores higher, 0.5 where both are equal."""
    return np.asarray((goods[:, None] > absents) + 0.5 * (goods[:, None] == absents), np.float64)


def quantile(values: Floats, share: float) -> float:
    """The value that this share of unseen ones is expected to stay below (Weibull 1939): k / (n + 1) for the k-th."""
    return float(np.quantile(values, share, method="weibull"))
