"""Open a bundle for an encoder. The starter collection can be used with any encoder: it is encoded on first use."""

from collections.abc import Callable, Sequence
from pathlib import Path

from imgsearch.config import is_lance_table, is_starter_collection
from imgsearch.embeddings import Embeddings, encode_cached
from imgsearch.environment import cache_folder
from imgsearch.errors import BundleError
from imgsearch.files import cache_path
from imgsearch.images import open_rgb
from imgsearch.index.index import Index
from imgsearch.index.lance import LanceIndex
from imgsearch.index.manifest import FILE_NAME, provenance_of
from imgsearch.models.encoder import Encoder
from imgsearch.records import Item

BATCH_SIZE = 8  # pictures to decode and encode at a time


def open_collection(
    bundle: Path, encoder: Encoder, on_progress: Callable[[int, int], None], *, exact: bool = False
) -> Index:
    """Open a bundle made by `encoder`, or the starter collection, whose vectors can be made by any encoder.

    A Lance table is opened, too; with `exact` it is searched without its index.

    Such vectors are made on first use and kept in the user's cache folder; meanwhile `on_progress` gets the numbers of
    pictures done and in all. Raise BundleError if another encoder made the bundle.
    """
    index = LanceIndex(bundle, exact=exact) if is_lance_table(bundle) else Index.load(bundle)
    made_by = index.provenance.encoder, index.provenance.revision, str(index.dim)
    loaded = encoder.model_id, encoder.revision, str(encoder.dim)
    if made_by == loaded:
        return index
    if not is_starter_collection(bundle):
        template = (
            "The bundle {bundle} was made by the encoder {made_by}, but the one loaded is {loaded}. Build it again."
        )
        raise BundleError(template, bundle=bundle, made_by=" ".join(made_by), loaded=" ".join(loaded))
    key_fields = (bundle / FILE_NAME).read_bytes().decode(), encoder.model_id, encoder.revision, encoder.precision
    file = cache_path(cache_folder(), "vectors.npy", *key_fields)
    items = [index.item(row) for row in range(len(index))]

    def encode(batch: Sequence[Item]) -> Embeddings:
        sources = (index.original(item) or item.thumbnail for item in batch)  # the thumbnail of a missing picture
        return encoder.encode_images([open_rgb(source, side=encoder.image_side) for source in sources])

    vectors = encode_cached(file, encoder.dim, items, encode, BATCH_SIZE, on_progress)
    return Index.from_rows(vectors, items, provenance_of(encoder, source=index.provenance.source))
