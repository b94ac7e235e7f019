"""The visitor's language: which it is, what is said in it, and whether a model understands a query."""

import csv
import pickle

import gradio as gr
import pytest
from httpx import ConnectError
from starlette.requests import Request

from imgsearch.config import ROOT
from imgsearch.errors import InputError, Message, ModelError, PictureError, not_loaded
from imgsearch.hub import explain_hub_error
from imgsearch.images import damaged_picture
from imgsearch.models.encoder import STARTER_ID
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


def test_a_message_is_translated_with_its_values() -> None:
    template = "The query has {num_characters:,} characters, at most {max_characters} are read. Shorten it."
    message = InputError(template, num_characters=1234, max_characters=500)
    assert str(message) == tr_message(message, EN) == template.format(num_characters=1234, max_characters=500)
    assert tr_message(message, FR) == "La requête a 1\u202f234 caractères, 500 au plus sont lus. Raccourcissez-la."


def unreachable(repo: str) -> ModelError:
    return ModelError("{repo} cannot be had: {why}", repo=repo, why=explain_hub_error(ConnectError("no"), "model"))


def test_a_message_within_a_message_is_translated_too() -> None:
    assert tr_message(ModelError("This collection cannot be searched: {error}", error=unreachable("a/b")), FR) == (
        "Impossible de chercher dans cette collection : a/b ne peut pas être obtenu : "
        "la connexion au hub a échoué (ConnectError). Vérifiez le réseau et redémarrez."
    )
    nested = not_loaded("a/b", ModelError("{num_missing} of its weights are missing.", num_missing=3))
    assert str(nested).startswith("a/b cannot be loaded: 3 of its weights are missing. Choose another model")
    assert "a/b ne peut pas être chargé : 3 de ses poids manquent. Choisissez" in tr_message(nested, FR)


def test_an_error_keeps_its_message_on_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(damaged_picture("a {} b.jpg")))
    assert type(error) is PictureError and tr_message(error, FR) == tr_message(damaged_picture("a {} b.jpg"), FR)


@pytest.mark.parametrize("name", ["a {} b {0}.jpg", "50%.jpg", "line\nbreak.jpg", "<b>.jpg", "my dog has fun.jpg", ""])
def test_values_stay_as_they_are(name: str) -> None:
    message = PictureError("{name} does not exist. Check the path.", name=name)
    assert tr_message(message, FR) == f"{name} n'existe pas. Vérifiez le chemin."


def test_an_unknown_message_stays_english() -> None:
    assert tr_message(Message("Disk on fire: {place}", place="{}"), FR) == "Disk on fire: {}"


@pytest.mark.parametrize(("request_", "words"), [(FR, "ne peut pas être obtenu"), (EN, "cannot be had")])
def test_a_handlers_error_is_shown_in_the_visitors_language(request_: gr.Request, words: str) -> None:
    def handler(repo: str, request: gr.Request) -> None:
        raise unreachable(repo)

    with pytest.raises(gr.Error, match=f"^'a/b {words}"):
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
