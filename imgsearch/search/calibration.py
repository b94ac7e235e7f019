"""What a score means, for one encoder and one collection: from where on a hit is fair or strong, or a copy."""

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

NUM_SAMPLE = 1000  # items by which a query's location is known to a few thousandths
NUM_CAPTIONS = 300  # of a collection, searched: their 5 % quantile rests on 15
MIN_CAPTIONS = 50  # of a collection of its own; below that quantile rests on one or two
NUM_FOUND = 10  # a caption is a good query where its own picture is among the first ten hits
NUM_COPIES = 50
MAX_NUMBER, MAX_TEMPLATE = 1000, 100  # of a calibration that is read: cosines and characters are far below
MAX_SHORT = 3  # words of a query that a template may help
TEMPLATES = ("a photo of {}", "a picture of {}", "this is {}", "{}, a photo", "{}.")
ARTICLE = re.compile(r"^(an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Calibration:
    """What was measured for an encoder over a collection; kept in its bundle."""

    text: ScoreThresholds
    image: ScoreThresholds
    near_duplicate: float  # the cosine of two items from which on they count as one
    template: str  # what a short query is put into: "{}" is the query as it stands
    figures: Mapping[str, float]  # how well all this does on what it was measured on

    def apply_template(self, text: str) -> str:
        """A query as the encoder is to read it: in the template where it is short."""
        return apply_template(text, self.template)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Any) -> "Calibration":
        """What `to_json` gave. Raises ValueError where anything is missing, too much, or not sound."""
        try:
            text, image = ScoreThresholds(**fields["text"]), ScoreThresholds(**fields["image"])
            calibration = cls(**{**fields, "text": text, "image": image, "figures": dict(fields["figures"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"this is no calibration: {error!r}") from error
        numbers = [*asdict(text).values(), *asdict(image).values(), calibration.near_duplicate]
        if not all(_is_number(number) for number in [*numbers, *calibration.figures.values()]):
            raise ValueError("a number of the calibration is missing or too large")
        if text.fair > text.strong or image.fair > image.strong:
            raise ValueError("a fair hit of the calibration is stronger than a strong one")
        template = calibration.template
        if not isinstance(template, str) or len(template) > MAX_TEMPLATE or re.findall(r"[{}]+", template) != ["{}"]:
            raise ValueError("the template of the calibration is none")
        return calibration


def sample_rows(index: Index) -> npt.NDArray[np.int64]:
    """Rows of the fixed sample, (<= 1000,), in order: the items whose ids have the least hashes.

    A collection that is built again, in whatever order, gives the same items.
    """
    return np.sort(stable_sample(index.column("id"), NUM_SAMPLE))


def calibrate(index: Index, encoder: Encoder, reference: Index) -> Calibration:
    """Measure the bounds for an index; `reference` holds the example photos by the same encoder.

    The good queries are the captions of the index, else of the reference; the absent ones are the packaged
    queries for which there is no example photo. In the index the scores of both are taken by searches; of the
    reference all rows are read. Raises ValueError where one of the two is empty.
    """
    if not len(index) or not len(reference):
        raise ValueError("an empty index cannot be calibrated")
    gains = template_figures(reference, encoder)
    template = best_template(gains)
    goods, absents = text_scores(index, encoder, reference, template)
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
        **{f"{name} {each}": figure for each, of_each in gains.items() for name, figure in of_each.items()},
    }
    return Calibration(text, image, near_duplicate, template, figures)


def apply_template(text: str, template: str) -> str:
    """The text in a template where it has at most MAX_SHORT words, else as it is."""
    return template.format(text) if len(text.split()) <= MAX_SHORT else text


def search_texts(
    index: Index, encoder: Encoder, texts: Sequence[str], template: str
) -> tuple[QueryScores, list[list[Hit]]]:
    """The scores of texts in an index, and the first NUM_FOUND hits of each (their scores are inner products)."""
    rows = encoder.encode_texts([apply_template(text, template) for text in texts])
    hits = [index.search(row[None], NUM_FOUND) for row in rows]
    scale = encoder.text_scale
    best = np.array([found[0].score for found in hits], np.float64) * scale
    return QueryScores(best, _locations(index, rows) * scale, np.array([len(text) for text in texts], np.float64)), hits


def search_captions(index: Index, encoder: Encoder, template: str) -> tuple[list[str], QueryScores]:
    """The good queries of an index and their scores: captions that find their own picture, NUM_CAPTIONS tried.

    Those of the fixed sample are tried, in the order of their hashes: a collection built again tries the same.
    """
    texts = sorted({index.item(int(row)).caption for row in sample_rows(index)} - {""})
    texts = [texts[n] for n in stable_sample(texts, NUM_CAPTIONS)]
    scores, hits = search_texts(index, encoder, texts, template)
    is_good = np.array([_finds(found, text) for text, found in zip(texts, hits, strict=True)], np.bool_)
    return [text for text, good in zip(texts, is_good, strict=True) if good], scores[is_good]


def text_scores(index: Index, encoder: Encoder, reference: Index, template: str) -> tuple[QueryScores, QueryScores]:
    """The scores of good and of absent queries in an index.

    An index without captions of its own takes the reference's scores of good queries, moved by as much as the
    absent queries lie higher in the index than in the reference, in the mean over both samples. Their best scores
    would say it less well: in a large collection some of what they ask for is there.
    """
    absent = [query.text for query in read_queries("absent")]
    absents, _ = search_texts(index, encoder, absent, template)
    texts, goods = search_captions(index, encoder, template)
    if len(texts) >= MIN_CAPTIONS or index is reference:
        return goods, absents
    _, goods = search_captions(reference, encoder, template)
    there, _ = search_texts(reference, encoder, absent, template)
    higher = float(np.mean(absents.location - there.location))
    return goods.moved(higher), absents


def image_scores(index: Index, reference: Index) -> tuple[QueryScores, QueryScores]:
    """The scores of pictures that have their like in a collection, and of others, measured by the subjects.

    A photo of the reference is searched among the others of its subject, then among those of all other subjects.
    In another index both are moved by as much as the photos lie higher there, in the mean over both samples.
    """
    subjects = np.array([reference.item(row).columns.get("subject", "") for row in range(len(reference))])
    rows = reference.rows
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    is_like = subjects[:, None] == subjects
    location = _locations(reference, rows)
    higher = float(np.mean(_locations(index, rows) - location))

    def best(mask: npt.NDArray[np.bool_]) -> QueryScores:
        found = np.where(mask, scores, -np.inf).max(axis=1).astype(np.float64)
        is_there = np.isfinite(found)
        return QueryScores(found[is_there], location[is_there], np.zeros(int(is_there.sum()))).moved(higher)

    return best(is_like), best(~is_like)


def copy_scores(reference: Index, encoder: Encoder, number: int) -> tuple[Floats, Floats]:
    """Cosines of `number` copies with the photos they are made of; of each photo with its nearest true neighbour.

    One way of copying after the other. A photo of the same caption may be a copy itself and is no neighbour.
    """
    rows, items = reference.rows, [reference.item(row) for row in range(len(reference))]
    chosen = stable_sample((item.id for item in items), number)
    sources = {int(row): reference.original(items[row]) or items[row].thumbnail for row in chosen}
    sources = {row: source for row, source in sources.items() if source}
    makers = list(COPIES.values())
    side = encoder.image_side
    images = [
        open_rgb(makers[number % len(makers)](open_rgb(source)), side=side)
        for number, source in enumerate(sources.values())
    ]
    copies = np.einsum("nd,nd->n", encoder.encode_images(images), rows[list(sources)])
    captions = np.array([item.caption or item.id for item in items])
    scores = np.where(captions[:, None] == captions, -np.inf, rows @ rows.T)
    neighbours = scores.max(axis=1)
    return copies.astype(np.float64), neighbours[np.isfinite(neighbours)].astype(np.float64)


def template_figures(reference: Index, encoder: Encoder) -> dict[str, dict[str, float]]:
    """Of each template, "{}" first: recall@10 and mean reciprocal rank (MRR) of the short captions without their
    article, how much more MRR than as they stand, and the standard error of that (paired). Empty without any.
    """
    captions = np.array([reference.item(row).caption for row in range(len(reference))])
    short = [(caption, bare_caption(caption)) for caption in sorted(set(captions.tolist()))]
    short = [(caption, text) for caption, text in short if 0 < len(text.split()) <= MAX_SHORT]
    if len(short) < MIN_CAPTIONS:
        return {}
    rows, figures, plain = reference.rows, {}, np.zeros(0)
    for template in ("{}", *TEMPLATES):
        scores = encoder.encode_texts([template.format(text) for _, text in short]) @ rows.T
        own = np.array([found[captions == caption].max() for found, (caption, _) in zip(scores, short, strict=True)])
        ranks = 1 + np.sum(scores > own[:, None], axis=1)
        plain = plain if len(plain) else 1 / ranks
        gains = 1 / ranks - plain
        figures[template] = {
            "recall@10": float(np.mean(ranks <= NUM_FOUND)),
            "mrr": float(np.mean(1 / ranks)),
            "gain": float(np.mean(gains)),
            "error": float(np.std(gains) / np.sqrt(len(gains))),
        }
    return figures


def best_template(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The template of the largest gain of those that gain more than two standard errors; "{}" where none does."""
    clear = {template: each["gain"] for template, each in figures.items() if each["gain"] > 2 * each["error"]}
    return max(clear, key=lambda template: clear[template], default="{}")


def bare_caption(caption: str) -> str:
    """A caption as people type it: "owl" for "An owl."."""
    text = ARTICLE.sub("", caption.strip().rstrip(".!"))
    return text[:1].lower() + text[1:]


def _finds(hits: Sequence[Hit], caption: str) -> bool:
    return any(hit.item.caption == caption for hit in hits)


def _locations(index: Index, rows: Embeddings) -> Floats:
    """(n,): the mean inner product of each of the rows, (n, dim), with the fixed sample of an index."""
    sample = index.rows_of(sample_rows(index).tolist())
    return np.asarray(rows @ sample.mean(axis=0), np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
