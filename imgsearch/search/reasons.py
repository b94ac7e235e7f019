"""`with_reasons`: say what spoke for a hit. Only what was measured is named."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.models.colours import shows_colour
from imgsearch.models.encoder import STARTER_ID
from imgsearch.records import CAPTIONED_BY, GENERATED_CAPTION, TEXT_IN_PICTURE, WORDS_IN, Hit, Item
from imgsearch.search.query import Part, QueryVector
from imgsearch.search.words import stems, words_to_find


def with_reasons(
    hits: Sequence[Hit],
    query: QueryVector,
    wanted: Sequence[tuple[Part, QueryVector]],
    rows_of: Callable[[Sequence[int]], Embeddings],
    encoder: str,
) -> list[Hit]:
    """Return the hits of a query with `Hit.reasons`. `wanted`: its parts with positive weights, each as a query."""
    places = _places(" ".join(part.text for part, _ in wanted), [hit.item for hit in hits if hit.words])
    coloured = [vector for part, vector in wanted if part.text and encoder == STARTER_ID]
    several = wanted if len(wanted) > 1 else ()
    rows = rows_of([hit.row for hit in hits]) if coloured or several else np.zeros((len(hits), 0))
    found = []
    for hit, row in zip(hits, rows, strict=True):
        reasons = ["look"] * (query.strength(hit.score, 0.0) in ("fair", "strong"))
        reasons += next(places) if hit.words else []
        reasons += ["colour"] * any(shows_colour(vector.vector[0], row) for vector in coloured)
        counts = [part.weight * vector.z_score(row) for part, vector in several]
        if counts and max(counts) > 0:
            reasons.append(f"part:{several[counts.index(max(counts))][0].shown}")
        found.append(replace(hit, reasons=tuple(reasons)))
    return found


def _places(text: str, items: Sequence[Item]) -> Iterator[list[str]]:
    """Yield which of WORDS_IN of each item hold words of a query, the one with the most of them first."""
    if not items:
        return
    wanted, *texts = stems([words_to_find(text), *(text for item in items for text in _texts(item))])
    held = [len({*wanted.split()} & {*words.split()}) for words in texts]
    for counts in np.array(held, np.int64).reshape(-1, len(WORDS_IN)):
        yield [WORDS_IN[place] for place in np.argsort(-counts, kind="stable") if counts[place]]


def _texts(item: Item) -> list[str]:
    """Return the texts of an item in each of WORDS_IN."""
    others = {name: text for name, text in item.columns.items() if name != CAPTIONED_BY}
    read = others.pop(TEXT_IN_PICTURE, "")
    captions = [others.pop(name) for name in [*others] if name == GENERATED_CAPTION or name.startswith("caption_")]
    return [" ".join([item.caption, *captions]), read, " ".join(others.values())]
