"""Hashes of texts: to find equal ones among millions, and a sample that does not depend on their order."""

import hashlib
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Hashes: TypeAlias = npt.NDArray[np.uint64]
"""8 bytes a text, (n,): a million texts in as many bytes as 8,000 embeddings."""


def stable_sample(texts: Iterable[str], number: int) -> npt.NDArray[np.int64]:
    """The places, (<= number,), of the texts with the least hashes: a choice that does not depend on their order."""
    return np.argsort(hash_texts(texts), kind="stable")[:number].astype(np.int64)


def hash_texts(texts: Iterable[str]) -> Hashes:
    """(n,): the first 8 bytes of BLAKE2b of each text; two of a million texts share them once in 37 million times."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def is_first_of_equals(hashes: Hashes) -> npt.NDArray[np.bool_]:
    """(n,): whether no equal one stands before it."""
    is_first = np.zeros(len(hashes), np.bool_)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    return is_first


def num_copies(contents: Hashes) -> int:
    """How many are equal to one that stands before."""
    return int(np.sum(~is_first_of_equals(contents)))
