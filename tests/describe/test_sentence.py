"""What a description says, in both languages, and what of it is searched for."""

from itertools import product

import pytest

from imgsearch.describe.sentence import FRENCH_COLOURS, sentence, tag_name, to_query
from imgsearch.describe.vocabulary import read_vocabulary
from imgsearch.models.colours import COLOURS, Colours
from imgsearch.models.french import french_terms
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
    assert sentence(*parts) == english == sentence(*parts, language="de")
    assert sentence(*parts, language="fr") == french


@pytest.mark.parametrize(
    ("caption", "query"),
    [
        ("This looks like a bird, possibly an owl, on a plain white background; mostly grey.", "a bird, an owl"),
        ("Possibly an owl, in the snow.", "an owl, in the snow"),
        ("No single object stands out, at night; in black and white.", "at night"),
        ("No single object stands out; mostly blue and grey.", "blue and grey"),
        ("On dirait une chouette blanche, sur fond vert olive uni ; surtout marron.", "une chouette blanche"),
        ("Peut-être un oiseau, la nuit ; en noir et blanc.", "un oiseau, la nuit"),
        ("Aucun objet ne se détache ; surtout bleu et gris.", "bleu et gris"),
        ("a cup of coffee on a table", "a cup of coffee on a table"),  # of a captioner
        ("", ""),
    ],
)
def test_the_things_are_searched_for_not_the_sentence(caption: str, query: str) -> None:
    assert to_query(caption) == query


def test_each_sentence_gives_a_query_without_its_words_around() -> None:
    for sure, possible in product((None, TERMS["owl"]), repeat=2):
        for language in ("en", "fr"):
            query = to_query(sentence(sure, possible, [], WHITE, language))
            assert query and not {"looks", "dirait", "background", "fond", "uni", "mostly"} & set(query.split())


def test_every_tag_has_its_french() -> None:
    assert set(french_terms()) == set(TERMS) and set(FRENCH_COLOURS) == set(COLOURS)
    assert (
        tag_name(Tag("owl", 1.0, "animals"), "fr") == "chouette" and tag_name(Tag("owl", 1.0, "animals"), "en") == "owl"
    )
    assert tag_name(Tag("white", 1.0, "colours"), "fr") == "blanc"
    assert tag_name(Tag("in the snow", 1.0, "places"), "fr") == "dans la neige"
