"""Create and open exact FAISS indexes (flat, inner product). Files are checked first, as anyone may have made them."""

import struct
from pathlib import Path

import faiss

from imgsearch.index.manifest import Manifest

NUMBER_AT = slice(8, 16)  # bytes of the file's header with the number of rows, int64
LENGTH_AT = slice(-8, None)  # last bytes of the header: the length of the data that follows, int64
ITEM_SIZES = {"float32": 4, "float16": 2}  # bytes of a number


def empty_flat_index(dim: int, kind: str) -> faiss.Index:
    """Return an empty index of vectors of length `dim`, stored as `kind`: "float32" or "float16"."""
    if kind == "float32":
        return faiss.IndexFlatIP(dim)
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def file_header(dim: int, kind: str, number: int) -> bytes:
    """Return what a file of `number` vectors begins with; the vectors as little-endian numbers of `kind` follow."""
    head = bytearray(faiss.serialize_index(empty_flat_index(dim, kind)).tobytes())
    head[NUMBER_AT] = struct.pack("<q", number)
    head[LENGTH_AT] = struct.pack("<q", number * dim * (1 if kind == "float32" else 2))  # FAISS counts floats or bytes
    return bytes(head)


def open_vector_file(path: Path, manifest: Manifest) -> faiss.Index:
    """Open the index of a file, memory-mapped. Raise ValueError if the file is not what the manifest says.

    A valid file is the header of an empty index with two numbers filled in, then the vectors. This is checked because
    FAISS would build whatever the header asks for, of any kind and size.
    """
    number = manifest.num_items
    head = file_header(manifest.dim, manifest.vectors, number)
    with path.open("rb") as file:
        actual_head = file.read(len(head))
    if actual_head != head or path.stat().st_size != len(head) + number * manifest.dim * ITEM_SIZES[manifest.vectors]:
        raise ValueError(f"{path.name} does not hold {number} rows of {manifest.dim} numbers")
    # IO_FLAG_MMAP_IFC maps the file; IO_FLAG_MMAP would read all of it into memory.
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except TypeError:
        raise ValueError("the name of its folder is not Unicode") from None
