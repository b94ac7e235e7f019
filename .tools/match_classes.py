"""Find again the term of the vocabulary that each ImageNet class is: python .tools/match_classes.py

It is the second column of `imgsearch/data/imagenet.tsv`, made from the other two. Run this after a change of the
vocabulary, and after `make_wordnet.py`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from imgsearch.describe.sentence import THINGS, VocabularyTerm, read_vocabulary  # noqa: E402
from imgsearch.files import DATA, read_table  # noqa: E402


def match(chain: Sequence[str], things: Sequence[VocabularyTerm]) -> str:
    """Return the narrowest thing a class is: by its name or the last words of it, else by the next hypernym.

    A class is its name and its hypernyms, nearest first. `_fits` compares these too, because words alone mislead: a
    construction crane is no crane, a lady's slipper no slipper, a Petri dish no dish.
    """
    term_of = {term.text.casefold(): term for term in things}
    terms = (term_of[word] for word in _spellings(chain) if word in term_of)
    return next((term.text for term in terms if _fits(term, chain)), "")


def match_all() -> list[str]:
    """Return the term of each class, "" for none, in the order of the file."""
    things = [term for term in read_vocabulary() if term.group in THINGS]
    return [match([name, *hypernyms.split(",")], things) for name, _, hypernyms in read_table("imagenet.tsv")]


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


if __name__ == "__main__":
    file = DATA / "imagenet.tsv"
    comments = [line for line in file.read_text("utf-8").splitlines() if line.startswith("#")]
    rows = zip(read_table(file.name), match_all(), strict=True)
    lines = [*comments, *("\t".join([name, term, hypernyms]) for (name, _, hypernyms), term in rows)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
