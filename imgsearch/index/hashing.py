"""Hashes of texts: find equal texts among millions in little memory, and sample texts whatever their order."""

import hashlib
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Hashes: TypeAlias = npt.NDArray[np.uint64]
"""uint64 (n,), 8 bytes per text: a million texts take 8 MB."""


def stable_sample(texts: Iterable[str], count: int) -> npt.NDArray[np.int64]:
    """Return int64 (<= count,): positions of the texts with the smallest hashes, so their order does not matter."""
    return np.argsort(hash_texts(texts), kind="stable")[:count].astype(np.int64)


def hash_texts(texts: Iterable[str]) -> Hashes:
    """Return (n,): 8-byte BLAKE2b of each text. Any two of a million texts collide with a chance of 1 in 37 million."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def is_first_of_equals(hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return bool (n,): True where no equal hash comes before."""
    is_first = np.zeros(len(hashes), np.bool_)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    return is_first


def num_copies(contents: Hashes) -> int:
    """Return how many hashes are equal to an earlier one."""
    return len(contents) - len(np.unique(contents))
