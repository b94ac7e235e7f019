"""What a description says, in both languages, and what of it is searched for."""

from itertools import product

import pytest

from imgsearch.describe.sentence import read_vocabulary, sentence, tag_name
from imgsearch.models.colours import FRENCH_COLOURS, Colours
from imgsearch.models.language import french_terms
from imgsearch.records import Tag

TERMS = {term.text: term for term in read_vocabulary()}
MANY = Colours({"grey": 0.5, "green": 0.3}, ground=None, is_grey=False)
WHITE = Colours({"white": 0.7, "brown": 0.2}, ground="blue", is_grey=False)
GREY = Colours({"grey": 0.9}, ground=None, is_grey=True)
CASES = [  # sure, possible, scenes, colours, the sentence in English and in French
    ("bird", "owl", [], MANY)
    + ("This looks like a bird, possibly an owl; mostly grey and green.",)
    + ("On dirait un oiseau, peut-être une chouette ; surtout gris et vert.",),
    ("owl", "", [], WHITE)
    + ("This looks like a white owl, on a plain blue background; mostly brown.",)
    + ("On dirait une chouette blanche, sur fond bleu uni ; surtout marron.",),
    ("", "owl", [], WHITE)
    + ("Possibly an owl, on a plain blue background; mostly white and brown.",)
    + ("Peut-être une chouette, sur fond bleu uni ; surtout blanc et marron.",),
    ("", "", ["in the snow"], GREY)
    + ("No single object stands out, in the snow; in black and white.",)
    + ("Aucun objet ne se détache, dans la neige ; en noir et blanc.",),
    ("mountain", "", ["in the mountains", "at night"], MANY)  # not "a mountain, in the mountains"
    + ("This looks like a mountain, at night; mostly grey and green.",)
    + ("On dirait une montagne, la nuit ; surtout gris et vert.",),
    ("grass", "", [], Colours({"green": 0.9}, ground="white", is_grey=False))
    + ("This looks like green grass, on a plain white background.",)
    + ("On dirait de l'herbe, sur fond blanc uni.",),
    ("dog", "", [], Colours({"green": 0.9}, ground=None, is_grey=False))  # of the lawn
    + ("This looks like a dog; mostly green.", "On dirait un chien ; surtout vert."),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[4])
def test_the_parts_of_a_sentence(case: tuple[str, str, list[str], Colours, str, str]) -> None:
    sure, possible, scenes, colours, english, french = case
    parts = (TERMS.get(sure), TERMS.get(possible), [TERMS[scene] for scene in scenes], colours)
    assert sentence(*parts)[0] == english == sentence(*parts, language="de")[0]
    assert sentence(*parts, language="fr")[0] == french


@pytest.mark.parametrize(
    ("sure", "possible", "scenes", "colours", "language", "query"),
    [
        ("bird", "owl", [], Colours({"grey": 0.5}, "white", is_grey=False), "en", "a bird, an owl"),
        ("", "owl", ["in the snow"], MANY, "en", "an owl, in the snow"),
        ("", "", ["at night"], GREY, "en", "at night"),
        ("", "", [], MANY, "en", "grey and green"),
        ("", "", [], GREY, "en", ""),
        ("owl", "", [], WHITE, "fr", "une chouette blanche"),
        ("", "bird", ["at night"], GREY, "fr", "un oiseau, la nuit"),
        ("", "", [], MANY, "fr", "gris et vert"),
    ],
)
def test_the_things_are_searched_for_not_the_sentence(
    sure: str, possible: str, scenes: list[str], colours: Colours, language: str, query: str
) -> None:
    parts = (TERMS.get(sure), TERMS.get(possible), [TERMS[scene] for scene in scenes], colours)
    assert sentence(*parts, language)[1] == query


def test_each_sentence_gives_a_query_without_its_words_around() -> None:
    for sure, possible in product((None, TERMS["owl"]), repeat=2):
        for language in ("en", "fr"):
            _, query = sentence(sure, possible, [], WHITE, language)
            assert query and not {"looks", "dirait", "background", "fond", "uni", "mostly"} & set(query.split())


def test_every_tag_has_its_french() -> None:
    assert set(french_terms()) == set(TERMS) and all(map(all, FRENCH_COLOURS.values()))
    assert (
        tag_name(Tag("owl", 1.0, "animals"), "fr") == "chouette" and tag_name(Tag("owl", 1.0, "animals"), "en") == "owl"
    )
    assert tag_name(Tag("white", 1.0, "colours"), "fr") == "blanc"
    assert tag_name(Tag("in the snow", 1.0, "places"), "fr") == "dans la neige"
