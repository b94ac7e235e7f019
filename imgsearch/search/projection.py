"""`Projection`: a 2-D map of a collection, with similar pictures near each other. It is computed once per bundle."""

import io
import math
import threading
import warnings
import zipfile
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.index.hashing import stable_sample
from imgsearch.index.index import Index

NUM_POINTS = 10_000  # at most: larger collections are sampled
MAX_BYTES = 8 * NUM_POINTS  # of an array, the largest is int64
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

    def number_of(self, row: int) -> int | None:
        """Return the point of the item at that row of the index; None if the map leaves the item out."""
        point = int(np.searchsorted(self.rows, row))
        return point if point < len(self) and self.rows[point] == row else None

    def to_bytes(self) -> bytes:
        """Return an .npz file, 1 kB and 13 bytes per point. Equal maps give equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, rows=self.rows, points=self.points, clusters=self.clusters)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, num_items: int) -> "Projection":
        """Parse the result of `to_bytes`, for an index of `num_items`. Raise ValueError for anything else."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                rows, points, clusters = (_read_array(file, name) for name in ("rows", "points", "clusters"))
            projection = cls(rows, points, clusters)
        except Exception as error:  # on damaged bytes NumPy raises almost anything
            raise ValueError(f"not an atlas: {error!r:.80}") from error
        projection._check(num_items)
        return projection

    def _check(self, num_items: int) -> None:
        found = [(str(array.dtype), array.shape) for array in (self.rows, self.points, self.clusters)]
        size = self.rows.size
        if found != [("int64", (size,)), ("uint16", (size, 2)), ("uint8", (size,))]:
            raise ValueError(f"the arrays of the atlas are {found}")
        if size > NUM_POINTS or np.any(self.clusters >= MAX_CLUSTERS):
            raise ValueError(f"the atlas has {size} points in {self.clusters.max() + 1} clusters")
        if size and (self.rows[0] < 0 or self.rows[-1] >= num_items or np.any(np.diff(self.rows) <= 0)):
            raise ValueError(f"the rows of the atlas are not rising rows of {num_items} items")


def _read_array(file: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Read an array of an .npz file. Raise ValueError, before memory is allocated, if it is too large for a map."""
    with file.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} is of another version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if is_fortran or dtype.hasobject or math.prod(shape) * dtype.itemsize > MAX_BYTES:
            raise ValueError(f"{name} is {dtype} of shape {shape}")
        return np.frombuffer(member.read(MAX_BYTES), dtype).reshape(shape)


def compute_projection(index: Index) -> Projection:
    """Compute the map of an index; if it has more than NUM_POINTS items, of a sample that depends only on the ids.

    Equal indexes give equal maps. The first call in a process takes 15 s of one core for NUM_POINTS items.
    """
    rows = np.sort(stable_sample(index.column("id"), NUM_POINTS))
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
