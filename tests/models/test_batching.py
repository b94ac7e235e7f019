"""An encoder for many threads: what waits together is one batch, and each caller gets its own rows."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imgsearch.embeddings import Embeddings
from imgsearch.engine import Engine
from imgsearch.errors import BusyError
from imgsearch.images import open_rgb
from imgsearch.models.encoder import BATCH_SIZE, BatchingEncoder, Classifier, Encoder, Prepared

NUM_CALLERS = 12


class Slow:
    """Stands before an encoder: holds its first batch until told, and remembers the sizes of all."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.sizes: list[int] = []
        self.began, self.may_go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self.encoder, name)

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        self._hold(len(texts))
        if "spoilt" in texts:
            raise ValueError("spoilt")
        return self.encoder.encode_texts(texts)

    def encode_prepared(self, prepared: Sequence[Prepared]) -> Embeddings:
        self._hold(len(prepared))
        return self.encoder.encode_prepared(prepared)

    def _hold(self, size: int) -> None:
        self.sizes.append(size)
        self.began.set()
        assert self.may_go_on.wait(60)


@pytest.fixture
def slow(encoder: Encoder) -> Slow:
    return Slow(encoder)


def wait_until_waiting(together: BatchingEncoder, number: int) -> None:
    while len(together._waiting) < number:
        time.sleep(0.01)


def test_waiting_texts_are_one_batch(slow: Slow, encoder: Encoder) -> None:
    together = BatchingEncoder(slow)  # type: ignore[arg-type]
    texts = [f"picture number {number}" for number in range(NUM_CALLERS)]
    with ThreadPoolExecutor(NUM_CALLERS + 1) as callers:
        first = callers.submit(together.encode_texts, ["the first"])
        assert slow.began.wait(60)
        rows = [callers.submit(together.encode_texts, [text]) for text in texts]
        wait_until_waiting(together, NUM_CALLERS)
        slow.may_go_on.set()
        assert first.result().shape == (1, encoder.dim)
        found = np.concatenate([row.result() for row in rows])
    assert slow.sizes == [1, NUM_CALLERS]
    assert np.allclose(found, encoder.encode_texts(texts), atol=1e-5)


def test_texts_and_pictures_are_not_mixed(slow: Slow, encoder: Encoder, examples: Path) -> None:
    together = BatchingEncoder(slow)  # type: ignore[arg-type]
    slow.may_go_on.set()
    pictures = [open_rgb(path) for path in sorted((examples / "stamps").glob("*.jpg"))[:6]]
    with ThreadPoolExecutor(NUM_CALLERS) as callers:
        rows = [callers.submit(together.encode_images, [picture]) for picture in pictures]
        texts = [callers.submit(together.encode_texts, [f"text {number}"]) for number in range(6)]
        found = np.concatenate([row.result() for row in rows])
        said = np.concatenate([row.result() for row in texts])
    assert np.allclose(found, encoder.encode_images(pictures), atol=1e-5)
    assert np.allclose(said, encoder.encode_texts([f"text {number}" for number in range(6)]), atol=1e-5)


def test_many_inputs_let_a_query_between(slow: Slow) -> None:
    together = BatchingEncoder(slow)  # type: ignore[arg-type]
    with ThreadPoolExecutor(2) as callers:
        many = callers.submit(together.encode_texts, [f"word {number}" for number in range(3 * BATCH_SIZE)])
        assert slow.began.wait(60)
        query = callers.submit(together.encode_texts, ["a query"])
        wait_until_waiting(together, 1)
        slow.may_go_on.set()
        assert query.result().shape[0] == 1
        assert many.result().shape[0] == 3 * BATCH_SIZE
    assert slow.sizes[1] == 1  # before the second batch of the many


def test_one_error_is_one_callers(slow: Slow) -> None:
    together = BatchingEncoder(slow)  # type: ignore[arg-type]
    with ThreadPoolExecutor(3) as callers:
        callers.submit(together.encode_texts, ["the first"])
        assert slow.began.wait(60)
        good, bad = (callers.submit(together.encode_texts, [text]) for text in ("good", "spoilt"))
        wait_until_waiting(together, 2)
        slow.may_go_on.set()
        assert good.result().shape[0] == 1
        with pytest.raises(ValueError, match="spoilt"):
            bad.result()


def test_who_waits_too_long_is_told(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsearch.models.encoder.WAIT_S", 0.2)
    together = BatchingEncoder(slow)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(together.encode_texts, ["the first"])
        assert slow.began.wait(60)
        with pytest.raises(BusyError, match="Try again later"):
            together.encode_texts(["a query"])
        slow.may_go_on.set()
        with pytest.raises(BusyError):
            first.result()
    monkeypatch.setattr("imgsearch.models.encoder.WAIT_S", 60)
    assert together.encode_texts(["another"]).shape[0] == 1
    assert slow.sizes == [1, 1]  # what nobody waits for any more is not encoded


def test_nothing_is_no_batch(encoder: Encoder) -> None:
    assert BatchingEncoder(encoder).encode_texts([]).shape == (0, encoder.dim)


def test_the_engine_encodes_together(starter_bundle: Path, encoder: Encoder) -> None:
    own = Engine.open(starter_bundle, "starter", "starter").searcher.encoder
    assert isinstance(own, BatchingEncoder)
    assert isinstance(own, Classifier)
    assert own.model_id == encoder.model_id
