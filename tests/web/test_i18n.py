"""The visitor's language: which it is and what is said in it."""

import gradio as gr
import pytest
from starlette.requests import Request

from imgsearch.errors import ModelError, not_loaded
from imgsearch.models.registry import STARTER_ID
from imgsearch.search.language import foreign_language
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

SIGLIP2 = "ViT-B-32-SigLIP2-256/webli"
UNREACHED = "the connection to the hub failed (ConnectError). Check the network and start again."


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


def test_the_notice_of_a_foreign_query_names_its_language() -> None:
    assert foreign_notice("fr", EN) == (
        "This model understands English only; the query seems to be French. Try it in English."
    )
    assert "semble être en allemand. Essayez-la en anglais" in foreign_notice("de", FR)


def test_the_queries_to_try_are_ones_that_the_model_understands() -> None:
    assert example_queries(SIGLIP2, FR)[0] == "un chien"
    assert example_queries(SIGLIP2, EN) == example_queries(STARTER_ID, FR) == example_queries("", FR)
    assert all(not foreign_language(STARTER_ID, query) for query in example_queries(STARTER_ID, FR))
