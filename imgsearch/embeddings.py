"""Embeddings: float32 arrays whose rows are unit vectors, so that the inner product of two rows is their cosine."""

import hashlib
import io
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imgsearch.files import write_atomic

Embeddings: TypeAlias = npt.NDArray[np.float32]
"""float32, shape (n, dim), every row of L2 norm 1 (within 1e-3: rows may have been stored in half precision)."""

UNIT_TOLERANCE = 1e-3


def normalize(rows: npt.ArrayLike) -> Embeddings:
    """Scale each row of (n, dim) to L2 norm 1, as float32. Raise ValueError if one is zero or not finite."""
    array = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(array, axis=-1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        raise ValueError("a row is zero or not finite: it cannot be scaled to unit length")
    return np.asarray(array / norms, dtype=np.float32)


def check_unit(rows: Embeddings, dim: int) -> Embeddings:
    """Return `rows` if it is float32 of shape (n, dim) with unit rows, else raise ValueError."""
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"the embeddings have shape {rows.shape}, expected (n, {dim})")
    if rows.dtype != np.float32:
        raise ValueError(f"the embeddings are {rows.dtype}, expected float32")
    if not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=UNIT_TOLERANCE):
        raise ValueError("the embeddings have rows that are not of unit length")
    return rows


def cache_path(folder: Path, name: str, *key_parts: str) -> Path:
    """Return the file that caches rows which depend on every text in `key_parts`."""
    key = hashlib.sha256("\n".join(key_parts).encode()).hexdigest()
    return folder / f"{name}-{key[:16]}.npy"


def load_rows(file: Path, shape: tuple[int, int]) -> Embeddings | None:
    """Return the rows that `save_rows` wrote, or None if the file does not hold unit rows of that shape."""
    try:
        with file.open("rb") as stream:
            rows: Embeddings = np.lib.format.read_array(stream, allow_pickle=False)
        return check_unit(rows, shape[1]) if rows.shape == shape else None
    except Exception:  # on a damaged header NumPy raises almost anything
        return None


def save_rows(file: Path, rows: Embeddings) -> None:
    """Write rows to a file atomically. Do nothing if its folder cannot be written to: it is only a cache."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, rows)
        write_atomic(file, buffer.getvalue())
