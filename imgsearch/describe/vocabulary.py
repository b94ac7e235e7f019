"""The words that can describe a picture: `data/vocabulary.tsv`, whose first lines explain its columns."""

from dataclasses import dataclass

from imgsearch.files import read_table

THINGS = ("animals", "plants", "food", "people", "objects")  # groups of nouns
SCENES = ("places", "activities", "weather", "time of day", "style")  # groups of phrases


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
