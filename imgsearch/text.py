"""Clean texts of collections, file names and models: invisible characters must not control the page or terminal."""

import codecs
import json
import re
import unicodedata
from typing import Any

# Control characters, terminal escapes, bidi marks and overrides, other invisible ones, surrogates, line separators.
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's general categories
JOINERS = "\u200c\u200d"  # needed to spell Persian, Indian languages and emoji
BREAKS = "\n\r\t"
STAND_IN = "\N{REPLACEMENT CHARACTER}"


def sanitise_line(text: str) -> str:
    """Return the text on one line, with a replacement character for each invisible one."""
    return _replace_invisible(re.sub(f"[{BREAKS}]+", " ", text), "")


def truncate(text: str, max_length: int) -> str:
    """Return `sanitise_line` of the first `max_length` characters; an ellipsis stands for the rest."""
    return sanitise_line(text) if len(text) <= max_length else f"{sanitise_line(text[:max_length])}…"


def sanitise_text(text: str) -> str:
    """Return the text with a replacement character for each invisible one, except tabs and line ends."""
    return _replace_invisible(text, BREAKS)


def decode_text(data: bytes) -> tuple[str, str]:
    """Return a text in UTF-8, or in UTF-16 with its mark, and what is wrong with it: "" if nothing is."""
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        return data.decode(encoding), ""
    except UnicodeDecodeError:
        return data.decode(encoding, errors="replace"), f"not UTF-8: {STAND_IN} stands for what is not"


def without_surrogates(text: str) -> str:
    """Return the text with "?" for each lone surrogate: JSON and file names can hold them, but UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def fold_accents(text: str) -> str:
    """Return the text in lower case and without accents: "Œufs à la coque" becomes "oeufs a la coque"."""
    text = text.casefold().replace("œ", "oe").replace("æ", "ae")
    # Letter by letter: for a run of accents `normalize` takes the square of its length.
    letters = text if text.isascii() else (part for letter in text for part in unicodedata.normalize("NFKD", letter))
    return "".join(part for part in letters if not unicodedata.combining(part))


def json_text(value: Any) -> str:
    """Return readable JSON with each invisible character escaped: a program reads the same value from it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(json.dumps(char)[1:-1] if char != "\n" and _is_invisible(char) else char for char in text)


def _replace_invisible(text: str, allowed: str) -> str:
    if text.isprintable():
        return text
    return "".join(STAND_IN if char not in allowed and _is_invisible(char) else char for char in text)


def _is_invisible(char: str) -> bool:
    return not char.isprintable() and char not in JOINERS and unicodedata.category(char) in UNSEEN
