"""What reads a text of a client or of a collection takes time in proportion to its length, whatever the text is."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from imgsearch.errors import InputError, Message
from imgsearch.index.filters import Condition
from imgsearch.index.index import Index
from imgsearch.index.items import Items
from imgsearch.index.manifest import Provenance
from imgsearch.models.colours import text_colours
from imgsearch.models.encoder import Encoder
from imgsearch.models.language import is_french, to_english
from imgsearch.records import Hit, Item, SearchResult
from imgsearch.search.words import WordIndex
from imgsearch.text import fold_accents, json_text, sanitise_line, sanitise_text, truncate, without_surrogates
from imgsearch.web.i18n import caption_of, choice_of, tr_message
from imgsearch.web.page_state import PageState, parse_box

SHORT, LONG = 2**14, 2**20  # characters
MIN_S = 0.002  # the clock and the memory of a shorter time tell nothing
SPARE = 3  # by which factor a time may grow more than the text
PIECES = [
    *(
        " ",
        "\n",
        " \t\r\n",
        '"',
        "'",
        ";\n\"' ",
        ":",
        ":..",
        "~",
        "7",
        "1e",
        ",",
        "-",
        "{}",
        "%",
        "x, ",
        "&part=1:text:a",
    ),
    *("a", "a'a'a'", "ß", "Σ'", "eaux ", "un chien ", "日本", "👩\u200d🌾", "\ufdfa", "\x1b\u202e", "_a"),
    *("\u0301\u0316", "\u0f73", "a\u0301\u0316", "on a plain ", "sur fond ", "this looks like "),
]


def index_of(text: str) -> Index:
    item = Item("a", text, {"text": text}, "", b"")
    return Index.from_rows(np.ones((1, 1), np.float32), [item], Provenance(encoder="test/encoder"))


def search_words(text: str) -> None:
    WordIndex.of(index_of(text)).shares(text)


def filtered(relation: Any, value: str) -> Callable[[str], None]:
    def mask(text: str) -> None:
        index_of(text).columns.mask([Condition("caption", relation, value)])

    return mask


def parse(text: str) -> None:
    with suppress(InputError):
        Condition.parse(text)


def contains(text: str) -> None:
    with suppress(InputError):
        Condition("caption", "contains", text)


def box(text: str) -> None:
    with suppress(ValueError):
        parse_box(text)


def export(text: str) -> None:
    SearchResult("", [Hit(1, Item(text, text, {text: text}, "", b""), 0.5)], 0.0).to_csv()


READERS: list[Callable[[str], object]] = [
    *(sanitise_line, sanitise_text, without_surrogates, fold_accents, json_text, lambda text: truncate(text, 300)),
    lambda text: to_english(text[: len(text) // 8]),  # each word takes much more time than anywhere else
    *(is_french, text_colours, search_words),
    *(filtered("contains", "a"), filtered("equals", "a"), filtered("range", "1..2"), contains, parse, export),
    *(PageState.from_link, lambda text: PageState("search", text=text, where=(text,)).to_link(), box),
    *(lambda text: tr_message(Message("{a} {b!r}", a=text, b=text), None), choice_of),
    *(
        lambda text: caption_of(Item(text, text, {}, "", b""), None),
        lambda text: Items.of([Item(text, text, {}, "", b"")]),
    ),
]


def seconds(reader: Callable[[str], object], text: str) -> float:
    """The time of this thread, whatever else the machine does."""
    start = time.thread_time()
    reader(text)
    return time.thread_time() - start


def check_linear(reader: Callable[[str], object], piece: str, length: int) -> None:
    short, long = ((piece * (size // len(piece) + 1))[:size] for size in (SHORT, length))
    limit_s = max(seconds(reader, short), MIN_S) * SPARE * length / SHORT
    assert seconds(reader, long) < limit_s, f"{piece!r} {limit_s}"


@pytest.mark.parametrize("length", [8 * SHORT, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("reader", READERS, ids=[getattr(reader, "__qualname__", "") for reader in READERS])
def test_a_long_text_takes_time_in_proportion(reader: Callable[[str], object], length: int) -> None:
    reader("été")  # what is loaded once is there
    for piece in PIECES:
        check_linear(reader, piece, length)


@pytest.mark.parametrize("length", [8 * SHORT, pytest.param(LONG, marks=pytest.mark.long)])
def test_an_encoder_takes_time_in_proportion(tiny_encoder: Encoder, length: int) -> None:
    for read in (lambda text: tiny_encoder.encode_texts([text]), tiny_encoder.truncated_tail):
        read("été")
        for piece in PIECES:
            check_linear(read, piece, length)
