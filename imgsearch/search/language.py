"""Which languages an encoder understands, and which one a query is in."""

import math
import re
from collections.abc import Mapping
from functools import cache

from imgsearch.models.registry import PRESETS, STARTER_ID

LANGUAGE_CODES = ("en", "fr", "de", "es", "it", "nl", "pt")  # that are told apart
UNKNOWN = 3e-8  # a frequency well below that of the rarest words listed, 1e-6
# How much likelier a language is before the query is read, in nats. English by so much that one of its queries is
# hardly ever called foreign; French, which the page speaks, beside its Romance sisters. README.md gives the figures.
HEAD_START = {"en": 5.0, "fr": 1.0}


def understood_languages(model_id: str) -> frozenset[str] | None:
    """The codes, of TONGUES, of the languages that an encoder understands; None where that is not known."""
    languages = {preset.model_id: preset.languages for preset in PRESETS if preset.kind == "encoder"}
    languages[STARTER_ID] = "English"
    if model_id not in languages:
        return None
    return frozenset({"en"} if languages[model_id] == "English" else LANGUAGE_CODES)


def foreign_language(model_id: str, text: str) -> str:
    """The code of a text's language where the encoder does not understand it; "" where it does, or where unsure."""
    understood = understood_languages(model_id)
    language = language_of_query(text) if understood else ""
    return "" if language in (understood or ()) else language


def language_of_query(text: str) -> str:
    """The code, of TONGUES, of the language that a text is in; "" where unsure.

    The language under which its words, taken one by one, are the most probable, by their frequencies in wordfreq's
    small lists (some 30,000 words a language). The first call loads these: 0.2 s, 40 MB.
    """
    frequencies = _frequencies()
    words = re.findall(r"[^\W\d_]+", text.lower())
    if not any(word in known for word in words for known in frequencies.values()):
        return ""
    fits = {
        language: sum(math.log(known.get(word, 0.0) + UNKNOWN) for word in words)
        for language, known in frequencies.items()
    }
    best = max(fits, key=lambda language: fits[language] + HEAD_START.get(language, 0.0))
    return "" if best == "en" and fits["en"] < max(fits.values()) else best


@cache
def _frequencies() -> Mapping[str, Mapping[str, float]]:
    """Of each language, how often each word stands among all its words (0..1)."""
    from wordfreq import get_frequency_dict

    return {language: get_frequency_dict(language, "small") for language in LANGUAGE_CODES}
