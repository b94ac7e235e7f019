"""What any encoder promises, held to the real starter model; and what only the starter does."""

import numpy as np
import pytest
from PIL import Image

from imgsearch.encoder import Classifier, Encoder
from imgsearch.starter import LABELS, NUM_FEATURES, MiniLm, embed_labels
from imgsearch.vectors import check_unit, normalize


@pytest.fixture(scope="session")
def pictures(examples) -> list[Image.Image]:  # noqa: ANN001
    paths = [*sorted((examples / "stamps").glob("*.jpg"))[:5], *sorted((examples / "wallpapers").glob("*.jpg"))[:4]]
    return [Image.open(path).convert("RGB") for path in paths]


def test_rows_are_unit_and_float32(encoder: Encoder, pictures: list[Image.Image]) -> None:
    for rows in (encoder.encode_images(pictures), encoder.encode_texts(["a dog", "un chien", "🦊", "x" * 5000])):
        check_unit(rows, encoder.dim)
        assert np.isfinite(rows).all()


def test_nothing_in_nothing_out(encoder: Encoder) -> None:
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, encoder.dim)


def test_a_row_does_not_depend_on_its_neighbours(encoder: Encoder, pictures: list[Image.Image]) -> None:
    together = encoder.encode_images(pictures)
    alone = np.concatenate([encoder.encode_images([picture]) for picture in pictures])
    assert np.abs(together - alone).max() < 1e-4
    texts = ["a dog", "a much longer text about a brown dog that runs on a beach in the evening", "cat"]
    assert np.abs(encoder.encode_texts(texts) - np.concatenate([encoder.encode_texts([t]) for t in texts])).max() < 1e-4


def test_any_shape_of_picture_encodes(encoder: Encoder) -> None:
    shapes = [(1, 1), (1, 900), (900, 1), (3, 2), (5000, 40)]
    check_unit(encoder.encode_images([Image.new("RGB", shape, "navy") for shape in shapes]), encoder.dim)


def test_text_scale_turns_inner_products_into_cosines(encoder: Encoder, pictures: list[Image.Image]) -> None:
    images, texts = encoder.encode_images(pictures), encoder.encode_texts(["a frog", "mountains"])
    expected = normalize(texts[:, NUM_FEATURES:]) @ normalize(images[:, NUM_FEATURES:]).T
    assert encoder.text_scale * (texts @ images.T) == pytest.approx(expected, abs=1e-5)


def test_the_packaged_classifier_names_what_it_sees(encoder: Encoder, examples) -> None:  # noqa: ANN001
    """The 247 tensors went to the right places: the nearest of 1,000 labels is the right one."""
    labels = np.load(LABELS).astype(np.float32)
    names = [line.split("\t")[0] for line in LABELS.with_name("imagenet.tsv").read_text("utf-8").splitlines()]
    names = [name for name in names if not name.startswith("#")]
    for file, name in (("skimage/coffee.jpg", "espresso"), ("wallpapers/two_dogs.jpg", "Cocker Spaniel")):
        row = encoder.encode_images([Image.open(examples / file).convert("RGB")])[0, NUM_FEATURES:]
        assert name in names[int(np.argmax(labels @ row))]


def test_rows_alone_tell_the_class(encoder: Encoder, pictures: list[Image.Image], examples) -> None:  # noqa: ANN001
    assert isinstance(encoder, Classifier)
    assert len(encoder.classes) == 1000
    assert encoder.classes[24][:2] == ["great grey owl", "owl"]
    rows = encoder.encode_images([Image.open(examples / "skimage/coffee.jpg").convert("RGB"), *pictures])
    probabilities = encoder.class_probabilities(rows)
    assert (probabilities.shape, probabilities.dtype) == ((len(rows), 1000), np.float32)
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert encoder.classes[int(probabilities[0].argmax())][0] == "espresso"
    assert 0.5 < probabilities[0].max() < 0.99
    assert encoder.class_probabilities(rows[:0]).shape == (0, 1000)


def test_the_shipped_labels_are_those_of_the_facts() -> None:
    shipped = np.load(LABELS, allow_pickle=False)
    assert (shipped.shape, shipped.dtype) == ((1000, 384), np.float16)
    assert np.abs(shipped.astype(np.float32) - embed_labels(MiniLm())).max() < 1e-3


def test_normalize_refuses_what_has_no_direction() -> None:
    assert normalize([[3.0, 4.0]]) == pytest.approx(np.array([[0.6, 0.8]]))
    for bad in ([[0.0, 0.0]], [[np.nan, 1.0]], [[np.inf, 1.0]]):
        with pytest.raises(ValueError, match="zero or not finite"):
            normalize(bad)
