"""Concrete English nouns and their hypernyms, from WordNet 3.0 (`nouns.tsv.xz`)."""

import lzma
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

NOUNS = Path(__file__).with_name("nouns.tsv.xz")
MAX_SENSES = 3  # per noun
PLURALS = (("s", ""), ("es", ""), ("ies", "y"))  # plural ending -> singular ending
# Nouns for a part or a group: "a pair of pliers" is about pliers.
PARTS = """
    bunch bit close-up collection couple face flock group half handful head kind lot pair part picture photo piece pile
    quarter row set side slice stack string top type variety view
"""
COLOURS = "red yellow green blue brown black white grey gray purple violet golden silver"
# Words that end a noun phrase: determiners, prepositions, conjunctions, pronouns, auxiliaries, common verbs.
STOPS = """
    a an the this that these those another some any no every each all both my your his her its our their it it's he she
    we you they i who which what there here and or but nor so as if when while because than not of in on at to from by
    with without for over under above below behind before after against across along around among between beside near
    into onto out off up down through toward towards inside outside like is are was were be been being am has have had
    do does did can could may might must shall should will would means mean let us makes making used made stands seen
    also ahead
"""
_PARTS, _COLOURS, _STOPS = (frozenset(words.split()) for words in (PARTS, COLOURS, STOPS))


class _Graph(NamedTuple):
    kinds: list[str]  # per synset: animal, artifact, person, ...
    hypernyms: list[list[int]]  # per synset: synset numbers
    lemmas: list[list[str]]  # per synset
    senses: dict[str, list[int]]  # lemma -> synset numbers, the most frequent first
    irregular: dict[str, str]  # irregular plural -> singular, such as mice -> mouse


@cache
def _graph() -> _Graph:
    text = lzma.decompress(NOUNS.read_bytes()).decode()
    synsets, senses, irregular = (
        [line.split("\t") for line in table.splitlines()] for table in text.rstrip("\n").split("\n\n")[1:]
    )
    graph = _Graph(
        kinds=[kind for kind, _ in synsets],
        hypernyms=[[int(up) for up in ups.split()] for _, ups in synsets],
        lemmas=[[] for _ in synsets],
        senses={lemma: [int(synset) for synset in numbers.split()] for lemma, numbers in senses},
        irregular=dict(irregular),
    )
    for lemma, synset_numbers in graph.senses.items():
        for synset in synset_numbers:
            graph.lemmas[synset].append(lemma)
    return graph


def lemma(words: str) -> str | None:
    """Return the noun that `words` form, in lower case and singular ("Top hats" -> "top hat"), or None."""
    graph = _graph()
    start, space, last = words.lower().rpartition(" ")
    singulars = [last, graph.irregular.get(last, "")]
    singulars += [last.removesuffix(end) + new for end, new in PLURALS if last.endswith(end)]
    for singular in filter(None, singulars):
        for spelling in (start + space + singular, (start + space + singular).replace("-", " ")):
            if spelling in graph.senses:
                return spelling
    return None


def caption_noun(caption: str) -> str | None:
    """Return the noun that a caption is about, as WordNet spells it; None without a concrete noun ("Boom!!!").

    Split the caption into phrases at punctuation and at STOPS. The noun is the longest lemma at the end of the first
    phrase that has one; skip words after it that are no nouns, and participles after a noun ("A chick hatched from").
    For a noun in PARTS take the noun after "of" instead ("A pair of pliers"). Ignore a word with "!" (an exclamation).
    """
    text = re.sub(r"[“”\"]|(?<!\w)'|'(?![\w-])", " ", caption.replace("’", "'"))
    text = re.sub(r"(?:^|(?<=[.!?]))\s*\w+!+", " ", text)
    part = None
    phrases = _phrases(text)
    for words, stop in phrases:
        noun = _last_noun(words, goes_on=stop.isalpha())
        if noun in _COLOURS and stop in ("and", "or", ","):
            continue
        if noun in _PARTS and stop == "of" and part is None:
            part = noun
        elif noun:
            return noun
    return part


def _phrases(text: str) -> list[tuple[list[str], str]]:
    """Return runs of words, each with the stop word or punctuation mark that ends it."""
    phrases: list[tuple[list[str], str]] = []
    words: list[str] = []
    for token in [*re.findall(r"[\w'-]+|[^\w\s]", text.lower()), "."]:
        if token in _STOPS or not token[0].isalnum():
            phrases.append((words, token))
            words = []
        else:
            words.append(token)
    return phrases


def _last_noun(words: list[str], goes_on: bool) -> str | None:
    """Return the longest lemma at the end of `words`; drop last words that are no nouns.

    If the sentence goes on, a last word in -ing or -ed after a noun is a participle and is dropped too.
    """
    for end in range(len(words), 0, -1):
        noun = next(filter(None, (lemma(" ".join(words[start:end])) for start in range(end))), None)
        is_participle = goes_on and end > 1 and noun == words[end - 1] and words[end - 1].endswith(("ing", "ed"))
        if noun and not (is_participle and lemma(words[end - 2])):
            return noun
    return None


@cache
def names(noun: str, steps: int = 4) -> frozenset[str]:
    """Return all lemmas of the noun's synsets and of their hypernyms up to `steps` above; empty for an unknown noun.

    Use only senses that a photo can show, and of these the three most frequent ones in WordNet's texts. Ignore senses
    of the kind person if one of the three is an animal or a plant, so that a mouse or a tiger is not a person.
    """
    graph = _graph()
    senses = graph.senses.get(noun, [])[:MAX_SENSES]
    is_wild = any(graph.kinds[sense] in ("animal", "plant") for sense in senses)
    level = {sense for sense in senses if not (is_wild and graph.kinds[sense] == "person")}
    synsets = set(level)
    for _ in range(steps):
        level = {up for synset in level for up in graph.hypernyms[synset]}
        synsets |= level
    return frozenset(name for synset in synsets for name in graph.lemmas[synset])
