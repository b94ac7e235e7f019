"""`Projection`: a collection as a map, near pictures near each other, drawn once for a bundle."""

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

NUM_POINTS = 10_000
MAX_BYTES = 8 * NUM_POINTS  # of an array
MAX_CLUSTERS = 12
GRID = 65_535
MIN_UMAP = 32  # items: on samples of the example photos, PCA keeps as many neighbours below it
NUM_NEIGHBOURS = 15  # UMAP's own default; 8 to 25 keep as many neighbours of the example photos
BLOCK = 1_000
Plane: TypeAlias = npt.NDArray[np.float64]
"""Positions, (p, 2)."""

_drawing = threading.Lock()  # Numba may end the process where two threads enter its parallel loops at once


@dataclass(frozen=True, eq=False)
class Projection:
    """Points of a map: number i stands for the item at row `rows[i]` of its index.

    rows: int64 (p,), rising. points: uint16 (p, 2), x and y; one scale for both, the wider one fills 0..GRID.
    clusters: uint8 (p,), below MAX_CLUSTERS, numbered from left to right.
    """

    rows: npt.NDArray[np.int64]
    points: npt.NDArray[np.uint16]
    clusters: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def number_of(self, row: int) -> int | None:
        """The point of the item at that row of the index; None where the map leaves it out."""
        number = int(np.searchsorted(self.rows, row))
        return number if number < len(self) and self.rows[number] == row else None

    def to_bytes(self) -> bytes:
        """An .npz file, 13 bytes a point and 1 kB; equal atlases give equal bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, rows=self.rows, points=self.points, clusters=self.clusters)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, num_items: int) -> "Projection":
        """What `to_bytes` gave, for an index of `num_items`. Raises ValueError on anything else."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                rows, points, clusters = (_array(file, name) for name in ("rows", "points", "clusters"))
            atlas = cls(rows, points, clusters)
        except Exception as error:  # on damaged bytes NumPy raises almost anything
            raise ValueError(f"not an atlas: {error!r:.80}") from error
        atlas._check(num_items)
        return atlas

    def _check(self, num_items: int) -> None:
        found = [(str(array.dtype), array.shape) for array in (self.rows, self.points, self.clusters)]
        size = self.rows.size
        if found != [("int64", (size,)), ("uint16", (size, 2)), ("uint8", (size,))]:
            raise ValueError(f"the arrays of the atlas are {found}")
        if size > NUM_POINTS or np.any(self.clusters >= MAX_CLUSTERS):
            raise ValueError(f"the atlas has {size} points in {self.clusters.max() + 1} clusters")
        if size and (self.rows[0] < 0 or self.rows[-1] >= num_items or np.any(np.diff(self.rows) <= 0)):
            raise ValueError(f"the rows of the atlas are not rising rows of {num_items} items")


def _array(file: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """An array of an .npz file. Raises ValueError, before memory is taken for it, where it is too large for a map."""
    with file.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} is of another version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if is_fortran or dtype.hasobject or math.prod(shape) * dtype.itemsize > MAX_BYTES:
            raise ValueError(f"{name} is {dtype} of shape {shape}")
        return np.frombuffer(member.read(MAX_BYTES), dtype).reshape(shape)


def compute_projection(index: Index) -> Projection:
    """The map of an index; of one with more than NUM_POINTS items, that of a sample, fixed by the ids.

    Equal indexes give equal atlases. Takes one core for 15 s at NUM_POINTS, the first time in a process.
    """
    rows = _sample(index)
    embeddings = index.rows_of(rows.tolist())
    with _drawing:
        plane = _principal(_umap(embeddings)) if len(rows) >= MIN_UMAP else _principal(embeddings)
        points = _on_grid(plane)
        return Projection(rows, points, _clusters(points))


def _sample(index: Index) -> npt.NDArray[np.int64]:
    """(p,): rows of the items whose ids have the smallest hashes."""
    if len(index) <= NUM_POINTS:
        return np.arange(len(index))
    return np.sort(stable_sample(index.column("id"), NUM_POINTS))


def _umap(rows: Embeddings) -> Plane:
    """UMAP (McInnes, Healy and Melville 2018) by cosine, over exact neighbours: they need no index of its own."""
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that new items cannot be added to the map
        model = umap.UMAP(
            n_neighbors=NUM_NEIGHBOURS,
            metric="cosine",
            random_state=0,
            n_jobs=1,
            precomputed_knn=(*_neighbours(rows), None),
        )
        return np.asarray(model.fit_transform(rows), np.float64)


def _neighbours(rows: Embeddings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Of each row the NUM_NEIGHBOURS nearest rows, itself first, and their cosine distances: (p, NUM_NEIGHBOURS)."""
    found, distances = [], []
    for start in range(0, len(rows), BLOCK):
        away = 1 - rows[start : start + BLOCK] @ rows.T  # (block, p)
        own = np.arange(len(away))
        away[own, own + start] = -1
        near = np.argpartition(away, NUM_NEIGHBOURS, axis=1)[:, :NUM_NEIGHBOURS]
        order = np.argsort(np.take_along_axis(away, near, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(near, order, axis=1))
        distances.append(np.take_along_axis(away, found[-1], axis=1).clip(min=0))
    return np.concatenate(found), np.concatenate(distances)


def _principal(rows: npt.NDArray[np.floating]) -> Plane:
    """The first two principal components, (p, 2), the wider one as x; zeros where there are fewer."""
    plane = np.zeros((len(rows), 2))
    if len(rows):
        axes, lengths, _ = np.linalg.svd(rows - rows.mean(axis=0, dtype=np.float64), full_matrices=False)
        plane[:, : len(lengths)] = (axes * lengths)[:, :2]
    return plane


def _on_grid(plane: Plane) -> npt.NDArray[np.uint16]:
    if not len(plane):
        return np.zeros((0, 2), np.uint16)
    low, high = plane.min(axis=0), plane.max(axis=0)
    span = float(np.max(high - low))
    scale = GRID / span if span > 1e-6 else 0.0  # less is rounding: the rows are equal
    return np.asarray(((plane - (low + high) / 2) * scale + GRID / 2).round().clip(0, GRID), np.uint16)


def _clusters(points: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """K-means over the map: on the example photos it meets their subjects better than HDBSCAN."""
    from sklearn.cluster import KMeans

    count = min(MAX_CLUSTERS, math.isqrt(len(points)), len(np.unique(points, axis=0)))
    if count < 2:
        return np.zeros(len(points), np.uint8)
    model = KMeans(count, n_init=4, random_state=0).fit(points.astype(np.float64))
    places = np.argsort(np.argsort(model.cluster_centers_[:, 0], kind="stable"))
    return np.asarray(places[model.labels_], np.uint8)
