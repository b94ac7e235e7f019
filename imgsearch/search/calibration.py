"""Measure what a score means: which cosines are fair, strong or a copy depends on the encoder and the collection.

In names, `goods` are answerable queries: what they ask for is in the collection. `absents` are unanswerable ones.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps
from pydantic import BaseModel, Field

from imgsearch.embeddings import Embeddings
from imgsearch.files import read_table
from imgsearch.images import open_rgb
from imgsearch.index.index import Index
from imgsearch.index.items import Rows, stable_sample
from imgsearch.models.encoder import Encoder
from imgsearch.models.language import french_terms
from imgsearch.models.registry import model_name
from imgsearch.records import CAPTIONED_BY

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
NUM_SAMPLE = 1000  # items: enough to know a query's location to a few thousandths
NUM_CAPTIONS = 300  # of a collection to search with, and as many words of them: their 5 % quantile rests on 30
MIN_GOODS = 50  # below, that quantile would rest on one or two queries
NUM_FOUND = 10  # a query is good if a picture whose caption holds it is among the first ten hits
NUM_COPIES = 50  # made to measure `near_duplicate`
QUALITY, POOR_QUALITY = 90, 40  # of a JPEG written by a camera or an editor; of one sent by a messenger app
CROPPED = 0.05  # share of a side's length that is cut off at each end
COPIES: Mapping[str, Callable[[Image.Image], bytes]] = {  # as pictures circulate: a JPEG of an RGB image
    "re-encoded": lambda image: _jpeg(image, POOR_QUALITY),
    "resized": lambda image: _jpeg(image.resize((max(1, image.width // 2), max(1, image.height // 2)))),
    "cropped": lambda image: _jpeg(_cropped(image)),
    "mirrored": lambda image: _jpeg(ImageOps.mirror(image)),
    "recoloured": lambda image: _jpeg(ImageEnhance.Brightness(ImageEnhance.Color(image).enhance(1.4)).enhance(1.1)),
}


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


class Calibration(BaseModel, frozen=True, extra="forbid"):
    """The measurements for one encoder and one collection. They are stored in the bundle."""

    text: ScoreThresholds
    image: ScoreThresholds
    near_duplicate: Number  # lowest cosine of two items that count as one
    captions: str = Field(default="", pattern="^(|caption|generated_caption|examples)$")  # that were tried
    figures: Mapping[str, Number] = Field(default={}, exclude=True)  # older versions wrote these two
    template: str = Field(default="", exclude=True)

    def to_bytes(self) -> bytes:
        """Return the calibration as JSON."""
        return self.model_dump_json(indent=2).encode()


def sample_rows(index: Index) -> npt.NDArray[np.int64]:
    """Return the sorted rows of the fixed sample, int64 (<= 1000,): the same items after a rebuild in any order."""
    return index.items.sample(NUM_SAMPLE)


def read_queries(*kinds: str) -> dict[str, str]:
    """Return the queries of these kinds about the example photos, each with the id of its photo or ""."""
    return {text: "".join(photo) for kind, text, *photo in read_table("queries.tsv") if kind in kinds}


def calibrate(index: Index, encoder: Encoder, reference: Index) -> Calibration:
    """Calibrate an index; `reference` holds the example photos by the same encoder.

    Good queries are the captions of the index or, if it has too few, of the reference; absent ones are packaged queries
    that no example photo answers. The index is measured by searches, of the reference all vectors
    are read. Raise ValueError if one of the two is empty.
    """
    if not len(index) or not len(reference):
        raise ValueError("an empty index cannot be calibrated")
    goods, absents, captions = text_scores(index, encoder, reference)
    return Calibration(
        text=fit_thresholds(goods, absents),
        image=fit_thresholds(*image_scores(index, reference)),
        near_duplicate=best_threshold(*copy_scores(reference, encoder)),
        captions=captions,
    )


def caption_kind(index: Index) -> str:
    """Return which captions to measure by: those that people wrote or, if the sample has none, those of models.

    Those that the encoder itself made are no questions: it finds them so well that most of people's would seem weak.
    """
    own, sample = model_name(index.provenance.encoder), map(index.item, sample_rows(index).tolist())
    is_caption = any(item.caption or item.columns.get(CAPTIONED_BY) == own for item in sample)
    return "caption" if is_caption else "generated_caption"


def search_texts(index: Index, encoder: Encoder, texts: Sequence[str]) -> tuple[QueryScores, list[Rows]]:
    """Return the scores of texts in an index, and the rows of the first NUM_FOUND hits of each."""
    vectors = encoder.encode_texts(texts)
    found = [index.nearest(vector[None], NUM_FOUND) for vector in vectors]
    best = np.array([scores[0] for scores, _ in found], np.float64) * encoder.text_scale
    lengths = np.array([min(len(text), LONGEST) for text in texts], np.float64)
    scores = np.stack([best, _locations(index, vectors) * encoder.text_scale, lengths], axis=1)
    return scores, [rows for _, rows in found]


def search_good_queries(index: Index, encoder: Encoder) -> tuple[list[str], QueryScores]:
    """Return the good queries of an index and their scores: those that find a picture whose caption holds them.

    Tried are NUM_CAPTIONS captions of the fixed sample in the order of their hashes, so that a rebuilt collection tries
    the same, and the words of the vocabulary in them, because people type a word more often than a sentence.
    """
    caption = attrgetter(caption_kind(index))
    texts = sorted({caption(index.item(int(row))) for row in sample_rows(index)} - {""})
    captions = [texts[position] for position in stable_sample(texts, NUM_CAPTIONS)]
    words = "\n".join(map(_spaced, captions))
    terms = sorted(term for term in french_terms() if _spaced(term) in words)
    texts = [*captions, *(terms[position] for position in stable_sample(terms, NUM_CAPTIONS))]
    scores, pages = search_texts(index, encoder, texts)
    is_good = [
        any(_spaced(text) in _spaced(caption(index.item(row))) for row in rows.tolist())
        for text, rows in zip(texts, pages, strict=True)
    ]
    return [text for text, good in zip(texts, is_good, strict=True) if good], scores[np.array(is_good, np.bool_)]


def text_scores(index: Index, encoder: Encoder, reference: Index) -> tuple[QueryScores, QueryScores, str]:
    """Return the scores of good and of absent queries in an index, and which captions the good ones are of.

    An index with too few captions gets the reference's scores of good queries, shifted by how much higher the mean
    scores of the absent queries are in its sample than in the reference's. Their best scores would be a worse measure:
    a large collection has some of what they ask for.
    """
    absent_texts = [*read_queries("absent", "absent-caption")]
    absents, _ = search_texts(index, encoder, absent_texts)
    texts, goods = search_good_queries(index, encoder)
    if len(texts) >= MIN_GOODS or index is reference:
        return goods, absents, caption_kind(index)
    _, goods = search_good_queries(reference, encoder)
    in_reference, _ = search_texts(reference, encoder, absent_texts)
    return _moved(goods, (absents - in_reference)[:, LOCATION]), absents, "examples"


def image_scores(index: Index, reference: Index) -> tuple[QueryScores, QueryScores]:
    """Return the scores of query pictures with similar pictures in the collection, and of those without.

    Each photo of the reference is compared with the others of its subject, then with those of all other subjects. For
    another index both are shifted by how much higher the mean scores of the photos are in its sample.
    """
    subjects = np.array([reference.item(row).columns.get("subject", "") for row in range(len(reference))])
    vectors = reference.rows
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    is_same = subjects[:, None] == subjects
    location = _locations(reference, vectors)

    def best(mask: npt.NDArray[np.bool_]) -> QueryScores:
        highest = np.where(mask, scores, -np.inf).max(axis=1).astype(np.float64)
        found = np.stack([highest, location, np.zeros(len(highest))], axis=1)[np.isfinite(highest)]
        return _moved(found, _locations(index, vectors) - location)

    return best(is_same), best(~is_same)


def copy_scores(reference: Index, encoder: Encoder) -> tuple[Floats, Floats]:
    """Return cosines of NUM_COPIES copies with their originals, and of each photo with its nearest neighbour.

    The kinds of copies take turns. A photo with the same caption may itself be a copy: it is no neighbour.
    """
    vectors, items = reference.rows, [reference.item(row) for row in range(len(reference))]
    chosen = stable_sample((item.id for item in items), NUM_COPIES)
    sources = {int(row): reference.original(items[row]) or items[row].thumbnail for row in chosen}
    sources = {row: source for row, source in sources.items() if source}
    makers = list(COPIES.values())
    images = [
        open_rgb(makers[position % len(makers)](open_rgb(source)), side=encoder.image_side)
        for position, source in enumerate(sources.values())
    ]
    copies = np.einsum("nd,nd->n", encoder.encode_images(images), vectors[list(sources)])
    captions = np.array([item.caption or item.id for item in items])
    neighbours = np.where(captions[:, None] == captions, -np.inf, vectors @ vectors.T).max(axis=1)
    return copies.astype(np.float64), neighbours[np.isfinite(neighbours)].astype(np.float64)


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


def _jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _cropped(image: Image.Image) -> Image.Image:
    left, top = round(image.width * CROPPED), round(image.height * CROPPED)
    return image.crop((left, top, image.width - left, image.height - top))


def _spaced(text: str) -> str:
    """Return the words of a text between spaces: " an owl "."""
    return " ".join(["", *re.findall(r"\w+", text.lower()), ""])


def _moved(scores: QueryScores, differences: Floats) -> QueryScores:
    """Return the same queries as if all scores were higher by the mean of the differences."""
    higher = float(np.mean(differences))
    return np.add(scores, [higher, higher, 0.0])


def _locations(index: Index, vectors: Embeddings) -> Floats:
    """Return (n,): the mean inner product of each of the vectors, (n, dim), with the fixed sample of an index."""
    sample = index.rows_of(sample_rows(index).tolist())
    return np.asarray(vectors @ sample.mean(axis=0), np.float64)
