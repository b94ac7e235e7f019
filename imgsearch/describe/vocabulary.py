"""Read the words that can describe a picture from `data/vocabulary.txt`, whose first lines explain its notation."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VOCABULARY = Path(__file__).parents[1] / "data" / "vocabulary.txt"
THINGS = ("animals", "plants", "food", "people", "objects")  # groups of nouns
SCENES = ("places", "activities", "weather", "time of day", "style")  # groups of phrases

SOUNDS_LIKE_YOU = ("eu", "ew", "uk", "uni")
SILENT_H = ("hour",)


@dataclass(frozen=True)
class VocabularyTerm:
    """A noun in the singular or, in the groups of SCENES, a phrase as it stands in a sentence."""

    text: str
    group: str
    kind: str = ""  # its category, the term it is a kind of; "" for none
    is_bare: bool = False  # a noun that takes no article: grass, scissors

    @property
    def phrase(self) -> str:
        """The term as it stands in a sentence: "an owl", "grass", "on a beach"."""
        if self.is_bare or self.group in SCENES:
            return self.text
        is_vowel = self.text[0].lower() in "aeiou" and not self.text.startswith(SOUNDS_LIKE_YOU)
        return f"{'an' if is_vowel or self.text.startswith(SILENT_H) else 'a'} {self.text}"

    @property
    def prompt(self) -> str:
        """The text that is embedded for the term."""
        return f"a photo of {self.phrase}" if self.group in THINGS else f"a photo, {self.phrase}"


def read_vocabulary(text: str) -> list[VocabularyTerm]:
    """Return the terms of a vocabulary file in its order: a category before its members."""
    terms: dict[str, VocabularyTerm] = {}
    group = cover = kind = ""
    for line in text.splitlines():
        words = []
        if line.startswith("["):
            group, _, cover = line.strip("[]").partition(": ")
            words, kind = [cover], ""
            cover = cover.removesuffix("~")
        elif not line.startswith("#"):
            if not line.startswith(" "):  # an indented line continues the one before
                lead, _, line = line.rpartition(": ")
                kind = lead.removesuffix("~") or cover
                if lead and kind not in terms:
                    terms[kind] = VocabularyTerm(kind, group, cover, lead.endswith("~"))
            words = [word.strip() for word in line.split(",")]
        for word in filter(None, words):
            name = word.removesuffix("~")
            if name in terms:
                raise ValueError(f"{name!r} stands twice in the vocabulary")
            terms[name] = VocabularyTerm(name, group, kind, word.endswith("~"))
    return list(terms.values())


def match_classes(classes: Sequence[Sequence[str]], things: Sequence[VocabularyTerm]) -> list[VocabularyTerm | None]:
    """Return for each class the narrowest thing it is: by its name or the last words of it, else by the next hypernym.

    A class is its name and its hypernyms, nearest first. `_fits` compares these too, because words alone mislead: a
    construction crane is no crane, a lady's slipper no slipper, a Petri dish no dish.
    """
    term_of = {term.text.casefold(): term for term in things}
    candidates = ([term_of[word] for word in _spellings(chain) if word in term_of] for chain in classes)
    return [
        next((term for term in terms if _fits(term, chain)), None)
        for terms, chain in zip(candidates, classes, strict=True)
    ]


def _fits(term: VocabularyTerm, chain: Sequence[str]) -> bool:
    if "animal" in chain or term.group == "animals":
        return "animal" in chain and term.group == "animals"
    if "plant" in chain:
        return term.group in ("plants", "food")
    return term.group != "food" or "food" in chain


def _spellings(chain: Sequence[str]) -> Iterator[str]:
    """Yield in lower case, for "kite (bird of prey)": kite, bird of prey, of prey, prey, and then the hypernyms."""
    name, *hypernyms = (word.casefold() for word in chain)
    for part in re.split(r" \(|\)| / | or ", name):
        words = part.split()
        yield from (" ".join(words[start:]) for start in range(len(words)))
    yield from hypernyms
