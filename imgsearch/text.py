"""Any text as letters: what a collection, a file name or a model says steers neither the page nor the terminal."""

import json
import re
import unicodedata
from typing import Any

# Controls, terminal escapes, bidi marks and overrides, other invisible ones, halves of characters, ends of lines.
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's general categories
JOINERS = "\u200c\u200d"  # belong to the spelling of Persian, of Indian languages and of emoji
BREAKS = "\n\r\t"
STAND_IN = "\N{REPLACEMENT CHARACTER}"


def sanitise_line(text: str) -> str:
    """The text in one line, with a stand-in for each character that is not seen."""
    return _seen(re.sub(f"[{BREAKS}]+", " ", text), "")


def truncate(text: str, most: int) -> str:
    """`sanitise_line` of the text, cut to `most` characters; an ellipsis stands for the rest."""
    return sanitise_line(text) if len(text) <= most else f"{sanitise_line(text[:most])}…"


def sanitise_text(text: str) -> str:
    """The text with a stand-in for each character that is not seen, save tabs and the ends of lines."""
    return _seen(text, BREAKS)


def json_text(value: Any) -> str:
    """Readable JSON, in which each character that is not seen is escaped: it says the same to a program."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(json.dumps(sign)[1:-1] if sign != "\n" and _is_unseen(sign) else sign for sign in text)


def _seen(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(STAND_IN if sign not in kept and _is_unseen(sign) else sign for sign in text)


def _is_unseen(sign: str) -> bool:
    return not sign.isprintable() and sign not in JOINERS and unicodedata.category(sign) in UNSEEN
