"""The language of a query: which it is, and whether a model understands it."""

import csv

import numpy as np
import pytest

from imgsearch.config import ROOT
from imgsearch.describe.sentence import read_vocabulary
from imgsearch.index.index import Index
from imgsearch.models.encoder import STARTER_ID, Encoder
from imgsearch.models.language import french_terms, is_french, language_of_query, to_english
from imgsearch.search.query import foreign_language, understood_languages

SIGLIP2, CLIP = "ViT-B-32-SigLIP2-256/webli", "ViT-B-32-256/datacomp_s34b_b86k"
with (ROOT / "examples" / "metadata.csv").open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))
FRENCH = """un chien|montagne|coucher de soleil sur la mer|une voiture rouge|chat noir|des fleurs dans un vase|vélo|
    la tour Eiffel la nuit|bateau à voile|enfants qui jouent|petit déjeuner|guitare électrique|forêt|plage|fromage|
    un homme avec un chapeau|neige sur les toits|oiseau bleu|gâteau au chocolat|un instrument de musique|papillon|
    animal à cornes|quelque chose à manger|cheval|maison abandonnée|le marché aux poissons|vieux livres|coquillage|
    arbre en automne|train à vapeur|femme souriante|ciel étoilé|pomme verte|rue pavée sous la pluie|lac gelé|avion|
    une tasse de café|les mains d'un potier|champ de lavande|pont suspendu"""
ENGLISH = """a dog|mountain|sunset over the sea|red car|black cat|flowers in a vase|bicycle|sailing boat|forest|beach|
    the Eiffel tower at night|children playing|breakfast|electric guitar|a man with a hat|snow on the roofs|cheese|
    blue bird|chocolate cake|a musical instrument|animal with horns|something to eat|horse|abandoned house|butterfly|
    fish market|old books|tree in autumn|steam train|smiling woman|starry sky|green apple|frozen lake|airplane|
    cobbled street in the rain|a cup of coffee|hands of a potter|lavender field|seashell|suspension bridge"""
ENGLISH_THAT_LOOKS_FOREIGN = "orange|table|train|lion|portrait|restaurant menu|a croissant and an espresso|bonsai|piano"


def queries(text: str) -> list[str]:
    return [query.strip() for query in text.split("|")]


def test_what_an_encoder_understands() -> None:
    assert understood_languages(CLIP) == {"en"} and understood_languages(STARTER_ID) == {"en", "fr"}
    assert {"en", "fr", "de"} <= (understood_languages(SIGLIP2) or set())
    assert understood_languages("local-dir:/somewhere") is None


def test_french_queries_are_noticed() -> None:
    captions = [row["caption_fr"] for row in ROWS if row["caption_fr"]]
    noticed = [language_of_query(text) not in ("", "en") for text in captions]
    assert sum(noticed) / len(captions) >= 0.98
    for texts, share in ((captions, 0.97), (queries(FRENCH), 0.95)):
        assert sum(language_of_query(text) == "fr" for text in texts) / len(texts) >= share


def test_english_queries_are_not_called_foreign() -> None:
    captions = [row["caption"] for row in ROWS if row["caption"]]
    assert sum(language_of_query(text) not in ("", "en") for text in captions) / len(captions) <= 0.01
    texts = [*queries(ENGLISH), *queries(ENGLISH_THAT_LOOKS_FOREIGN)]
    assert {language_of_query(text) for text in texts} <= {"", "en"}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("ein Hund auf dem Sofa", "de"),
        ("flores en un jarrón", "es"),
        ("tramonto sul mare", "it"),
        ("bloemen in een vaas", "nl"),
        ("pôr do sol no mar", "pt"),
        ("piękny pies", "pl"),
        ("hundar i snön", "sv"),
        ("köpek ve kedi", "tr"),
        ("一只猫", "zh"),
        ("黒い犬", "ja"),
        ("강아지", "ko"),
        ("собака", "ru"),
        ("كلب", "ar"),
        ("σκύλος", "el"),
        ("雪の中を走る犬", "ja"),
        ("雪地里的狗", "zh"),
        ("눈 속의 개", "ko"),
        ("собака бежит по снегу", "ru"),
        ("كلب في الثلج", "ar"),
        ("σκύλος στο χιόνι", "el"),
        ("כלב", "he"),
        ("ძაღლი", "ka"),
        ("কুকুর", "bn"),
        ("நாய்", "ta"),
        ("ውሻ", "am"),
        ("jabłko", "pl"),
    ],
)
def test_other_languages_are_noticed(text: str, language: str) -> None:
    assert language_of_query(text) == language


@pytest.mark.parametrize("text", ["", "12 x 34", "…", "qwrtzp", r"'%%%s {0} \n'", "%d %s", "l"])
def test_what_no_language_has_is_unsure(text: str) -> None:
    assert language_of_query(text) == ""


def test_a_query_that_the_model_does_not_understand_is_told() -> None:
    assert foreign_language(STARTER_ID, "un chien dans la neige") == ""
    assert foreign_language(STARTER_ID, "un chien avec un zorglub dans la neige") == "fr"
    assert foreign_language(STARTER_ID, "犬") == "zh"
    assert foreign_language(CLIP, "un chien dans la neige") == "fr"
    assert foreign_language(STARTER_ID, "ein Hund auf dem Sofa") == "de"
    assert foreign_language(STARTER_ID, "a dog in the snow") == ""
    assert foreign_language(SIGLIP2, "un chien dans la neige") == ""
    assert foreign_language("local-dir:/somewhere", "un chien dans la neige") == ""


@pytest.mark.parametrize(
    ("french", "english"),
    [
        ("un chien noir sur la plage", "a dog black on the beach"),
        ("l'arbre en fleurs", "the tree in bloom"),
        ("chevaux blancs", "horses white"),
        ("des pommes vertes", "apple green"),
        ("CHAT", "cat"),
        ("chateau", "castle"),
        ("sapin de Noël", "Christmas tree"),
        ("oeuf", "egg"),
        ("une danseuse", "a dancer"),
        ("Notre-Dame de Paris", "Notre-Dame of Paris"),
    ],
)
def test_french_word_by_word(french: str, english: str) -> None:
    assert to_english(french) == (english, [])


def test_what_the_dictionary_lacks_is_said() -> None:
    assert to_english("un zorglub vert") == ("a zorglub green", ["zorglub"])
    assert to_english("") == ("", [])


def test_french_is_told_from_english_that_looks_like_it() -> None:
    assert all(map(is_french, ["chat", "pain", "hibou", "coquillage", *queries(FRENCH)]))
    words = ["table", "orange", "lion", "train", "coin", "rose", "an orange on a table"]
    assert not any(map(is_french, [*words, *queries(ENGLISH), *(row["caption"] for row in ROWS)]))


def test_every_word_of_the_vocabulary_has_its_french() -> None:
    terms = read_vocabulary()
    assert french_terms() == {term.text: term.french for term in terms} and len(terms) > 1600
    assert all(french_terms().values())


def test_french_captions_find_nearly_as_much_as_the_english(encoder: Encoder, index: Index) -> None:
    """By vectors alone, among the same pictures; the ids are in the order of the bundle."""
    rows = {row["file_name"]: row for row in ROWS}
    items = [rows[id] for id in index.column("id")]
    recall = {}
    for name in ("caption", "caption_fr"):
        scores = encoder.encode_texts([item[name] for item in items]) @ index.rows.T
        recall[name] = float(np.mean((scores > np.diag(scores)[:, None]).sum(1) < 10))
    assert recall["caption"] > 0.75 and recall["caption_fr"] >= 0.8 * recall["caption"]
