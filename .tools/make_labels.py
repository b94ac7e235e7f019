"""Make imgsearch/data/labels.npy again from imagenet.tsv: python .tools/make_labels.py"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from imgsearch.embeddings import Embeddings, normalize  # noqa: E402
from imgsearch.files import read_table  # noqa: E402
from imgsearch.models.starter import LABELS, NUM_SEMANTIC, MiniLm  # noqa: E402


def read_classes() -> list[list[str]]:
    """Return the name and the WordNet hypernyms, nearest first, of each ImageNet class in the classifier's order."""
    return [[name, *filter(None, hypernyms.split(","))] for name, _, hypernyms in read_table("imagenet.tsv")]


def embed_labels(classes: Sequence[Sequence[str]]) -> Embeddings:
    """Return the label embeddings of classes, (n, 384) unit rows; `labels.npy` keeps them as float16.

    Each is the mean direction of three phrasings of the class name and its WordNet hypernyms.
    """
    texts = [text for name, *hypernyms in classes for text in _phrasings(name, hypernyms)]
    return normalize(MiniLm().embed(texts).reshape(len(classes), -1, NUM_SEMANTIC).sum(1))


def _phrasings(name: str, hypernyms: list[str]) -> tuple[str, str, str]:
    article = "an" if name[0].lower() in "aeiou" else "a"
    kinds = f"{name}, a kind of {', '.join(hypernyms[:3])}" if hypernyms else name
    return f"a photo of a {name}", kinds, f"This is {article} {name}, a type of {(hypernyms or [name])[0]}."


if __name__ == "__main__":
    np.save(LABELS, embed_labels(read_classes()).astype(np.float16))
