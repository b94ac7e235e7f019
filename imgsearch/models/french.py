"""Translate a French query word by word, for encoders that understand English only.

The words stand in `data/vocabulary.tsv` (English, French) and `data/query_words_fr.tsv` (French, English): nouns in
the singular, verbs and adjectives in their dictionary form, irregular forms, and expressions of several words.
"""

import re
from collections.abc import Iterator
from functools import cache

from imgsearch.files import read_table
from imgsearch.text import fold_accents

ARTICLE = re.compile("^(une?|des|du|de la|les?|la) |^(de )?l'")
WORD = re.compile(r"[^\W\d_]+")
LONGEST = 5  # words of an expression
ELIDED = frozenset(["c", "d", "j", "l", "m", "n", "qu", "s", "t"])  # what an apostrophe leaves of le, de, que, ...
# Endings of plurals, feminines and verb forms, without accents, and those of the dictionary form; the first hit counts.
ENDINGS = (
    *(("s", ""), ("x", ""), ("aux", "al"), ("e", ""), ("es", "")),
    *((f"{feminine}{plural}", masculine) for plural in ("", "s") for feminine, masculine in (
        ("euse", "eux"), ("euse", "eur"), ("trice", "teur"), ("ve", "f"), ("lle", "l"), ("nne", "n"), ("tte", "t"),
        ("che", "c"), ("ere", "er"),
    )),
    *((ending, "er") for ending in ("e", "es", "ent", "ant", "ee", "ees", "ait", "aient", "ons", "ez")),
    *((ending, "ir") for ending in ("it", "is", "i", "ie", "ies", "issant", "issent")),
    *((ending, "re") for ending in ("", "s", "u", "ue", "us", "ues", "ent", "ant")),
)  # fmt: skip
Words = tuple[str, ...]


def to_english(text: str) -> tuple[str, list[str]]:
    """Return a French text in English, word by word, and the words that are not known; a name is left as it is.

    Example: to_english("un chien noir sur la plage") returns ("a dog black on the beach", []).
    """
    originals = WORD.findall(text)
    words = tuple(word.lower() for word in originals)
    english, unknown, start = [], [], 0
    while start < len(words):
        for count in range(min(LONGEST, len(words) - start), 0, -1):
            translation = _look_up(words[start : start + count])
            if translation is not None:
                english.append(translation)
                break
        else:
            if words[start] not in ELIDED:
                english.append(originals[start])
                if originals[start].islower():
                    unknown.append(originals[start])
        start += count
    return " ".join(filter(None, english)), unknown


def is_known_french(text: str) -> bool:
    """Return True if all words are known, and not all of them are spelled so in English ("orange", "table"), too."""
    words = [word.lower() for word in WORD.findall(text)]
    return bool(words) and all(_look_up((word,)) is not None for word in words) and not _english_words() >= set(words)


def _look_up(words: Words) -> str | None:
    """Return the English of an expression; None if it is not known."""
    exact, folded = _dictionary()
    if words in exact:
        return exact[words]
    plain = tuple(map(fold_accents, words))
    return next((folded[form] for form in _forms(plain) if form in folded), None)


def _forms(words: Words) -> Iterator[Words]:
    """Yield what may stand in the dictionary for an expression without accents: itself, then its singular, ..."""
    yield words
    if len(words) > 1:
        yield tuple(word[:-1] if word.endswith(("s", "x")) else word for word in words)
        return
    for ending, base in ENDINGS:
        if words[0].endswith(ending) and len(words[0]) > len(ending) + 1:
            yield (words[0].removesuffix(ending) + base,)


@cache
def _dictionary() -> tuple[dict[Words, str], dict[Words, str]]:
    """Return the English of each expression, by its words as they are spelled, and by its words without accents."""
    pairs = read_table("query_words_fr.tsv")
    pairs += [[ARTICLE.sub("", french), english] for english, french in french_terms().items()]
    exact: dict[Words, str] = {}
    for french, english in pairs:
        exact.setdefault(tuple(WORD.findall(french.lower())), english)
    folded: dict[Words, str] = {}
    for words, english in exact.items():
        folded.setdefault(tuple(map(fold_accents, words)), english)
    return exact, folded


@cache
def french_terms() -> dict[str, str]:
    """Return the French of each term of the vocabulary, as it stands in a sentence: "owl" -> "un hibou".

    The keys are English words and expressions for what can be seen in a picture.
    """
    return {term: french for *_, term, french in read_table("vocabulary.tsv")}


@cache
def _english_words() -> frozenset[str]:
    return frozenset(word for term in french_terms() for word in term.lower().split())
