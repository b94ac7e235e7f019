"""The words that can describe a picture (`data/vocabulary.tsv`), and one plain sentence made of them."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from imgsearch.files import DATA, read_table
from imgsearch.models.colours import FRENCH_COLOURS, Colours
from imgsearch.models.language import ARTICLE, french_terms
from imgsearch.records import Tag

THINGS = ("animals", "plants", "food", "people", "objects")  # groups of nouns
SCENES = ("places", "activities", "weather", "time of day", "style")  # groups of phrases
OWN_COLOUR = 0.6  # share of the subject from which a colour is named with it: "a white owl"
# The parts of a sentence in each language; {} stands for what is named.
WORDS: dict[str, dict[str, str]] = json.loads((DATA / "sentences.json").read_text("utf-8"))


@dataclass(frozen=True)
class VocabularyTerm:
    """A noun in the singular or, in the groups of SCENES, a phrase as it stands in a sentence."""

    group: str
    kind: str  # its category, the term it is a kind of; "" for none
    article: str  # "" for a noun that takes none (grass, scissors), and for a phrase
    text: str
    french: str  # the term as it stands in a French sentence: "un hibou"

    @property
    def phrase(self) -> str:
        """The term as it stands in a sentence: "an owl", "grass", "on a beach"."""
        return f"{self.article} {self.text}".strip()

    @property
    def prompt(self) -> str:
        """The text that is embedded for the term."""
        return f"a photo of {self.phrase}" if self.group in THINGS else f"a photo, {self.phrase}"


def read_vocabulary() -> list[VocabularyTerm]:
    """Return all terms, a category before its members."""
    return [VocabularyTerm(*row) for row in read_table("vocabulary.tsv")]


def sentence(
    sure: VocabularyTerm | None,
    possible: VocabularyTerm | None,
    scenes: Sequence[VocabularyTerm],
    colours: Colours,
    language: str = "en",
) -> tuple[str, str]:
    """Make a sentence of what is surely there, what may be there, the scenes and the colours; English if not French.

    The second text has the things and scenes alone, or else the colours: a query for similar pictures.

    Example: "This looks like a white owl, possibly a snowy owl, in the snow." and "a white owl, a snowy owl, in the
    snow".
    """
    language = language if language in WORDS else "en"
    words = WORDS[language]
    first, share = next(iter(colours.shares.items()), ("", 0.0))
    own_colour = first if sure and colours.ground and share >= OWN_COLOUR else ""  # else it may be of the ground
    things = {"sure": _coloured(sure, own_colour, language)} if sure else {}
    things |= {"possible": _phrase(possible, language)} if possible else {}
    named = [word for term in (sure, possible) if term for word in term.text.split() if len(word) > 2]
    new_scenes = [scene for scene in scenes if not any(re.search(rf"\b{word}s?\b", scene.text) for word in named)]
    phrases = [_phrase(scene, language) for scene in new_scenes]  # not "mountain, in the mountains"
    query = ", ".join([*things.values(), *phrases])
    parts = [words[key].format(thing) for key, thing in things.items()] or [words["nothing"]]
    ground = [words["ground"].format(_colour(colours.ground, language))] if colours.ground else []
    text = ", ".join([*parts, *phrases, *ground])
    names = [_colour(name, language) for name in colours.shares if name != own_colour]
    if colours.is_grey:
        text += words["grey"]
    elif names:
        *others, last = names
        listed = f"{', '.join(others)} {words['and']} {last}" if others else last
        text, query = text + words["colours"].format(listed), query or listed
    return f"{text[0].upper()}{text[1:]}.", query


def tag_name(tag: Tag, language: str) -> str:
    """Return a tag in a language: "owl" or "hibou"."""
    if language != "fr":
        return tag.tag
    return _colour(tag.tag, language) if tag.group == "colours" else ARTICLE.sub("", french_terms()[tag.tag])


def _phrase(term: VocabularyTerm, language: str) -> str:
    """Return a term as it stands in a sentence: "an owl", "un hibou", "on a beach"."""
    return term.french if language == "fr" else term.phrase


def _colour(name: str, language: str) -> str:
    return FRENCH_COLOURS[name][0] if language == "fr" else name


def _coloured(term: VocabularyTerm, colour: str, language: str) -> str:
    """Return a term with its colour: "a white owl", "un hibou blanc"."""
    phrase = _phrase(term, language)
    if not colour or colour in phrase:
        return phrase
    if language == "fr":
        article = phrase.partition(" ")[0]
        return f"{phrase} {FRENCH_COLOURS[colour][article == 'une']}" if article in ("un", "une") else phrase
    article = term.article and ("an" if colour[0] in "aeiou" else "a")
    return f"{article} {colour} {term.text}".strip()
