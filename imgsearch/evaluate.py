"""Measure how well an index answers, with its own captions and subjects as questions whose answers are known."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.errors import InputError
from imgsearch.models.encoder import Encoder
from imgsearch.records import Item
from imgsearch.search.calibration import caption_kind
from imgsearch.search.query import MAX_TEXT, Part
from imgsearch.search.searcher import Searcher

CHUNK = 256  # queries ranked at a time
NUM_SIMILAR = 5
NUM_RANKED = 10  # hits of a query with words


def evaluate(searcher: Searcher) -> dict[str, Any]:
    """Measure text-to-image recall with the captions, by vectors alone and with words, and similar pictures by subject.

    Each captioned item is a query; every item with an equal caption is right. Shares are 0..1, rounded to 4 decimals;
    None if the collection has nothing to measure them with. Without a person's caption those of a captioner are
    taken. Raise InputError without any.
    """
    index, calibration, kind = searcher.index, searcher.derived.calibration, caption_kind(searcher.index)
    items = [replace(item, caption=getattr(item, kind)) for item in map(index.item, range(len(index)))]
    vectors = index.rows
    ranks = caption_ranks(items, vectors, searcher.encoder)
    with_words = np.array([_rank_with_words(searcher, item.caption, kind) for item in items if item.caption])
    recall = {
        f"recall_at_{k}{suffix}": round(float(np.mean(found <= k)), 4)
        for suffix, found in (("", ranks), ("_words", with_words))
        for k in (1, 5, NUM_RANKED)
    }
    precision = similar_precision(items, vectors)
    return {
        "captions": kind,
        "calibrated_by": calibration.captions if calibration else "",
        "num_queries": len(ranks),
        **recall,
        "median_rank": float(np.median(ranks)),
        "similar_precision_at_5": precision if precision is None else round(precision, 4),
    }


def caption_ranks(items: list[Item], vectors: Embeddings, encoder: Encoder) -> npt.NDArray[np.int64]:
    """Search for each caption and return the rank (from 1) of the best item with an equal caption: (captions,).

    `vectors` is (n, dim); vectors[i] belongs to items[i]. Raise InputError if no item has a caption.
    """
    captions = np.array([item.caption for item in items])
    queries = captions[captions != ""]
    if not len(queries):
        raise InputError("The collection has no captions to measure by. Add a caption column to its metadata.csv.")
    ranks = []
    for chunk in np.split(queries, range(CHUNK, len(queries), CHUNK)):
        scores = encoder.encode_texts(chunk.tolist()) @ vectors.T  # (len(chunk), n)
        best = np.where(captions == chunk[:, None], scores, -np.inf).max(axis=1, keepdims=True)
        ranks.append(1 + np.sum(scores > best, axis=1))
    return np.concatenate(ranks)


def _rank_with_words(searcher: Searcher, caption: str, kind: str) -> int:
    """Return the rank (from 1) of the first hit with that caption, or NUM_RANKED + 1."""
    hits = searcher.search([Part(text=caption[:MAX_TEXT])], NUM_RANKED, fold=False).hits
    return next((hit.rank for hit in hits if getattr(hit.item, kind) == caption), NUM_RANKED + 1)


def similar_precision(items: list[Item], vectors: Embeddings) -> float | None:
    """Return the mean share of the same subject among the NUM_SIMILAR items nearest to an item, itself left out.

    Queries are the items of subjects with at least NUM_SIMILAR other items, since only there all of them can be right.
    Return None if there is no such subject.
    """
    subjects = np.array([item.columns.get("subject", "") for item in items])
    counts = Counter(subjects.tolist())
    precisions: list[float] = []
    for row, subject in enumerate(subjects.tolist()):
        if subject and counts[subject] > NUM_SIMILAR:
            scores = vectors @ vectors[row]
            scores[row] = -np.inf
            precisions.append(float(np.mean(subjects[np.argsort(-scores)[:NUM_SIMILAR]] == subject)))
    return float(np.mean(precisions)) if precisions else None
