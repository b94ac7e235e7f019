"""Detect the language of a text by its letters and words."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import islice

from imgsearch.models.french import is_known_french

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
    words = re.findall(r"[^\W\d_]+", text.lower())
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
