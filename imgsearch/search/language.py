"""Detect the language of a query, so that the page can say if the encoder does not understand it."""

import math
import re
from collections.abc import Mapping
from functools import cache

from imgsearch.models.encoder import STARTER_IDS
from imgsearch.models.registry import PRESETS

LANGUAGE_CODES = ("en", "fr", "de", "es", "it", "nl", "pt")  # the languages that are told apart
UNKNOWN = 3e-8  # frequency of an unlisted word: well below that of the rarest listed words, 1e-6
# Prior log-odds of a language, in nats. English gets so much that an English query is hardly ever called foreign.
# French, a language of the page, gets more than the other Romance languages. README.md gives the figures.
HEAD_START = {"en": 5.0, "fr": 1.0}


def understood_languages(model_id: str) -> frozenset[str] | None:
    """Return the codes in LANGUAGE_CODES of the languages that an encoder understands; None if that is not known."""
    languages = {preset.model_id: preset.languages for preset in PRESETS if preset.kind == "encoder"}
    languages |= dict.fromkeys(STARTER_IDS, "English")
    if model_id not in languages:
        return None
    return frozenset({"en"} if languages[model_id] == "English" else LANGUAGE_CODES)


def foreign_language(model_id: str, text: str) -> str:
    """Return the code of a text's language if the encoder does not understand it; "" if it does, or if unsure."""
    understood = understood_languages(model_id)
    language = language_of_query(text) if understood else ""
    return "" if language in (understood or ()) else language


def language_of_query(text: str) -> str:
    """Return the code in LANGUAGE_CODES of the language of a text; "" if unsure.

    This is the language in which the words are most probable (unigrams), by their frequencies in wordfreq's small lists
    (some 30,000 words per language). The first call loads the lists: 0.2 s, 40 MB.
    """
    frequencies = _frequencies()
    words = re.findall(r"[^\W\d_]+", text.lower())
    if not any(word in listed for word in words for listed in frequencies.values()):
        return ""
    log_likelihoods = {
        language: sum(math.log(listed.get(word, 0.0) + UNKNOWN) for word in words)
        for language, listed in frequencies.items()
    }
    best = max(log_likelihoods, key=lambda language: log_likelihoods[language] + HEAD_START.get(language, 0.0))
    return "" if best == "en" and log_likelihoods["en"] < max(log_likelihoods.values()) else best


@cache
def _frequencies() -> Mapping[str, Mapping[str, float]]:
    """Return, for each language, the frequency of each word among all words (0..1)."""
    from wordfreq import get_frequency_dict

    return {language: get_frequency_dict(language, "small") for language in LANGUAGE_CODES}
