"""The visitor's language: which it is, what is said in it, and whether a model understands a query."""

import csv

import gradio as gr
import pytest
from starlette.requests import Request

from imgsearch.config import ROOT
from imgsearch.errors import ModelError, not_loaded
from imgsearch.models.registry import STARTER_ID
from imgsearch.search.language import foreign_language, language_of_query, understood_languages
from imgsearch.web.handlers import with_error_messages
from imgsearch.web.i18n import (
    example_queries,
    foreign_notice,
    format_num_duplicates,
    format_num_pictures,
    format_number,
    language_of,
    tr_message,
)

SIGLIP2, CLIP = "ViT-B-32-SigLIP2-256/webli", "ViT-B-32-256/datacomp_s34b_b86k"
UNREACHED = "the connection to the hub failed (ConnectError). Check the network and start again."
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


def visitor(accepted: str) -> gr.Request:
    return gr.Request(Request({"type": "http", "headers": [(b"accept-language", accepted.encode())]}))


FR, EN = visitor("fr-CA,fr;q=0.9"), visitor("en-US")


@pytest.mark.parametrize(
    ("accepted", "language"), [("fr", "fr"), ("fr-CA,en;q=0.5", "fr"), ("FR", "fr"), ("de-DE", "en"), ("", "en")]
)
def test_the_language_is_the_browsers(accepted: str, language: str) -> None:
    assert language_of(visitor(accepted)) == language


def test_without_a_request_the_page_speaks_english() -> None:
    assert language_of(None) == "en"


def test_numbers_are_written_as_the_language_does() -> None:
    assert (format_number(1540.25, EN, 1), format_number(1540.25, FR, 1)) == ("1,540.2", "1\u202f540,2")
    assert (format_num_pictures(1, FR), format_num_pictures(1200, FR), format_num_pictures(12, EN)) == (
        "1 image",
        "1\u202f200 images",
        "12 pictures",
    )
    assert (format_num_duplicates(1, EN), format_num_duplicates(3, FR)) == ("1 near-duplicate", "3 quasi-doublons")


def test_a_message_is_translated_with_what_is_filled_in() -> None:
    said = "The query has 1,234 characters, at most 500 are read. Shorten it."
    assert tr_message(said, EN) == said
    assert tr_message(said, FR) == "La requête a 1\u202f234 caractères, 500 au plus sont lus. Raccourcissez-la."


def test_what_a_message_quotes_is_translated_too() -> None:
    said = f"This collection cannot be searched: a/b cannot be had: {UNREACHED}"
    assert tr_message(said, FR) == (
        "Impossible de chercher dans cette collection : a/b ne peut pas être obtenu : "
        "la connexion au hub a échoué (ConnectError). Vérifiez le réseau et redémarrez."
    )
    nested = not_loaded("a/b", ModelError("3 of its weights are missing"))
    assert "a/b ne peut pas être chargé : 3 de ses poids manquent. Choisissez" in tr_message(str(nested), FR)


def test_the_message_that_says_most_is_meant() -> None:
    text = "a/b cannot be had: model.bin arrived damaged. Start again to fetch it again."
    assert "model.bin est arrivé endommagé. Redémarrez" in tr_message(text, FR)


@pytest.mark.parametrize("name", ["a {} b {0}.jpg", "50%.jpg", "line\nbreak.jpg", "<b>.jpg", "my dog has fun.jpg", ""])
def test_what_is_filled_in_stays_as_it_is(name: str) -> None:
    text = f"{name} does not exist. Check the path."
    assert tr_message(text, FR) == f"{name} n'existe pas. Vérifiez le chemin."


def test_an_unknown_message_stays_as_it_is() -> None:
    assert tr_message("Disk on fire: {}", FR) == "Disk on fire: {}"


@pytest.mark.parametrize(("request_", "word"), [(FR, "ne peut pas être obtenu"), (EN, "cannot be had")])
def test_a_handlers_error_is_shown_in_the_visitors_language(request_: gr.Request, word: str) -> None:
    def handler(text: str, request: gr.Request) -> None:
        raise ModelError(f"{text} cannot be had: {UNREACHED}")

    with pytest.raises(gr.Error, match=f"^'a/b {word}"):
        with_error_messages(handler)("a/b", request_)


def test_what_an_encoder_understands() -> None:
    assert understood_languages(STARTER_ID) == understood_languages(CLIP) == {"en"}
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
    ],
)
def test_other_languages_are_noticed(text: str, language: str) -> None:
    assert language_of_query(text) == language


@pytest.mark.parametrize("text", ["", "12 x 34", "…", "qwrtzp", "犬", "théière"])
def test_what_no_language_has_is_unsure(text: str) -> None:
    assert language_of_query(text) == ""


def test_a_query_that_the_model_does_not_understand_is_told() -> None:
    assert foreign_language(STARTER_ID, "un chien dans la neige") == "fr"
    assert foreign_language(CLIP, "un chien dans la neige") == "fr"
    assert foreign_language(STARTER_ID, "ein Hund auf dem Sofa") == "de"
    assert foreign_language(STARTER_ID, "a dog in the snow") == ""
    assert foreign_language(SIGLIP2, "un chien dans la neige") == ""
    assert foreign_language("local-dir:/somewhere", "un chien dans la neige") == ""
    assert foreign_notice("fr", EN) == (
        "This model understands English only; the query seems to be French. Try it in English."
    )
    assert "semble être en allemand. Essayez-la en anglais" in foreign_notice("de", FR)


def test_the_queries_to_try_are_ones_that_the_model_understands() -> None:
    assert example_queries(SIGLIP2, FR)[0] == "un chien"
    assert example_queries(SIGLIP2, EN) == example_queries(STARTER_ID, FR) == example_queries("", FR)
    assert all(not foreign_language(STARTER_ID, query) for query in example_queries(STARTER_ID, FR))
