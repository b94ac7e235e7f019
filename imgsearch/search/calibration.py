"""Measure what a score means: which cosines are fair, strong or a copy depends on the encoder and the collection."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

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
from imgsearch.search.thresholds import (
    LOCATION,
    LONGEST,
    Floats,
    Number,
    QueryScores,
    ScoreThresholds,
    best_threshold,
    fit_thresholds,
)

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


class Calibration(BaseModel, frozen=True, extra="forbid"):
    """The measurements for one encoder and one collection. They are stored in the bundle."""

    text: ScoreThresholds
    image: ScoreThresholds
    near_duplicate: Number  # lowest cosine of two items that count as one
    captions: str = Field(default="", pattern="^(|caption|generated_caption|examples)$")  # that were tried
    figures: Mapping[str, Number] = Field(default={}, exclude=True)  # older versions wrote these two
    template: str = Field(default="", pattern=r"^(\{\})?$", exclude=True)  # others have other thresholds

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
    that no example photo answers (see `thresholds`). The index is measured by searches, of the reference all vectors
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
