"""Measure how often the tags of a picture name the noun of its caption."""

import numpy as np

from imgsearch.describe.describer import NUM_TAGS, Describer
from imgsearch.embeddings import Embeddings
from imgsearch.records import Item, Tag
from tests.quality.wordnet import caption_noun, lemma, names


def describe_hit(items: list[Item], rows: Embeddings, describer: Describer) -> float | None:
    """Return the share of captioned items whose best NUM_TAGS object tags name the caption's noun or a close hypernym.

    `rows` holds the vectors of the items. A caption without a noun is a miss. Return None if no item has a caption.
    """
    captioned = [row for row, item in enumerate(items) if item.caption]
    if not captioned:
        return None
    tags = object_tags(describer, rows[captioned], NUM_TAGS)
    nouns = [caption_noun(items[row].caption) for row in captioned]
    return float(np.mean([_is_named(noun, item_tags) for noun, item_tags in zip(nouns, tags, strict=True)]))


def object_tags(describer: Describer, vectors: Embeddings, count: int) -> list[list[Tag]]:
    """Return the `count` things that stand out most in each of (n, dim) image vectors, best first."""
    voter = describer._classifier
    shares = describer._shares(describer._scores(vectors), voter.class_probabilities(vectors) if voter else None)
    return [describer._top_tags(row, count) for row in shares]


def _is_named(noun: str | None, tags: list[Tag]) -> bool:
    return noun is not None and any((lemma(tag.tag) or tag.tag) in names(noun) for tag in tags)
