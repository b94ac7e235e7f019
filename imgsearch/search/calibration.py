"""Measure what a score means: which cosines are fair, strong or a copy depends on the encoder and the collection."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.images import open_rgb
from imgsearch.index.hashing import stable_sample
from imgsearch.index.index import Index
from imgsearch.models.encoder import Encoder
from imgsearch.models.french import french_terms
from imgsearch.records import Hit
from imgsearch.search.augmentations import COPIES
from imgsearch.search.calibration_queries import read_queries
from imgsearch.search.thresholds import (
    Floats,
    QueryScores,
    ScoreThresholds,
    best_threshold,
    error_rates,
    fit_thresholds,
)

__all__ = ["ScoreThresholds", "Calibration", "calibrate", "sample_rows"]

NUM_SAMPLE = 1000  # items: enough to know a query's location to a few thousandths
NUM_CAPTIONS = 300  # of a collection to search with, and as many words of them: their 5 % quantile rests on 30
MIN_GOODS = 50  # below, that quantile would rest on one or two queries
NUM_FOUND = 10  # a query is good if a picture whose caption holds it is among the first ten hits
NUM_COPIES = 50  # made to measure `near_duplicate`
MAX_NUMBER = 1000  # in a calibration file: real cosines are far below


@dataclass(frozen=True)
class Calibration:
    """The measurements for one encoder and one collection. They are stored in the bundle."""

    text: ScoreThresholds
    image: ScoreThresholds
    near_duplicate: float  # lowest cosine of two items that count as one
    figures: Mapping[str, float]  # how well all this works on the queries it was measured with

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Any) -> "Calibration":
        """Parse the result of `to_json`. Raise ValueError if a field is missing, unknown or not valid."""
        try:
            text, image = ScoreThresholds(**fields["text"]), ScoreThresholds(**fields["image"])
            given = {name: value for name, value in fields.items() if name != "template"}  # older versions wrote one
            calibration = cls(**{**given, "text": text, "image": image, "figures": dict(fields["figures"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"this is no calibration: {error!r}") from error
        numbers = [*asdict(text).values(), *asdict(image).values(), calibration.near_duplicate]
        if not all(_is_number(number) for number in [*numbers, *calibration.figures.values()]):
            raise ValueError("a number of the calibration is missing or too large")
        if text.fair > text.strong or image.fair > image.strong:
            raise ValueError("a fair hit of the calibration is stronger than a strong one")
        return calibration


def sample_rows(index: Index) -> npt.NDArray[np.int64]:
    """Return the sorted rows of the fixed sample, int64 (<= 1000,): the items whose ids have the smallest hashes."""
    return np.sort(stable_sample(index.column("id"), NUM_SAMPLE))  # the same items after a rebuild in any order


def calibrate(index: Index, encoder: Encoder, reference: Index) -> Calibration:
    """Calibrate an index; `reference` holds the example photos by the same encoder.

    Good queries are the captions of the index or, if it has too few, of the reference; absent ones are packaged queries
    that no example photo answers (see `thresholds`). The index is measured by searches, of the reference all vectors
    are read. Raise ValueError if one of the two is empty.
    """
    if not len(index) or not len(reference):
        raise ValueError("an empty index cannot be calibrated")
    goods, absents = text_scores(index, encoder, reference)
    text = fit_thresholds(goods, absents)
    like, unlike = image_scores(index, reference)
    image = fit_thresholds(like, unlike)
    copies, neighbours = copy_scores(reference, encoder, NUM_COPIES)
    near_duplicate = best_threshold(copies, neighbours)
    missed, mistaken = error_rates(copies, neighbours, near_duplicate)
    figures = {
        **{f"text_{name}": figure for name, figure in text.figures(goods, absents).items()},
        **{f"image_{name}": figure for name, figure in image.figures(like, unlike).items()},
        "near_duplicate_missed": missed,
        "near_duplicate_mistaken": mistaken,
    }
    return Calibration(text, image, near_duplicate, figures)


def search_texts(index: Index, encoder: Encoder, texts: Sequence[str]) -> tuple[QueryScores, list[list[Hit]]]:
    """Return the scores of texts in an index, and the first NUM_FOUND hits of each (scored by inner product)."""
    vectors = encoder.encode_texts(texts)
    hits = [index.search(vector[None], NUM_FOUND) for vector in vectors]
    scale = encoder.text_scale
    best = np.array([page[0].score for page in hits], np.float64) * scale
    lengths = np.array([len(text) for text in texts], np.float64)
    return QueryScores(best, _locations(index, vectors) * scale, lengths), hits


def search_good_queries(index: Index, encoder: Encoder) -> tuple[list[str], QueryScores]:
    """Return the good queries of an index and their scores: those that find a picture whose caption holds them.

    Tried are NUM_CAPTIONS captions of the fixed sample in the order of their hashes, so that a rebuilt collection tries
    the same, and the words of the vocabulary in them, because people type a word more often than a sentence.
    """
    texts = sorted({index.item(int(row)).caption for row in sample_rows(index)} - {""})
    captions = [texts[position] for position in stable_sample(texts, NUM_CAPTIONS)]
    words = "\n".join(map(_spaced, captions))
    terms = sorted(term for term in french_terms() if _spaced(term) in words)
    texts = [*captions, *(terms[position] for position in stable_sample(terms, NUM_CAPTIONS))]
    scores, hits = search_texts(index, encoder, texts)
    is_good = np.array([_finds(page, text) for text, page in zip(texts, hits, strict=True)], np.bool_)
    return [text for text, good in zip(texts, is_good, strict=True) if good], scores[is_good]


def text_scores(index: Index, encoder: Encoder, reference: Index) -> tuple[QueryScores, QueryScores]:
    """Return the scores of good and of absent queries in an index.

    An index with too few captions gets the reference's scores of good queries, shifted by how much higher the mean
    scores of the absent queries are in its sample than in the reference's. Their best scores would be a worse measure:
    a large collection has some of what they ask for.
    """
    absent_texts = [query.text for kind in ("absent", "absent-caption") for query in read_queries(kind)]
    absents, _ = search_texts(index, encoder, absent_texts)
    texts, goods = search_good_queries(index, encoder)
    if len(texts) >= MIN_GOODS or index is reference:
        return goods, absents
    _, goods = search_good_queries(reference, encoder)
    in_reference, _ = search_texts(reference, encoder, absent_texts)
    higher = float(np.mean(absents.location - in_reference.location))
    return goods.moved(higher), absents


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
    higher = float(np.mean(_locations(index, vectors) - location))

    def best(mask: npt.NDArray[np.bool_]) -> QueryScores:
        highest = np.where(mask, scores, -np.inf).max(axis=1).astype(np.float64)
        exists = np.isfinite(highest)
        return QueryScores(highest[exists], location[exists], np.zeros(int(exists.sum()))).moved(higher)

    return best(is_same), best(~is_same)


def copy_scores(reference: Index, encoder: Encoder, count: int) -> tuple[Floats, Floats]:
    """Return cosines of `count` copies with their originals, and of each photo with its nearest neighbour.

    The kinds of copies take turns. A photo with the same caption may itself be a copy: it is no neighbour.
    """
    vectors, items = reference.rows, [reference.item(row) for row in range(len(reference))]
    chosen = stable_sample((item.id for item in items), count)
    sources = {int(row): reference.original(items[row]) or items[row].thumbnail for row in chosen}
    sources = {row: source for row, source in sources.items() if source}
    makers = list(COPIES.values())
    side = encoder.image_side
    images = [
        open_rgb(makers[position % len(makers)](open_rgb(source)), side=side)
        for position, source in enumerate(sources.values())
    ]
    copies = np.einsum("nd,nd->n", encoder.encode_images(images), vectors[list(sources)])
    captions = np.array([item.caption or item.id for item in items])
    scores = np.where(captions[:, None] == captions, -np.inf, vectors @ vectors.T)
    neighbours = scores.max(axis=1)
    return copies.astype(np.float64), neighbours[np.isfinite(neighbours)].astype(np.float64)


def _finds(hits: Sequence[Hit], text: str) -> bool:
    return any(_spaced(text) in _spaced(hit.item.caption) for hit in hits)


def _spaced(text: str) -> str:
    """Return the words of a text between spaces: " an owl "."""
    return " ".join(["", *re.findall(r"\w+", text.lower()), ""])


def _locations(index: Index, vectors: Embeddings) -> Floats:
    """Return (n,): the mean inner product of each of the vectors, (n, dim), with the fixed sample of an index."""
    sample = index.rows_of(sample_rows(index).tolist())
    return np.asarray(vectors @ sample.mean(axis=0), np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
