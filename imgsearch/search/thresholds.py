"""Score thresholds that separate queries with an answer from queries without one.

In names, `goods` are answerable queries: what they ask for is in the collection. `absents` are unanswerable ones.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

Floats: TypeAlias = npt.NDArray[np.float64]
QueryScores: TypeAlias = npt.NDArray[np.float64]
"""By what queries are judged, float64 (n, 3): of each query the score of its best hit, its location (the mean score
over the fixed sample of the items) and its length (characters of a text, at most LONGEST; 0 for a picture)."""
Number: TypeAlias = Annotated[float, Field(strict=True, ge=-1000, le=1000)]  # in a file; real cosines are far below
LONGEST = 80  # characters of a text that count: longer texts were not measured
BEST, LOCATION = 0, 1  # columns of these
GOOD_LOST = 0.045  # share of goods wrongly said to have no answer: it stays below 5 % on unseen queries
ABSENT_LEFT = 0.02  # share of absents whose best hit may be called strong
MIN_FITTED = 20  # queries of each kind that are needed to fit a bias
DIGITS = 6  # decimals of thresholds: up to here, sums of the same scores in another order agree


@dataclass(frozen=True)
class ScoreThresholds:
    """The lowest scores of a fair and of a strong hit; below, a hit is weak. Raise ValueError if fair > strong."""

    fair: Number
    strong: Number
    bias: Number = 0.0  # rise of both for each unit of the query's location
    length_bias: Number = 0.0  # rise of both for each character of the query

    def __post_init__(self) -> None:
        if self.fair > self.strong:
            raise ValueError(f"a fair hit ({self.fair}) is stronger than a strong one ({self.strong})")

    def at(self, location: float, text: str = "") -> tuple[float, float]:
        """Return fair and strong for a query: `location` is its mean score over the fixed sample, `text` its words."""
        shift = self.bias * location + self.length_bias * min(len(text), LONGEST)
        return self.fair + shift, self.strong + shift

    def footing(self, scores: QueryScores) -> Floats:
        """Return (n,): the best scores minus the biases of each query, to be compared with `fair` and `strong`."""
        best, location, length = scores.T
        return np.asarray(best - self.bias * location - self.length_bias * length)


def fit_thresholds(goods: QueryScores, absents: QueryScores) -> ScoreThresholds:
    """Fit thresholds to answerable queries (goods) and unanswerable ones (absents).

    `fair` loses GOOD_LOST of the goods; fewer if nearly all absents are lower: then it is midway. `strong` is set so
    that ABSENT_LEFT of the absents reach it, but at least a quarter and at most half of the goods. If one group is
    empty, reuse the other; with no queries at all return thresholds (0, 1).
    """
    if not len(goods) and not len(absents):
        return ScoreThresholds(0.0, 1.0)
    goods, absents = goods if len(goods) else absents, absents if len(absents) else goods
    bias = fit_bias(goods, absents)
    good, absent = bias.footing(goods), bias.footing(absents)
    lowest = quantile(good, GOOD_LOST)
    fair = min(lowest, (lowest + quantile(absent, 1 - ABSENT_LEFT)) / 2)
    strong = max(fair, quantile(good, 0.5), min(quantile(absent, 1 - ABSENT_LEFT), quantile(good, 0.75)))
    return ScoreThresholds(*(round(number, DIGITS) for number in (fair, strong, bias.bias, bias.length_bias)))


def best_threshold(copies: Floats, others: Floats) -> float:
    """Return the lowest score of a pair of copies: the threshold with the smallest sum of both error rates.

    Of several thresholds the highest is taken; 1.0 if there are no copies to learn from.
    """
    if not len(copies):
        return 1.0
    values = np.unique(np.concatenate([copies, others]))
    between = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    return float(min(between[::-1], key=lambda threshold: sum(error_rates(copies, others, threshold))))


def error_rates(copies: Floats, others: Floats, threshold: float) -> tuple[float, float]:
    """Return the shares of copies below a threshold and of others at or above it; 0 for an empty group."""
    missed = float(np.mean(copies < threshold)) if len(copies) else 0.0
    return missed, float(np.mean(others >= threshold)) if len(others) else 0.0


def fit_bias(goods: QueryScores, absents: QueryScores) -> ScoreThresholds:
    """Fit how the bounds rise with a query's location and length, by logistic regression; thresholds stay 0.

    The regression separates goods from absents by (best score, location, length). Where it is undecided, the best score
    is a constant plus `bias` times the location plus `length_bias` times the length. With fewer than MIN_FITTED queries
    in a group, or if goods do not score higher, both are 0.
    """
    if min(len(goods), len(absents)) < MIN_FITTED:
        return ScoreThresholds(0.0, 0.0)
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scores = np.concatenate([goods, absents])
    is_good = np.arange(len(scores)) < len(goods)
    scaler = StandardScaler().fit(scores)
    model = LogisticRegression(class_weight="balanced").fit(scaler.transform(scores), is_good)
    best, location, length = (model.coef_[0] / scaler.scale_).tolist()
    if best <= 0:
        return ScoreThresholds(0.0, 0.0)
    return ScoreThresholds(0.0, 0.0, bias=-location / best, length_bias=0.0 - length / best)


def quantile(values: Floats, share: float) -> float:
    """Return the value below which this share of unseen ones is expected (Weibull 1939): k / (n + 1) for the k-th."""
    return float(np.quantile(values, share, method="weibull"))
