"""The words a picture can be described with: `facts/vocabulary.txt`, whose first lines explain its notation."""

from dataclasses import dataclass
from pathlib import Path

VOCABULARY = Path(__file__).parent / "facts" / "vocabulary.txt"
THINGS = ("animals", "plants", "food", "people", "objects")  # groups of nouns
SCENES = ("places", "activities", "weather", "time of day", "style")  # groups of phrases

SOUNDS_LIKE_YOU = ("eu", "uk", "uni", "Uni")
SILENT_H = ("hour",)


@dataclass(frozen=True)
class Term:
    """A noun in the singular or, in the groups of SCENES, a phrase as it stands in a sentence."""

    text: str
    group: str
    kind: str = ""  # the term it is a kind of; "" for none
    is_bare: bool = False  # a noun that takes no article: grass, scissors

    @property
    def phrase(self) -> str:
        """The term as it stands in a sentence: "an owl", "grass", "on a beach"."""
        if self.is_bare or self.group in SCENES:
            return self.text
        is_vowel = self.text[0].lower() in "aeiou" and not self.text.startswith(SOUNDS_LIKE_YOU)
        return f"{'an' if is_vowel or self.text.startswith(SILENT_H) else 'a'} {self.text}"

    @property
    def prompts(self) -> tuple[str, str]:
        """The two texts whose mean embedding stands for the term."""
        return self.text, f"a photo of {self.phrase}" if self.group in THINGS else f"a photo, {self.phrase}"


def read_vocabulary(text: str) -> list[Term]:
    """The terms of a vocabulary file, in its order: a kind before its members."""
    terms: dict[str, Term] = {}
    group = cover = kind = ""
    for line in text.splitlines():
        words = []
        if line.startswith("["):
            group, _, cover = line.strip("[]").partition(": ")
            words, kind = [cover], ""
            cover = cover.removesuffix("~")
        elif not line.startswith("#"):
            if not line.startswith(" "):  # else it goes on with the line before
                lead, _, line = line.rpartition(": ")
                kind = lead.removesuffix("~") or cover
                if lead and kind not in terms:
                    terms[kind] = Term(kind, group, cover, lead.endswith("~"))
            words = [word.strip() for word in line.split(",")]
        for word in filter(None, words):
            name = word.removesuffix("~")
            if name in terms:
                raise ValueError(f"{name!r} stands twice in the vocabulary")
            terms[name] = Term(name, group, kind, word.endswith("~"))
    return list(terms.values())
