"""`Searcher`: a query's parts into one vector; its hits found, judged and folded."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from imgsearch.embeddings import Embeddings
from imgsearch.errors import BusyError, InputError
from imgsearch.index.filters import ColumnStore, Condition
from imgsearch.index.index import Index
from imgsearch.models.encoder import Encoder
from imgsearch.records import Hit, SearchResult, Strength
from imgsearch.search.calibration import Calibration, sample_rows
from imgsearch.search.duplicates import fold_near_duplicates
from imgsearch.search.language import foreign_language
from imgsearch.search.projection import Projection
from imgsearch.search.query import Part, check_parts, open_part

CANCELLED = 1e-3  # of the parts' lengths: what is left of a sum that says nothing
NO_SPREAD = 1e-6  # of equal scores: what rounding leaves
MAX_CONDITIONS = 16
MAX_S = 30.0  # after which no further part of a query is begun
MAX_LOOKED_AT = 1000  # hits, to fill a page of k that near-duplicates would leave short


@dataclass(frozen=True)
class QueryVector:
    """The one vector of a query: float32 (1, dim) of unit length; score = inner product * scale."""

    row: Embeddings
    scale: float
    bounds: tuple[float, float] | None  # the scores from which a hit is fair and strong
    sample: Embeddings  # (<= 1000,): the scores of the fixed sample


class Searcher:
    """An index with all that answers queries over it. Safe to call from several threads."""

    def __init__(
        self,
        index: Index,
        encoder: Encoder,
        calibration: Calibration | None,
        calibrate: Callable[[], Calibration | None],
        draw: Callable[[], Projection],
    ) -> None:
        self.index = index
        self.encoder = encoder
        self._calibrate = calibrate
        self._draw = draw
        self._calibrating, self._drawing = threading.Lock(), threading.Lock()
        self.table = ColumnStore(index)
        self.calibration = calibration
        self._is_calibrated = calibration is not None

    def calibrate(self) -> None:
        """Measure the bounds of its scores, once, where no one has before: seconds."""
        with self._calibrating:
            if not self._is_calibrated and len(self.index):
                self.calibration = self._calibrate()
            self._is_calibrated = True

    @property
    def atlas(self) -> Projection:
        """The map of the collection; drawn first, where no one has before: up to a minute."""
        with self._drawing:
            return self._atlas

    @cached_property
    def _atlas(self) -> Projection:
        return self._draw()

    @cached_property
    def _sample(self) -> Embeddings:
        """The fixed sample, (<= 1000, dim), by which queries are brought to the same footing."""
        return self.index.rows_of(sample_rows(self.index).tolist())

    def search(
        self,
        parts: Sequence[Part],
        k: int,
        *,
        start: int = 0,
        conditions: Sequence[Condition] = (),
        fold: bool = True,
    ) -> SearchResult:
        """The k best items, from the rank after `start` on, that meet all conditions; near-duplicates folded into one.

        Raises PictureError, InputError.
        """
        if k < 1:
            raise InputError("The number of hits is {k}. Ask for at least 1.", k=k)
        if start < 0:
            raise InputError("The number of hits to leave out is {start}. Give at least 0.", start=start)
        if len(conditions) > MAX_CONDITIONS:
            raise InputError(
                "There are {num_filters} filters, at most {max_filters} are possible. Take some away.",
                num_filters=len(conditions),
                max_filters=MAX_CONDITIONS,
            )
        parts = check_parts(parts)
        begin = time.perf_counter()
        rows = [self._encode(part, begin) for part in parts]
        encoded = time.perf_counter()
        direction = self._direction(parts, rows)
        mask = self.table.mask(conditions) if conditions else None

        def search_index(number: int) -> list[Hit]:
            hits = self.index.search(direction.row, number, start=start, mask=mask)
            return [_judged(hit, direction) for hit in hits]

        hits, following = (
            self._folded(search_index, k)
            if fold and self.calibration and k <= MAX_LOOKED_AT
            else self._plain(search_index, k)
        )
        end = time.perf_counter()
        texts = [part.text for part in parts if part.text]
        return SearchResult(
            query=" ".join(_shown(part, is_first=not number) for number, part in enumerate(parts)),
            hits=hits,
            seconds=end - begin,
            cut=" ".join(filter(None, (self.encoder.truncated_tail(text) for text in texts))),
            stages={"encode": encoded - begin, "search": end - encoded},
            start=start,
            following=start + following if following else None,
            bounds=direction.bounds,
            sample=direction.sample.tolist(),
            language=next(filter(None, (foreign_language(self.encoder.model_id, text) for text in texts)), ""),
        )

    def _encode(self, part: Part, begin: float) -> Embeddings:
        """(dim,): a part's row. Raises BusyError where those before it have taken too long."""
        if time.perf_counter() - begin > MAX_S:
            raise BusyError(
                "The query took longer than {seconds:.0f} s. Ask with fewer pictures, or try again later.",
                seconds=MAX_S,
            )
        if part.text:
            text = self.calibration.apply_template(part.text) if self.calibration else part.text
            return self.encoder.encode_texts([text]).ravel()
        source, side = part.image, self.encoder.image_side
        if source is None:
            row = self.index.row_of(part.item)
            if part.box is None:
                return self.index.row(row)
            item = self.index.item(row)
            source = self.index.original(item) or item.thumbnail
        return self.encoder.encode_images([open_part(source, part.name, side, part.box)]).ravel()

    def _direction(self, parts: Sequence[Part], rows: Sequence[Embeddings]) -> QueryVector:
        """The parts' scores on the same footing, added: z = sum of weight * (score - location) / spread.

        Location and spread are the mean and the standard deviation of the scores over the fixed sample. As scores are
        inner products, the sum is one too, but for a constant. A hit of several parts is judged by its own z: as far
        out as the parts that are wanted must be, on their weighted average.
        """
        scales = [self.encoder.text_scale if part.text else 1.0 for part in parts]
        samples = [self._sampled(row, scale) for row, scale in zip(rows, scales, strict=True)]
        footing = [_mean_and_spread(scores) for scores in samples]
        limits = [self._limits(part, location) for part, (location, _) in zip(parts, footing, strict=True)]
        if len(parts) == 1:
            return QueryVector(rows[0][None], scales[0], limits[0], samples[0])
        terms = zip(parts, footing, scales, rows, strict=True)
        added = [part.weight / spread * scale * row for part, (_, spread), scale, row in terms]
        row: Embeddings = np.sum(added, axis=0, dtype=np.float32)
        length = float(np.linalg.norm(row))
        if length < CANCELLED * sum(float(np.linalg.norm(term)) for term in added):
            raise InputError("The parts of the query cancel each other out. Change one of them, or its weight.")
        row = row / np.float32(length)
        sample = self._sampled(row, 1.0)
        location, spread = _mean_and_spread(sample)
        wanted = [n for n, part in enumerate(parts) if part.weight > 0]
        weights = [parts[n].weight for n in wanted]
        outer = [[(limit - footing[n][0]) / footing[n][1] for limit in found] for n in wanted if (found := limits[n])]
        if not outer:
            return QueryVector(row[None], 1.0, None, sample)
        fair, strong = (location + spread * float(z) for z in np.average(outer, axis=0, weights=weights))
        return QueryVector(row[None], 1.0, (fair, strong), sample)

    def _sampled(self, row: Embeddings, scale: float) -> Embeddings:
        """(<= 1000,): a query's scores over the fixed sample."""
        scores: Embeddings = np.einsum("nd,d->n", self._sample, row) * np.float32(scale)
        return scores  # not by BLAS: its threads and those of FAISS wait for each other, milliseconds

    def _limits(self, part: Part, location: float) -> tuple[float, float] | None:
        """The scores from which a hit of a part is fair and strong."""
        if self.calibration is None:
            return None
        bounds = self.calibration.text if part.text else self.calibration.image
        return bounds.at(location, part.text)

    def _plain(self, search: Callable[[int], list[Hit]], k: int) -> tuple[list[Hit], int]:
        hits = search(k + 1)
        return hits[:k], k if len(hits) > k else 0

    def _folded(self, search: Callable[[int], list[Hit]], k: int) -> tuple[list[Hit], int]:
        """k hits without their near-duplicates, and how many hits they stand for; 0 for all there are.

        What lies further down counts on its own page, so that no page has to know the ones before it.
        """
        assert self.calibration
        number = k + max(4, k // 4)
        while True:
            hits = search(number)
            first = fold_near_duplicates(self.index.rows_of([hit.row for hit in hits]), self.calibration.near_duplicate)
            leaders = [n for n, leader in enumerate(first) if n == leader]
            if len(leaders) > k or len(hits) < number or number >= MAX_LOOKED_AT:
                break
            number = min(2 * number, MAX_LOOKED_AT)
        members: dict[int, list[str]] = {n: [] for n in leaders[:k]}
        end = leaders[k] if len(leaders) > k else len(hits)
        for n, leader in enumerate(first[:end]):
            if n != leader:
                members[leader].append(hits[n].item.id)
        shown = [replace(hits[n], near_duplicates=tuple(ids)) for n, ids in members.items()]
        return shown, 0 if end == len(hits) < number else end


def _mean_and_spread(scores: Embeddings) -> tuple[float, float]:
    """Mean and standard deviation, or 1 where there is none, of a query's scores over the fixed sample."""
    if not len(scores):
        return 0.0, 1.0
    spread = float(scores.std())
    return float(scores.mean()), spread if spread > NO_SPREAD else 1.0


def _judged(hit: Hit, direction: QueryVector) -> Hit:
    score = hit.score * direction.scale
    strength: Strength | None = None
    if direction.bounds:
        fair, strong = direction.bounds
        strength = "strong" if score >= strong else "fair" if score >= fair else "weak"
    return replace(hit, score=score, strength=strength)


def _shown(part: Part, *, is_first: bool) -> str:
    if is_first and part.weight == 1:
        return part.shown
    weight = "" if abs(part.weight) == 1 else f"{abs(part.weight):g} * "
    return f"{'+' if part.weight > 0 else '-'} {weight}{part.shown}"
