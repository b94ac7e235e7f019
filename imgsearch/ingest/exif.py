"""Read what a file tells of its picture beside the pixels, as columns: date, camera, lens, size and, if asked, place.

XMP is searched for the usual names: no XML is parsed.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from html import unescape
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from imgsearch.errors import PictureError
from imgsearch.images import opened
from imgsearch.ingest.source import BuildOptions
from imgsearch.records import TAKEN
from imgsearch.text import sanitise_line

PLACE = "place"
COLUMNS = (TAKEN, "camera", "lens", "width", "height", PLACE)  # if they are read, the last three are there
# Columns of users that give the date, the likeliest first; in small letters, without "_".
DATE_NAMES = ("datetaken", "takenat", "datetimeoriginal", "date", "datetime", "timestamp", "created", "createdat")
FIRST_YEAR, UNSET = 1826, "1970-01-01"  # of photography; what programs write that know no date
DATE = re.compile(r"\s*(\d{4})[-:/.](\d\d)[-:/.](\d\d)(?:[T ]+(\d\d:\d\d)(:\d\d)?)?(?!\d)", re.ASCII)
ANGLE = re.compile(r"(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])", re.ASCII)
TAGS = (Base.Make, Base.Model, Base.Orientation, Base.LensModel, Base.DateTimeOriginal, Base.DateTimeDigitized)
PLACE_TAGS = (GPS.GPSLatitudeRef, GPS.GPSLatitude, GPS.GPSLongitudeRef, GPS.GPSLongitude)
DATES = ("DateTimeOriginal", "DateTimeDigitized", "DateCreated", "CreateDate")
NAMES = "|".join(("Make", "Model", "Orientation", "LensModel", "Lens", "GPSLatitude", "GPSLongitude", *DATES))
XMP = re.compile(rf"[<\s](?:tiff|exif|exifEX|aux|photoshop|xmp):({NAMES})\s*(?:=\s*[\"']|>)\s*([^\"'<]*)")
MAX_XMP, MAX_VALUE = 2**20, 200  # bytes: of all fields, of one value


def columns_of(own: Mapping[str, str], data: bytes, options: BuildOptions) -> Mapping[str, str]:
    """Return an item's own columns and, where their names are free, those of its file and the date among its own."""
    if not options.exif:
        return own
    date = _own_date(own)
    return {**own, **({TAKEN: date} if date else {}), **_read(data, options.places), **own}


def kept_columns(own: Mapping[str, str], old: Mapping[str, str], options: BuildOptions) -> Mapping[str, str] | None:
    """Do the same for an item with the `old` columns whose file has not changed; None if it must be read for that."""
    if not options.exif:
        return own
    names = COLUMNS if options.places else COLUMNS[:-1]
    if not old.keys() >= {*names[3:]} or _own_date(own) != _own_date(old):
        return None
    return {**own, **{name: old[name] for name in names if name in old}, **own}


def _own_date(own: Mapping[str, str]) -> str:
    texts = {name.lower().replace("_", ""): text for name, text in own.items()}
    return next(filter(None, (iso_date(texts.get(name, "")) for name in DATE_NAMES)), "")


def iso_date(text: str) -> str:
    """Return a date of ISO or EXIF as "2019-05-04T12:30:00", "2019-05-04" if it has no time; "" if it is wrong."""
    match = DATE.match(text)
    date = "-".join(match.group(1, 2, 3)) + (f"T{match[4]}{match[5] or ':00'}" if match[4] else "") if match else ""
    with suppress(ValueError):
        if FIRST_YEAR <= datetime.fromisoformat(date).year <= datetime.now(UTC).year + 1 and date[:10] != UNSET:
            return date
    return ""


def _read(data: bytes, places: bool) -> dict[str, str]:
    """Return what the header of a file tells; with `places` also an empty PLACE, so that an update need not look."""
    found: dict[str, str] = {}
    with suppress(PictureError), opened(data, "It", has_pixels=False) as image:
        exif = _of_exif(image)
        text = (image.info.get("xmp") or b"")[:MAX_XMP].decode(errors="replace")
        xmp = {name: unescape(value[:MAX_VALUE]) for name, value in XMP.findall(text)}
        dates = (iso_date(source.get(name, "")) for source in (exif, xmp) for name in DATES)
        known = {name: " ".join(sanitise_line(text).split()) for name, text in (xmp | exif).items()}
        make, model = known.get("Make", ""), known.get("Model", "")  # such as "Canon" and "Canon EOS R5"
        is_named = model.lower().startswith(make.lower().partition(" ")[0])
        is_turned = image.format != "TIFF" and known.get("Orientation") in ("5", "6", "7", "8")  # Pillow turns TIFF
        found = {
            TAKEN: next(filter(None, dates), ""),
            "camera": model if is_named else f"{make} {model}".strip(),
            "lens": known.get("LensModel") or known.get("Lens", ""),
            **dict(zip(("width", "height"), map(str, image.size[:: -1 if is_turned else 1]), strict=True)),
            PLACE: _place(known) if places else "",
        }
    return {name: text for name, text in found.items() if text or (places and name == PLACE)}


def _of_exif(image: Image.Image) -> dict[str, str]:
    """Return the texts of the entries by their names; nothing of what is damaged."""
    found: dict[str, str] = {}
    with suppress(Exception):  # on damaged data Pillow raises almost anything
        exif = image.getexif()
        lists = ((exif, TAGS), (exif.get_ifd(IFD.Exif), TAGS), (exif.get_ifd(IFD.GPSInfo), PLACE_TAGS))
        for values, tags in lists:
            for tag in tags:
                if tag in values and tag.name not in found:
                    found[tag.name] = _text(values[tag])
    return found


def _text(value: Any) -> str:
    """Return a text, or numbers with commas between."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, tuple):
        return ",".join(f"{float(number):.6f}" for number in value)
    return str(value)[:MAX_VALUE].partition("\0")[0]


def _place(source: Mapping[str, str]) -> str:
    """Return "48.86,2.35"; "" if an angle is missing or impossible, or if both are 0, as without a signal."""
    angles = []
    for name, signs, limit in (("GPSLatitude", "NS", 90), ("GPSLongitude", "EW", 180)):
        match = ANGLE.fullmatch(source.get(name, "") + source.get(f"{name}Ref", ""))
        angle = sum(float(match[unit] or 0) / 60 ** (unit - 1) for unit in (1, 2, 3)) if match else limit + 1
        if not match or match[4] not in signs or angle > limit:
            return ""
        angles.append(round(angle if match[4] == signs[0] else -angle, 2) + 0.0)  # "0.00", not "-0.00"
    return "{:.2f},{:.2f}".format(*angles) if any(angles) else ""
