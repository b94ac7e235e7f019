"""Exact inner products over unit rows: FAISS's flat indexes, and files of them, checked before they are opened."""

import struct
from pathlib import Path

import faiss

from imgsearch.embeddings import Embeddings
from imgsearch.errors import BundleError
from imgsearch.index.manifest import Manifest

LARGEST = 1.01  # of a number in a unit row, or of the product of two, with what rounding adds
NUMBER_AT = slice(8, 16)  # where the file says how many rows it holds, int64
LENGTH_AT = slice(-8, None)  # at the end of its head: the length of what follows, int64


def empty_flat_index(dim: int, kind: str) -> faiss.Index:
    """An index of rows of that many numbers, kept as "float32" or "float16"."""
    if kind == "float32":
        return faiss.IndexFlatIP(dim)
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def open_vector_file(path: Path, manifest: Manifest) -> faiss.Index:
    """The index of a file, which is mapped. Raises ValueError where it is not what the manifest says.

    Such a file is an empty index but for its two numbers, then the rows. FAISS alone would build whatever a file
    asks for, of any kind and size.
    """
    index, number = empty_flat_index(manifest.dim, manifest.vectors), manifest.num_items
    size = number * index.sa_code_size()
    head = bytearray(faiss.serialize_index(index).tobytes())
    with path.open("rb") as file:
        found = file.read(len(head))
    if path.stat().st_size == len(head) + size:
        head[NUMBER_AT] = struct.pack("<q", number)
        head[LENGTH_AT] = struct.pack("<q", size // 4 if manifest.vectors == "float32" else size)
    if found != head or path.stat().st_size != len(head) + size:
        raise ValueError(f"{path.name} does not hold {number} rows of {manifest.dim} numbers")
    # Of the two flags that map a file, this one does; the other reads it all into memory.
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except TypeError:
        raise ValueError("the name of its folder is not Unicode") from None


def check_finite(numbers: Embeddings) -> Embeddings:
    """The numbers of unit rows, or products of two, as they are. Raises BundleError where they cannot be such."""
    if not (numbers.min(initial=0) >= -LARGEST and numbers.max(initial=0) <= LARGEST):  # neither holds of NaN
        raise BundleError("The vectors of this collection are damaged. Build its bundle again.")
    return numbers
