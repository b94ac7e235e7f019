"""The words of the interface in the visitor's language: looked up, counted, filled in."""

import re
from functools import cache

import gradio as gr

from imgsearch.records import Item
from imgsearch.search.language import understood_languages
from imgsearch.text import sanitise_text, truncate
from imgsearch.web.words import EXAMPLES, LANGUAGES, MESSAGES, WORDS

CODES = tuple(LANGUAGES)
MAX_MESSAGE = 1000  # characters: to fit a longer one into the patterns may take minutes
MAX_CAPTION, MAX_CHOICE = 300, 100  # characters that are shown
MARKER = "__i18n__"  # begins what Gradio translates in the browser


def browser_translations() -> gr.I18n:
    """The words as Gradio translates them in the browser, by its language."""
    return gr.I18n(**{code: {key: texts[i] for key, texts in WORDS.items()} for i, code in enumerate(CODES)})


def language_of(request: gr.Request | None) -> str:
    """The visitor's language if the interface speaks it, else the default."""
    accepted = (request.headers.get("accept-language") or "") if request else ""
    language = accepted[:2].lower()
    return language if language in CODES else CODES[0]


def tr(key: str, request: gr.Request | None) -> str:
    """A word in the visitor's language, for what the browser does not translate: messages and captions."""
    return WORDS[key][_column(request)]


def format_number(value: float, request: gr.Request | None, decimals: int = 0) -> str:
    """ "1,540.5", as the visitor's language writes it."""
    signs = {",": tr("thousands", request), ".": tr("decimal", request)}
    return "".join(signs.get(character, character) for character in f"{value:,.{decimals}f}")


def format_num_pictures(count: int, request: gr.Request | None) -> str:
    """ "12 pictures", in the visitor's language."""
    return tr("picture_count" if count == 1 else "pictures_count", request).format(format_number(count, request))


def caption_of(item: Item, request: gr.Request | None) -> str:
    """The beginning of an item's caption in the visitor's language, else of the one there is, else of its id."""
    return truncate(item.columns.get(f"caption_{language_of(request)}") or item.caption or item.id, MAX_CAPTION)


def choice_of(text: str) -> tuple[str, str]:
    """A text of a collection as a choice of a menu: what is shown of it, and its value, which stays as it is."""
    shown = truncate(text, MAX_CHOICE).replace(MARKER, "_\N{ZERO WIDTH NON-JOINER}_i18n__")
    return shown, text


def format_num_duplicates(count: int, request: gr.Request | None) -> str:
    """ "2 near-duplicates", in the visitor's language."""
    return tr("copy_count" if count == 1 else "copies_count", request).format(format_number(count, request))


def tr_message(message: str, request: gr.Request | None) -> str:
    """What the library says, as letters, in the visitor's language; in English where MESSAGES does not have it."""
    column = _column(request)
    return sanitise_text(_filled(message, column) if column else message)


def foreign_notice(language: str, request: gr.Request | None) -> str:
    """What to say of a query in a language that the encoder does not understand."""
    return tr("foreign_query", request).format(tr(f"language_{language}", request))


def example_queries(model_id: str, request: gr.Request | None) -> list[str]:
    """Queries to try: in the visitor's language where the encoder is known to understand it, else in English."""
    language = language_of(request)
    column = CODES.index(language) if language in (understood_languages(model_id) or ()) else 0
    return [texts[column] for texts in EXAMPLES]


def _column(request: gr.Request | None) -> int:
    return CODES.index(language_of(request))


def _filled(message: str, column: int) -> str:
    """A message in the language of a column, and so what is filled into it: one message may quote another."""
    if len(message) > MAX_MESSAGE:
        return message
    for pattern, texts in _patterns():
        if match := pattern.fullmatch(message):
            return texts[column].format(*(_filled(part, column) for part in match.groups()))
    is_number = re.fullmatch(r"\d{1,3}(,\d{3})+", message)
    return message.replace(",", WORDS["thousands"][column]) if is_number else message


@cache
def _patterns() -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
    """A pattern for each message, the one that says most first: a general one fits what a special one says, too."""
    rows = sorted(MESSAGES, key=lambda texts: len(texts[0].replace("{}", "")), reverse=True)
    return [(re.compile(re.escape(texts[0]).replace(r"\{\}", "(.*?)"), re.DOTALL), texts) for texts in rows]
