"""Detect the language of a text, and translate French word by word for encoders that understand English only.

The French words stand in `data/vocabulary.tsv` (English, French) and `data/query_words_fr.tsv` (French, English): nouns
in the singular, verbs and adjectives in their dictionary form, irregular forms, and expressions of several words.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice

from imgsearch.files import read_table
from imgsearch.text import fold_accents

FIRST_CODES = ("en", "fr", "de", "es", "it", "nl", "pt")  # the languages that are told apart by words
MORE_CODES = ("ca", "cs", "da", "fi", "hu", "id", "nb", "pl", "ro", "sv", "tr", "vi")  # if a word is of none of these
SCRIPTS = {  # the first word of the Unicode names of letters -> the language, or the best known one, that uses them
    **{"HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh", "HANGUL": "ko", "CYRILLIC": "ru", "ARABIC": "ar"},
    **{"GREEK": "el", "HEBREW": "he", "DEVANAGARI": "hi", "THAI": "th", "ARMENIAN": "hy", "GEORGIAN": "ka"},
    **{"BENGALI": "bn", "GUJARATI": "gu", "GURMUKHI": "pa", "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si"},
    **{"TAMIL": "ta", "TELUGU": "te", "ETHIOPIC": "am", "KHMER": "km", "LAO": "lo", "MYANMAR": "my"},
}
LANGUAGE_CODES = (*FIRST_CODES, *MORE_CODES, *dict.fromkeys(SCRIPTS.values()))
UNKNOWN = 3e-8  # frequency of an unlisted word: well below that of the rarest listed words, 1e-6
NUM_FUNCTION_WORDS = 70  # of a language; a few more would begin to name things
# Prior log-odds of a language, in nats. English gets so much that an English query is hardly ever called foreign.
# French, a language of the page, gets more than the other Romance languages. README.md gives the figures.
HEAD_START = {"en": 5.0, "fr": 1.0}
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


def is_french(text: str) -> bool:
    """Return True for a French text; also for words that are English, too, but of things no picture shows ("chat")."""
    return language_of_query(text) == "fr" or is_known_french(text)


@lru_cache(1000)  # a search asks several times
def language_of_query(text: str) -> str:
    """Return the code in LANGUAGE_CODES of the language of a text; "" if unsure.

    Other scripts than the Latin one decide at once. Else it is the language in which the words are most probable
    (unigrams), by their frequencies in wordfreq's small lists (some 30,000 words per language). The first call loads
    the lists of FIRST_CODES: 0.2 s, 40 MB; the first one with a word in none of these lists loads those of MORE_CODES.
    """
    letters = Counter(SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0], "") for letter in text)
    if letters["ja"] or letters.total() > letters[""]:
        return "ja" if letters["ja"] else max(letters.keys() - {""}, key=lambda code: letters[code])
    words = WORD.findall(text.lower())
    frequencies = _frequencies(FIRST_CODES)
    if not all(any(word in listed for listed in frequencies.values()) for word in words):
        frequencies = {**frequencies, **_frequencies(MORE_CODES)}
    if not any(len(word) > 1 and word in listed for word in words for listed in frequencies.values()):
        return ""
    log_likelihoods = {
        language: sum(math.log(listed.get(word, 0.0) + UNKNOWN) for word in words)
        for language, listed in frequencies.items()
    }
    best = max(log_likelihoods, key=lambda language: log_likelihoods[language] + HEAD_START.get(language, 0.0))
    return "" if best == "en" and log_likelihoods["en"] < max(log_likelihoods.values()) else best


@cache
def function_words() -> frozenset[str]:
    """Return the most frequent words of English and French, which name nothing ("the", "sur")."""
    lists = _frequencies(FIRST_CODES)
    return frozenset(word for code in ("en", "fr") for word in islice(lists[code], NUM_FUNCTION_WORDS))


@cache
def _frequencies(codes: tuple[str, ...]) -> Mapping[str, Mapping[str, float]]:
    """Return, for each language, the frequency of each word among all words (0..1)."""
    from wordfreq import get_frequency_dict

    return {language: get_frequency_dict(language, "small") for language in codes}


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
