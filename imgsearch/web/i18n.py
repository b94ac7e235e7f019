"""The page in the visitor's language: its words, numbers, examples and error messages.

Each language is one file in `locales/`. The sentences of errors stand in the code, in English; the files of the other
languages translate their templates.
"""

import json
import string
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from imgsearch.errors import Message
from imgsearch.records import Item
from imgsearch.search.query import understood_languages
from imgsearch.text import sanitise_text, truncate

DEFAULT = "en"
FILES = (Path(__file__).parent / "locales").glob("*.json")
LOCALES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted(FILES, key=lambda path: (path.stem != DEFAULT, path))
}
LANGUAGES: dict[str, str] = {code: locale["language"] for code, locale in LOCALES.items()}
MAX_CAPTION, MAX_CHOICE = 300, 100  # characters that are shown
MARKER = "__i18n__"  # begins what Gradio translates in the browser


def browser_translations() -> gr.I18n:
    """Return the words for Gradio, which translates them in the browser, by the browser's language."""
    return gr.I18n(**{code: locale["words"] for code, locale in LOCALES.items()})


def language_of(request: gr.Request | None) -> str:
    """Return the code of the visitor's language if the page speaks it, else of English."""
    accepted = (request.headers.get("accept-language") or "") if request else ""
    language = accepted[:2].lower()
    return language if language in LOCALES else DEFAULT


def tr(key: str, request: gr.Request | None) -> str:
    """Translate a word, for texts that the browser does not translate: messages and captions."""
    text: str = LOCALES[language_of(request)]["words"][key]
    return text


def tr_message(message: Message, request: gr.Request | None) -> str:
    """Translate a message of the library, and the messages that it quotes. Without a translation it stays English."""
    translations = LOCALES[language_of(request)].get("messages", {})
    template = translations.get(message.template, message.template)
    values = {
        name: tr_message(value, request) if isinstance(value, Message) else value
        for name, value in message.values.items()
    }
    return sanitise_text(_Formatter(request).vformat(template, (), values))


class _Formatter(string.Formatter):
    """Like `str.format`, with the visitor's signs in numbers that are grouped by thousands."""

    def __init__(self, request: gr.Request | None) -> None:
        self._request = request

    def format_field(self, value: Any, format_spec: str) -> str:
        text = str(super().format_field(value, format_spec))
        return _with_signs(text, self._request) if "," in format_spec else text


def format_number(value: float, request: gr.Request | None, decimals: int = 0) -> str:
    """Return a number as the visitor's language writes it: "1,540.5"."""
    return _with_signs(f"{value:,.{decimals}f}", request)


def format_date(text: str, request: gr.Request | None) -> str:
    """Return an ISO date or time in the visitor's language, "4 May 2019, 12:30"; what is none as it is."""
    with suppress(ValueError):
        date = datetime.fromisoformat(text)
        text = f"{date.day} {tr('months', request).split()[date.month - 1]} {date.year}{text[10:16].replace('T', ', ')}"
    return text


def format_count(noun: Literal["picture", "copy"], count: int, request: gr.Request | None) -> str:
    """Return "12 pictures" or "2 near-duplicates", in the visitor's language."""
    return tr(f"{noun}_one" if count == 1 else f"{noun}_many", request).format(format_number(count, request))


def caption_of(item: Item, request: gr.Request | None) -> str:
    """Return the beginning of an item's caption in the visitor's language, else of its only one, else of its id."""
    return truncate(item.columns.get(f"caption_{language_of(request)}") or item.any_caption or item.id, MAX_CAPTION)


def choice_of(text: str) -> tuple[str, str]:
    """Return a text of a collection as a choice of a menu: the label that is shown, and the text itself."""
    label = truncate(text, MAX_CHOICE).replace(MARKER, "_\N{ZERO WIDTH NON-JOINER}_i18n__")
    return label, text


def example_queries(model_id: str, request: gr.Request | None) -> list[str]:
    """Return queries to try: in the visitor's language if the encoder is known to understand it, else in English."""
    language = language_of(request)
    is_understood = language in (understood_languages(model_id) or ())
    examples: list[str] = LOCALES[language if is_understood else DEFAULT]["examples"]
    return examples


def _with_signs(number: str, request: gr.Request | None) -> str:
    return number.translate({ord(","): tr("thousands", request), ord("."): tr("decimal", request)})
