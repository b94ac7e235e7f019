"""The visitor's language: which it is and what is said in it."""

import pickle
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from starlette.requests import Request

from imgsearch.errors import InputError, Message, ModelError, PictureError
from imgsearch.hub import explain_hub_error
from imgsearch.images import damaged_picture
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance
from imgsearch.models.encoder import STARTER_ID
from imgsearch.models.loading import not_loaded
from imgsearch.records import CAPTIONED_BY, GENERATED_CAPTION, Item, SearchResult
from imgsearch.search.query import foreign_language
from imgsearch.web.components.columns import offered_filters, shown_fields
from imgsearch.web.components.wall import notices
from imgsearch.web.handlers import with_error_messages
from imgsearch.web.i18n import (
    caption_of,
    example_queries,
    format_count,
    format_number,
    language_of,
    tr_message,
)
from imgsearch.web.page_state import PageState

SIGLIP2 = "ViT-B-32-SigLIP2-256/webli"
CLIP = "ViT-B-32-256/datacomp_s34b_b86k"


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
    counts = [format_count("picture", 1, FR), format_count("picture", 1200, FR), format_count("picture", 12, EN)]
    assert counts == ["1 image", "1\u202f200 images", "12 pictures"]
    assert (format_count("copy", 1, EN), format_count("copy", 3, FR)) == ("1 near-duplicate", "3 quasi-doublons")


def test_what_a_file_tells_of_its_picture_is_shown_to_visitors() -> None:
    columns = {"taken": "2019-05-04T12:30:00", "camera": "Canon EOS R5", "width": "48"}
    items = [Item(f"{number}.jpg", "", columns, "0" * 64, b"") for number in range(4)]
    assert shown_fields(items[0], FR)[:3] == [
        *(["Prise de vue", "4 mai 2019, 12:30"], ["Appareil", "Canon EOS R5"], ["Largeur", "48"])
    ]
    for text in ("2019-05-04", "long ago", "2019-99-99T12:30:00"):
        shown = shown_fields(replace(items[0], columns={"taken": text}), EN)[0]
        assert shown == ["Taken", "4 May 2019" if text == "2019-05-04" else text]
    items[0] = replace(items[0], columns={"taken": "2018-01-01", "camera": "NIKON D750", "width": "64"})
    items[1] = replace(items[0], id="1.jpg")
    index = Index.from_rows(np.ones((4, 1), np.float32), items, Provenance(encoder="test/encoder"))
    assert [column["name"] for column in offered_filters(index.columns, PageState(), EN)] == ["Camera"]


def test_a_message_is_translated_with_its_values() -> None:
    template = "The query has {num_characters:,} characters, at most {max_characters} are read. Shorten it."
    message = InputError(template, num_characters=1234, max_characters=500)
    assert str(message) == tr_message(message, EN) == template.format(num_characters=1234, max_characters=500)
    assert tr_message(message, FR) == "La requête a 1\u202f234 caractères, 500 au plus sont lus. Raccourcissez-la."


def unreachable(repo: str) -> ModelError:
    return ModelError("{repo} cannot be had: {why}", repo=repo, why=explain_hub_error(ConnectionError("no"), "model"))


def test_a_message_within_a_message_is_translated_too() -> None:
    assert tr_message(ModelError("This collection cannot be searched: {error}", error=unreachable("a/b")), FR) == (
        "Impossible de chercher dans cette collection : a/b ne peut pas être obtenu : "
        "la connexion au hub a échoué (ConnectionError). Vérifiez le réseau et redémarrez."
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
        with_error_messages(handler, "handler")("a/b", request_)


def test_the_notice_of_a_foreign_query_names_its_language() -> None:
    french, german = (SearchResult("", [], 0, language=language) for language in ("fr", "de"))
    assert notices(french, PageState(), EN)[0] == (
        "The query seems to be French, which this model hardly understands. Try it in English."
    )
    assert "semble être en allemand, que ce modèle comprend mal" in notices(german, PageState(), FR)[0]


def test_the_queries_to_try_are_ones_that_the_model_understands() -> None:
    assert example_queries(SIGLIP2, FR)[0] == example_queries(STARTER_ID, FR)[0] == "une fleur"
    assert example_queries(SIGLIP2, EN) == example_queries(CLIP, FR) == example_queries("", FR)
    assert all(not foreign_language(STARTER_ID, query) for query in example_queries(STARTER_ID, FR))


def test_a_caption_of_a_model_is_shown_where_there_is_no_other() -> None:
    columns = {GENERATED_CAPTION: "a dog", CAPTIONED_BY: "tiny/blip", "subject": "animals"}
    bare = Item("a.jpg", "", columns, "", b"")
    assert caption_of(bare, EN) == caption_of(bare, FR) == "a dog"
    assert shown_fields(bare, EN) == [["Described by", "tiny/blip"], ["Subject", "animals"], ["File", "a.jpg"]]
    assert shown_fields(bare, FR)[0] == ["Décrit par", "tiny/blip"]
    own = replace(bare, columns={**columns, "caption_fr": "un chien"})
    assert caption_of(own, FR) == "un chien" and caption_of(own, EN) == "a dog"
    for item in (own, replace(bare, caption="a person's")):
        assert shown_fields(item, FR) == [["Sujet", "animals"], ["Fichier", "a.jpg"]]
    items = [bare, replace(bare, columns={**columns, CAPTIONED_BY: "tiny/other"})] * 2
    index = Index.from_rows(np.ones((4, 1), np.float32), items, Provenance(encoder="test/encoder"))
    assert offered_filters(index.columns, PageState(), EN) == []
