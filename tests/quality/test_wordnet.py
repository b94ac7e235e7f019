import pytest

from tests.quality.wordnet import caption_noun, lemma, names


@pytest.mark.parametrize(
    ("caption", "noun"),
    [
        ("A frog.", "frog"),
        ("A race car on a track", "race car"),
        ("A colorful rooster.", "rooster"),
        ("Two mice and a cat", "mouse"),
        ("Paintbrushes covered with bright colours.", "paintbrush"),
        ("A pair of closed scissors.", "scissors"),
        ("A chick hatched from an egg.", "chick"),
        ("An astronaut making a spacewalk!", "astronaut"),
        ("A small toy bird hanging from a lamp.", "bird"),
        ("Eat your broccoli!", "broccoli"),
        ("A spiny lobster, from the Hawaiian islands.", "spiny lobster"),
        ("Grandma’s old rag doll.", "rag doll"),
        ("A “Fuji” apple.", "apple"),
        ("A Jack-o’-lantern.", "jack-o'-lantern"),
        ("A blue and yellow flag.", "yellow flag"),
        ("Saturn—the second largest planet", "saturn"),
        ("A quarter of", "quarter"),
        ("Boom!!!", None),
        ("Very slowly, and then not at all", None),
        ("", None),
    ],
)
def test_caption_noun(caption: str, noun: str | None) -> None:
    assert caption_noun(caption) == noun


def test_plurals_fold_to_a_lemma() -> None:
    assert [lemma(word) for word in ("Top hats", "berries", "boxes", "geese", "glass", "xyzzy")] == [
        "top hat", "berry", "box", "goose", "glass", None
    ]  # fmt: skip


def test_names_are_synonyms_and_hypernyms_within_the_steps() -> None:
    assert names("dog", 0) >= {"dog", "domestic dog"}
    assert "canine" in names("dog", 1) and "canine" not in names("dog", 0)
    # gander -> goose -> anseriform bird -> waterfowl -> aquatic bird -> bird
    assert "aquatic bird" in names("gander") and "bird" not in names("gander")
    assert "bird" in names("gander", 5)
    assert "poodle" not in names("dog")


def test_animals_are_not_credited_as_persons() -> None:
    for animal in ("mouse", "tiger", "fox", "donkey"):
        assert "person" not in names(animal)
    assert "person" in names("fireman")


def test_an_unknown_noun_has_no_names() -> None:
    assert names("xyzzy") == frozenset()
