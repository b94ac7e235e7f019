"""`Searcher`: combine the parts of a query into one vector, find hits, judge, fold and explain them."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.errors import InputError, check_time
from imgsearch.index.filters import MAX_CONDITIONS, Condition
from imgsearch.index.index import Index
from imgsearch.index.lance import LanceIndex
from imgsearch.models.colours import shows_colour
from imgsearch.models.encoder import STARTER_ID, Encoder
from imgsearch.records import Hit, SearchResult
from imgsearch.search.calibration import sample_rows
from imgsearch.search.collection import DerivedData
from imgsearch.search.duplicates import folded_page
from imgsearch.search.query import Part, QueryVector, check_parts, foreign_language, open_part
from imgsearch.search.words import Shares, TableShares, nearest_with_words, places_of, word_shares

CANCELLED = 1e-3  # share of the parts' lengths: a shorter sum has no meaningful direction
WORD_BONUS = 3.0  # standard deviations of a query's scores by which a hit rises whose caption holds all its words
MAX_S = 30.0  # seconds after which no further part of a query is encoded
NUM_SORTED = 500  # best hits that are sorted by a column: all of them are read for each page


class Searcher:
    """Answers queries about an index. Safe to call from several threads."""

    def __init__(self, index: Index, encoder: Encoder, derived: DerivedData) -> None:
        self.index = index
        self.encoder = encoder
        self.derived = derived

    @cached_property
    def _sample(self) -> Embeddings:
        """Return the vectors of the fixed sample, (<= 1000, dim), whose scores make queries comparable."""
        return self.index.rows_of(sample_rows(self.index).tolist())

    def search(
        self,
        parts: Sequence[Part],
        k: int,
        *,
        start: int = 0,
        conditions: Sequence[Condition] = (),
        fold: bool = True,
        words: bool = True,
        sort: str = "",
    ) -> SearchResult:
        """Return hits start + 1 to start + k that meet all conditions, near-duplicates folded into one if `fold`.

        With `words`, items rise that hold the words of a query of texts. `sort` as of `ColumnStore.order`: of the
        NUM_SORTED best hits, first those that are likely are sorted by a column, then the others. Raise PictureError if
        a picture cannot be decoded; InputError if the query is not valid; BusyError after MAX_S.
        """
        _check_page(k, start, conditions)
        parts = check_parts(parts)
        begin = time.perf_counter()
        vectors = [self._encode(part, begin) for part in parts]
        encoded = time.perf_counter()
        singles = [self._single(part, vector) for part, vector in zip(parts, vectors, strict=True)]
        query = singles[0] if len(parts) == 1 else self._combine(parts, singles)
        mask = self.index.columns.mask(conditions) if conditions else None
        wanted = [part.text for part in parts if part.weight > 0]
        by_words = words and all(wanted)  # no picture is wanted
        shares = self._word_shares(" ".join(wanted)) if by_words else None
        find = partial(self._ranked, query, shares, mask)
        hits, following = self._page(find, {part.item for part in parts}, k, start, fold, sort)
        positive = [pair for pair in zip(parts, singles, strict=True) if pair[0].weight > 0]
        hits = self._with_reasons(hits, query, positive)
        end = time.perf_counter()
        texts = [part.text for part in parts if part.text]
        return SearchResult(
            query=" ".join(_term(part, is_first=not position) for position, part in enumerate(parts)),
            hits=hits,
            seconds=end - begin,
            cut=" ".join(filter(None, (self.encoder.truncated_tail(text) for text in texts))),
            stages={"encode": encoded - begin, "search": end - encoded},
            start=start,
            following=start + following if following else None,
            bounds=query.bounds,
            language=next(filter(None, (foreign_language(self.encoder.model_id, text) for text in texts)), ""),
        )

    def browse(self, k: int, *, start: int = 0, conditions: Sequence[Condition] = (), sort: str = "") -> SearchResult:
        """Return the items start + 1 to start + k, not judged: sorted, or in an order that mixes the whole collection.

        Raise InputError if the query is not valid.
        """
        _check_page(k, start, conditions)
        begin = time.perf_counter()
        rows, has_more = self.index.columns.spread(conditions, start, k, sort)
        items = zip(rows, self.index.items.many(rows), strict=True)
        hits = [Hit(rank, item, 0.0, row=row) for rank, (row, item) in enumerate(items, start=start + 1)]
        following = start + k if has_more else None
        return SearchResult("", hits, time.perf_counter() - begin, start=start, following=following)

    def _page(
        self, find: Callable[[int, int], list[Hit]], own: Collection[str], k: int, start: int, fold: bool, sort: str
    ) -> tuple[list[Hit], int]:
        """Return a page of hits, and the number of hits they stand for; 0 if there are no more.

        `find` returns the hits of ranks start + 1 to end, `own` are the ids of items that are parts of the query.
        """
        calibration = self.derived.calibration
        threshold = calibration.near_duplicate if fold and calibration else None
        first, count = (0, NUM_SORTED) if sort else (start, k)
        hits, following = folded_page(lambda num: find(first, first + num), self.index.rows_of, threshold, count)
        hits = _with_likely(hits, own)
        if not sort:
            return hits, following
        ordered = [hits[place] for place in self.index.columns.order(sort, [hit.row for hit in hits])]
        page = sorted(ordered, key=lambda hit: not hit.is_likely)[start : start + k]
        return [replace(hit, rank=rank) for rank, hit in enumerate(page, start + 1)], k if start + k < len(hits) else 0

    def _ranked(
        self, query: QueryVector, shares: Shares | TableShares | None, mask: Any, start: int, end: int
    ) -> list[Hit]:
        """Return the hits of ranks start + 1 to end by score plus a bonus for the share of the words, judged."""
        bonus = WORD_BONUS * float(query.sample.std()) / query.scale if shares is not None else 0.0
        scores, rows = nearest_with_words(self.index, query.vector, end, mask, shares, bonus)
        words = np.zeros(len(rows)) if shares is None else shares[rows]
        cosines = (score * query.scale for score in scores[start:].tolist())
        shown = rows[start:].tolist()
        found = zip(shown, self.index.items.many(shown), cosines, words[start:].tolist(), strict=True)
        return [
            Hit(rank, item, score, query.strength(score, share), row, words=share)
            for rank, (row, item, score, share) in enumerate(found, start=start + 1)
        ]

    def _word_shares(self, text: str) -> Shares | TableShares | None:
        if isinstance(self.index, LanceIndex):
            return TableShares(self.index.table, text)
        return word_shares(self.derived.words(), text)

    def _encode(self, part: Part, begin: float) -> Embeddings:
        """Return the vector of a part, (1, dim). Raise BusyError if the parts before it took too long."""
        check_time(begin, MAX_S)
        if part.text:
            return self.encoder.encode_texts([part.text])
        source, side = part.image, self.encoder.image_side
        if source is None:
            row = self.index.items.row_of(part.item)
            if part.box is None:
                return self.index.rows_of([row])
            item = self.index.item(row)
            source = self.index.original(item) or item.thumbnail
        return self.encoder.encode_images([open_part(source, part.name, side, part.box)])

    def _single(self, part: Part, vector: Embeddings) -> QueryVector:
        """Return the query of this part alone."""
        scale, calibration = self.encoder.text_scale if part.text else 1.0, self.derived.calibration
        query = QueryVector(vector, scale, self._sample_scores(vector, scale))
        if calibration is None:
            return query
        thresholds = calibration.text if part.text else calibration.image
        return replace(query, bounds=thresholds.at(query.location, part.text))

    def _combine(self, parts: Sequence[Part], singles: Sequence[QueryVector]) -> QueryVector:
        """Add the parts' scores, each as a z-score: sum of weight * (score - location) / spread.

        Scores are inner products, so the sum is one, too, up to a constant. The thresholds are z-scores: the weighted
        average of the z-score thresholds of the positive parts.
        """
        pairs = list(zip(parts, singles, strict=True))
        terms = [part.weight / single.spread * single.scale * single.vector for part, single in pairs]
        total: Embeddings = np.sum(terms, axis=0, dtype=np.float32)
        length = float(np.linalg.norm(total))
        if length < CANCELLED * sum(float(np.linalg.norm(term)) for term in terms):
            raise InputError("The parts of the query cancel each other out. Change one of them, or its weight.")
        vector = total / np.float32(length)
        query = QueryVector(vector, 1.0, self._sample_scores(vector, 1.0))
        judged = [
            (part.weight, [(bound - single.location) / single.spread for bound in single.bounds])
            for part, single in pairs
            if part.weight > 0 and single.bounds
        ]
        if not judged:
            return query
        weights, z_scores = zip(*judged, strict=True)
        fair, strong = (query.location + query.spread * float(z) for z in np.average(z_scores, axis=0, weights=weights))
        return replace(query, bounds=(fair, strong))

    def _with_reasons(
        self, hits: Sequence[Hit], query: QueryVector, wanted: Sequence[tuple[Part, QueryVector]]
    ) -> list[Hit]:
        """Return the hits of a query with `Hit.reasons`; only what was measured is named.

        `wanted` are its parts with positive weights, each as a query.
        """
        places = places_of(" ".join(part.text for part, _ in wanted), [hit.item for hit in hits if hit.words])
        coloured = [vector for part, vector in wanted if part.text and self.encoder.model_id == STARTER_ID]
        several = wanted if len(wanted) > 1 else ()
        is_read = coloured or several
        rows = self.index.rows_of([hit.row for hit in hits]) if is_read else np.zeros((len(hits), 0))
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

    def _sample_scores(self, vector: Embeddings, scale: float) -> Embeddings:
        """Return a query's scores over the fixed sample, (<= 1000,)."""
        scores: Embeddings = np.einsum("nd,d->n", self._sample, vector[0]) * np.float32(scale)
        return scores  # not by BLAS: its threads and those of FAISS would wait for each other, for milliseconds


def _with_likely(hits: Sequence[Hit], own: Collection[str]) -> list[Hit]:
    """Return the hits of a page, told apart: up to the last strong one they are likely or, without one, the last fair.

    Whether items that are parts of the query are among them makes no difference.
    """
    strengths = ["own" if hit.item.id in own else hit.strength for hit in hits]
    lowest = next((strength for strength in ("strong", "fair", None) if strength in strengths), "own")
    end = len(hits) - strengths[::-1].index(lowest) if lowest in strengths else 0
    spared = [strength == "own" and hit.strength != "weak" for strength, hit in zip(strengths, hits, strict=True)]
    below = (place >= end and not spared[place] for place in range(len(hits)))
    return [replace(hit, is_likely=False) if is_below else hit for hit, is_below in zip(hits, below, strict=True)]


def _check_page(k: int, start: int, conditions: Sequence[Condition]) -> None:
    if k < 1:
        raise InputError("The number of hits is {k}. Ask for at least 1.", k=k)
    if start < 0:
        raise InputError("The number of hits to leave out is {start}. Give at least 0.", start=start)
    if len(conditions) > MAX_CONDITIONS:
        raise InputError("There are more than {max_filters} filters. Take some away.", max_filters=MAX_CONDITIONS)


def _term(part: Part, *, is_first: bool) -> str:
    if is_first and part.weight == 1:
        return part.shown
    weight = "" if abs(part.weight) == 1 else f"{abs(part.weight):g} * "
    return f"{'+' if part.weight > 0 else '-'} {weight}{part.shown}"
