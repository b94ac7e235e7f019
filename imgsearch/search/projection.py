"""`Projection`: a 2-D map of a collection, with similar pictures near each other. It is computed once per bundle."""

import io
import math
import threading
import warnings
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.index.index import Index

NUM_POINTS = 10_000  # at most: larger collections are sampled
MAX_BYTES = 8 * NUM_POINTS + 1000  # of an array with its header; the largest is int64
MAX_CLUSTERS = 12
GRID = 65_535  # largest coordinate: uint16
MIN_UMAP = 32  # items: with fewer, PCA keeps as many neighbours (measured on samples of the example photos)
NUM_NEIGHBOURS = 15  # UMAP's own default; 8 to 25 keep as many neighbours of the example photos
Plane: TypeAlias = npt.NDArray[np.float64]
"""Positions on the map, float64 (p, 2)."""

_drawing = threading.Lock()  # Numba may crash if two threads enter its parallel loops at once


@dataclass(frozen=True, eq=False)
class Projection:
    """Points of a map: point i stands for the item at row `rows[i]` of its index.

    rows: int64 (p,), ascending. points: uint16 (p, 2), x and y on one scale; the wider axis fills 0..GRID.
    clusters: uint8 (p,), below MAX_CLUSTERS, numbered from left to right.
    """

    rows: npt.NDArray[np.int64]
    points: npt.NDArray[np.uint16]
    clusters: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def to_bytes(self) -> bytes:
        """Return an .npz file, 1 kB and 13 bytes per point. Equal maps give equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, rows=self.rows, points=self.points, clusters=self.clusters)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, num_items: int) -> "Projection":
        """Parse the result of `to_bytes`, for an index of `num_items`. Raise ValueError for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                if any(member.file_size > MAX_BYTES for member in file.zip.infolist()):
                    raise ValueError("too large")
                arrays = rows, points, clusters = file["rows"], file["points"], file["clusters"]
        except Exception as error:  # on damaged bytes NumPy raises almost anything
            raise ValueError(f"not an atlas: {error!r:.80}") from error
        size, found = rows.size, [(str(array.dtype), array.shape) for array in arrays]
        is_sound = found == [("int64", (size,)), ("uint16", (size, 2)), ("uint8", (size,))] and size <= NUM_POINTS
        if not is_sound or np.any(clusters >= MAX_CLUSTERS):
            raise ValueError(f"the arrays of the atlas are {found}, or it has too many clusters")
        if size and (rows[0] < 0 or rows[-1] >= num_items or np.any(np.diff(rows) <= 0)):
            raise ValueError(f"the rows of the atlas are not rising rows of {num_items} items")
        return cls(rows, points, clusters)


def compute_projection(index: Index) -> Projection:
    """Compute the map of an index; if it has more than NUM_POINTS items, of a sample that depends only on the ids.

    Equal indexes give equal maps. The first call in a process takes 15 s of one core for NUM_POINTS items.
    """
    rows = index.items.sample(NUM_POINTS)
    vectors = index.rows_of(rows.tolist())
    with _drawing:
        points = _on_grid(_principal_components(_umap(vectors) if len(rows) >= MIN_UMAP else vectors))
        return Projection(rows, points, _clusters(points))


def _umap(vectors: Embeddings) -> Plane:
    """Project by UMAP (McInnes, Healy and Melville 2018) with cosine distances."""
    import faiss
    import umap

    # Exact neighbours, so that UMAP does not build an approximate index.
    cosines, neighbours = faiss.knn(vectors, vectors, NUM_NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that new items cannot be added to the map
        model = umap.UMAP(
            n_neighbors=NUM_NEIGHBOURS,
            metric="cosine",
            random_state=0,
            n_jobs=1,
            precomputed_knn=(neighbours, (1 - cosines).clip(min=0), None),
        )
        return np.asarray(model.fit_transform(vectors), np.float64)


def _principal_components(vectors: npt.NDArray[np.floating]) -> Plane:
    """Return the first two principal components, (p, 2), the wider one as x; zeros if all vectors are equal."""
    from sklearn.decomposition import PCA

    if len(np.unique(vectors, axis=0)) < 2:
        return np.zeros((len(vectors), 2))
    return np.asarray(PCA(2, svd_solver="full").fit_transform(np.asarray(vectors, np.float64)))


def _on_grid(plane: Plane) -> npt.NDArray[np.uint16]:
    if not len(plane):
        return np.zeros((0, 2), np.uint16)
    low, high = plane.min(axis=0), plane.max(axis=0)
    span = float(np.max(high - low))
    scale = GRID / span if span > 1e-6 else 0.0  # a smaller span is rounding: all vectors are equal
    return np.asarray(((plane - (low + high) / 2) * scale + GRID / 2).round().clip(0, GRID), np.uint16, order="C")


def _clusters(points: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Cluster the points by k-means: on the example photos it matches their subjects better than HDBSCAN."""
    from sklearn.cluster import KMeans

    count = min(MAX_CLUSTERS, math.isqrt(len(points)), len(np.unique(points, axis=0)))
    if count < 2:
        return np.zeros(len(points), np.uint8)
    model = KMeans(count, n_init=4, random_state=0).fit(points.astype(np.float64))
    ranks = np.argsort(np.argsort(model.cluster_centers_[:, 0], kind="stable"))
    return np.asarray(ranks[model.labels_], np.uint8)
