"""Describe a picture by the vocabulary's terms nearest to its vector. This needs no captioner, and no internet."""

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from imgsearch.describe.sentence import SCENES, THINGS, VocabularyTerm, read_vocabulary, sentence
from imgsearch.embeddings import Embeddings, OnProgress, check_unit, encode_cached
from imgsearch.files import cache_path
from imgsearch.models.colours import read_colours
from imgsearch.models.encoder import Classifier, Encoder
from imgsearch.records import Description, Tag

CHUNK = 256  # words embedded between two reports of progress
NUM_TAGS = 5  # things in a description
NONE = -1  # a row number that stands for no thing

# Set on half of 202 photos that are not in `examples/`, named by hand before; README.md has the figures of the rest.
SHARPNESS = 1.2  # factor of the standard scores in the softmax
VOTE_SHARE = 0.5  # weight of the class votes in the shares
SURE = 0.6  # excess share (see `describe`) from which a thing is named
SURE_BY_VOTES = 0.55  # the same with class votes
POSSIBLE = 0.3  # excess share from which a thing is named as possible
CLEAR = 0.1  # excess share from which a thing is a tag
SCENE_SHARE = 0.5  # share within its group from which a scene is named
SCENE_SCORE = 4.5  # standard score among the things from which a scene is named

TINY = 1e-6  # avoids a division by zero for a picture that is equally near to all terms
TermScores = npt.NDArray[np.float32]


class Describer:
    """Tags and sentences from any encoder. Safe to call from several threads.

    If the encoder is also a `Classifier`, each of its classes votes for the thing it is. `cache` is a folder
    for the vocabulary's embeddings (None: memory only); a damaged file is made again, a read-only folder does no harm.
    """

    def __init__(self, encoder: Encoder, cache: Path | None) -> None:
        terms = read_vocabulary()
        self._things = [term for term in terms if term.group in THINGS]
        self._scenes = [term for term in terms if term.group in SCENES]
        self._encoder = encoder
        self._cache = cache
        self._lock = threading.Lock()
        self._embeddings: Embeddings | None = None
        row_of = {term.text: row for row, term in enumerate(self._things)}
        self._category_rows = np.array([row_of.get(term.kind, NONE) for term in self._things])
        self._classifier = encoder if isinstance(encoder, Classifier) else None
        classes = self._classifier.classes if self._classifier else []
        self._voted_rows = np.array([row_of.get(term, NONE) for term in classes], np.int64)  # (classes,)
        even = np.full((1, len(classes)), 1 / len(classes), np.float32) if classes else None
        self._even_shares = self._shares(np.zeros((1, len(self._things)), np.float32), even)[0]  # at equal scores

    def preload(self, on_progress: OnProgress = lambda done, total: None) -> Embeddings:
        """Return the embedding of each term's prompt, (terms, dim), things before scenes. The first call makes them."""
        with self._lock:
            if self._embeddings is None:
                prompts = [term.prompt for term in self._things + self._scenes]
                identity = self._encoder.model_id, self._encoder.revision, self._encoder.precision
                file = cache_path(self._cache, "vocabulary.npy", *identity, *prompts) if self._cache else None
                encode = self._encoder.encode_texts
                self._embeddings = encode_cached(file, self._encoder.dim, prompts, encode, CHUNK, on_progress)
            return self._embeddings

    def describe(self, image: Image.Image, language: str = "en") -> Description:
        """Return one plain sentence about an upright RGB picture, and its tags: things, scenes, colours.

        The sentence is in English or French ("fr"), the tags are in English. Things that do not stand out are left out.
        """
        vectors = self._encoder.encode_images([image, ImageOps.mirror(image)])  # two looks are wrong less often
        scores = self._scores(vectors)
        probabilities = self._classifier.class_probabilities(vectors) if self._classifier else None
        shares = self._shares(scores, probabilities).mean(0)
        colours = read_colours(image)
        # An object on a plain background shows no place, weather or hour.
        scenes = {} if colours.ground else self._clear_scenes(scores.mean(0)[len(self._things) :])
        # 0 if a share is no more than at equal scores, 1 if it is all there is.
        excess = (shares - self._even_shares) / (1 - self._even_shares)
        sure, possible = self._subject(excess)
        caption, query = sentence(sure, possible, list(scenes), colours, language)
        clear = np.where(excess >= CLEAR, shares, 0)
        tags = [tag for tag in self._top_tags(clear, NUM_TAGS) if tag.score] if sure or possible else []
        tags += [Tag(term.text, share, term.group) for term, share in scenes.items()]
        tags += [Tag(name, share, "colours") for name, share in colours.shares.items()]
        return Description(caption, tags, query)

    def _scores(self, vectors: Embeddings) -> TermScores:
        """Return (n, terms), things before scenes: cosines, standardised by the mean and deviation of the things'."""
        cosines = check_unit(vectors, self._encoder.dim) @ self.preload().T * self._encoder.text_scale
        things = cosines[:, : len(self._things)]
        scores: TermScores = (cosines - things.mean(1, keepdims=True)) / np.maximum(things.std(1, keepdims=True), TINY)
        return scores

    def _shares(self, scores: TermScores, probabilities: TermScores | None) -> TermScores:
        """Return (n, things): a softmax over the standard scores of the things, mixed with the class votes, if any.

        A class votes for its thing with its probability, (n, classes). A category (bird) includes the shares of its
        members (owl).
        """
        shares = _softmax(scores[:, : len(self._things)])
        if probabilities is not None:
            votes, voting = np.zeros(shares.shape, np.float32), self._voted_rows != NONE
            np.add.at(votes.T, self._voted_rows[voting], probabilities[:, voting].T)
            shares = (1 - VOTE_SHARE) * shares + VOTE_SHARE * votes
        for row in range(len(self._things) - 1, -1, -1):  # members first: they come after their category
            if self._category_rows[row] != NONE:
                shares[:, self._category_rows[row]] += shares[:, row]
        return np.minimum(shares, 1)  # float32 sums may exceed 1

    def _top_tags(self, shares: TermScores, count: int) -> list[Tag]:
        rows = np.argsort(-shares, kind="stable")[:count]
        return [Tag(self._things[row].text, float(shares[row]), self._things[row].group) for row in rows]

    def _subject(self, excess: TermScores) -> tuple[VocabularyTerm | None, VocabularyTerm | None]:
        """Return what is surely there and what may be there, as narrowly as the excess allows: a bird, an owl."""
        sure = self._narrowest(NONE, excess, SURE_BY_VOTES if self._classifier else SURE)
        possible = self._narrowest(sure, excess, POSSIBLE)
        return (
            self._things[sure] if sure != NONE else None,
            self._things[possible] if possible != sure else None,
        )

    def _narrowest(self, category: int, excess: TermScores, min_excess: float) -> int:
        """Go down from `category` by the largest excesses as long as they reach `min_excess`; return the last row."""
        members = np.where(self._category_rows == category, excess, 0)
        best = int(members.argmax())
        return self._narrowest(best, excess, min_excess) if members[best] >= min_excess else category

    def _clear_scenes(self, scores: TermScores) -> dict[VocabularyTerm, float]:
        """Return the scenes that clearly win their group, with their shares of it: at most one of each group."""
        winners = {}
        for group in SCENES:
            rows = [row for row, term in enumerate(self._scenes) if term.group == group]
            shares = _softmax(scores[None, rows])[0]
            best = int(shares.argmax())
            if shares[best] >= SCENE_SHARE and scores[rows[best]] >= SCENE_SCORE:
                winners[self._scenes[rows[best]]] = float(shares[best])
        return winners


def _softmax(scores: TermScores) -> TermScores:
    powers = np.exp(SHARPNESS * (scores - scores.max(1, keepdims=True)))
    return np.asarray(powers / powers.sum(1, keepdims=True))
