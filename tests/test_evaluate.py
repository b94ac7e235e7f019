"""Quality floors on the example photos, and the figures worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imgsearch.embeddings import Embeddings, normalize
from imgsearch.engine import Engine
from imgsearch.errors import InputError
from imgsearch.evaluate import caption_ranks, evaluate, similar_precision
from imgsearch.index.index import Index
from imgsearch.index.manifest import provenance_of
from imgsearch.models.encoder import Encoder
from imgsearch.records import GENERATED_CAPTION, Item
from imgsearch.search.searcher import Searcher
from tests.helpers.tiny_bundles import derived_of
from tests.quality.tags import describe_hit


class Axes:
    """An encoder whose text rows are the numbers in the text, so that ranks can be worked out by hand."""

    model_id = "axes"
    dim = 2
    text_scale = 1.0

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        return normalize([[float(number) for number in text.split()] for text in texts])

    def encode_images(self, images: Sequence[Image.Image]) -> Embeddings:
        raise AssertionError("only texts are asked for")


def item(caption: str = "", subject: str = "") -> Item:
    return Item("id", caption, {"subject": subject}, "", b"")


def test_caption_ranks_by_hand() -> None:
    items = [item("1 0"), item("0 1"), item("1 0"), item()]
    rows = normalize([[0, 1], [0.6, 0.8], [0.8, 0.6], [1, 0]])
    # "1 0" ranks row 3 (no caption) before row 2, an equal caption; "0 1" ranks row 0 before row 1.
    assert caption_ranks(items, rows, Axes()).tolist() == [2, 2, 2]
    with pytest.raises(InputError, match="no captions"):
        caption_ranks([item()], rows[:1], Axes())


def test_similar_precision_by_hand() -> None:
    angles = np.radians([0, 1, 2, 3, 4, 5, 90, 91])
    rows = normalize(np.stack([np.cos(angles), np.sin(angles)], 1))
    items = [*[item(subject="a")] * 6, *[item(subject="b")] * 2]
    assert similar_precision(items, rows) == 1  # the two of b are too few to be queries
    items[0] = item(subject="b")
    assert similar_precision(items, rows) is None
    items = [item(subject="a"), *[item(subject="b")] * 2, *[item(subject="a")] * 5]
    # Of the five nearest to an a at 0, 3, 4 and 5 degrees three are a, to one at 90 and 91 degrees four.
    assert similar_precision(items, rows) == pytest.approx((4 * 3 / 5 + 2 * 4 / 5) / 6)


@pytest.fixture(scope="module")
def stamps(engine: Engine) -> tuple[list[Item], Embeddings]:
    items = [engine.index.item(row) for row in range(len(engine.index))]
    rows = [row for row, item in enumerate(items) if item.id.startswith("stamps/")]
    return [items[row] for row in rows], engine.index.rows[rows]


def test_recall_floors(stamps: tuple[list[Item], Embeddings], encoder: Encoder) -> None:
    ranks = caption_ranks(*stamps, encoder)
    assert len(ranks) == 74
    assert np.mean(ranks <= 1) >= 0.29
    assert np.mean(ranks <= 5) >= 0.53
    assert np.mean(ranks <= 10) >= 0.60


def test_similar_floor(stamps: tuple[list[Item], Embeddings]) -> None:
    precision = similar_precision(*stamps)
    assert precision is not None and precision >= 0.62


def test_describe_floor(stamps: tuple[list[Item], Embeddings], engine: Engine) -> None:
    hit = describe_hit(*stamps, engine.models.current.describer)
    assert hit is not None and hit >= 0.556


def test_without_captions_of_people_those_of_a_model_are_taken(
    stamps: tuple[list[Item], Embeddings], engine: Engine, encoder: Encoder
) -> None:
    items, rows = (part[:20] for part in stamps)
    moved = [replace(one, caption="", columns={**one.columns, GENERATED_CAPTION: one.caption}) for one in items]
    found = []
    for those in (items, moved):
        index = Index.from_rows(rows, those, provenance_of(encoder))
        figures = evaluate(Searcher(index, encoder, derived_of(engine.bundle, index)))
        found.append((figures.pop("captions"), figures))
    assert found == [("caption", found[0][1]), ("generated_caption", found[0][1])]
    assert found[0][1]["num_queries"] == 20
