"""Embeddings: float32 arrays whose rows are unit vectors, so that the inner product of two rows is their cosine."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from imgsearch.errors import BundleError
from imgsearch.files import write_cache

Embeddings: TypeAlias = npt.NDArray[np.float32]
"""float32, shape (n, dim), every row of L2 norm 1 (within 1e-3: rows may have been stored in half precision)."""

OnProgress: TypeAlias = Callable[[int, int], None]
"""Called with what is done and the total: inputs encoded, bytes fetched."""

T = TypeVar("T")
UNIT_TOLERANCE = 1e-3
LARGEST = 1.01  # of a component of a unit vector, or of the inner product of two; 0.01 for rounding


def normalize(rows: npt.ArrayLike) -> Embeddings:
    """Scale each row of (n, dim) to L2 norm 1, as float32. Raise ValueError if one is zero or not finite."""
    array = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(array, axis=-1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        raise ValueError("a row is zero or not finite: it cannot be scaled to unit length")
    return np.asarray(array / norms, dtype=np.float32)


def check_unit(rows: Embeddings, dim: int) -> Embeddings:
    """Return `rows` if it is float32 of shape (n, dim) with unit rows, else raise ValueError."""
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"the embeddings are {rows.dtype} of shape {rows.shape}, expected float32 (n, {dim})")
    if not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=UNIT_TOLERANCE):
        raise ValueError("the embeddings have rows that are not of unit length")
    return rows


def in_batches(
    encode: Callable[[Sequence[T]], Embeddings],
    inputs: Sequence[T],
    size: int,
    dim: int,
    on_progress: OnProgress = lambda done, total: None,
) -> Embeddings:
    """Encode at most `size` inputs at a time, and report the numbers done and in all before each: float32 (n, dim)."""
    rows = []
    for start in range(0, len(inputs), size):
        on_progress(start, len(inputs))
        rows.append(encode(inputs[start : start + size]))
    return np.concatenate(rows) if rows else np.zeros((0, dim), np.float32)


def check_finite(numbers: Embeddings) -> Embeddings:
    """Return `numbers`. Raise BundleError if they cannot be components or inner products of unit vectors."""
    if not (numbers.min(initial=0) >= -LARGEST and numbers.max(initial=0) <= LARGEST):  # both are False for NaN
        raise BundleError("The vectors of this collection are damaged. Build its bundle again.")
    return numbers


def load_rows(file: Path, shape: tuple[int, int]) -> Embeddings | None:
    """Return the rows that `encode_cached` stored, or None if the file does not hold unit rows of that shape."""
    try:
        rows: Embeddings = np.load(file, allow_pickle=False)
        return check_unit(rows, shape[1]) if rows.shape == shape else None
    except Exception:  # on a damaged header NumPy raises almost anything
        return None


def encode_cached(
    file: Path | None,
    dim: int,
    inputs: Sequence[T],
    encode: Callable[[Sequence[T]], Embeddings],
    batch_size: int,
    on_progress: OnProgress,
) -> Embeddings:
    """Return the rows of the inputs, (len(inputs), dim), from a file of a cache or else by `in_batches`."""
    rows = load_rows(file, (len(inputs), dim)) if file else None
    if rows is None:
        rows = in_batches(encode, inputs, batch_size, dim, on_progress)
        if file:
            buffer = io.BytesIO()
            np.save(buffer, rows)
            write_cache(file, buffer.getvalue())
    return rows
