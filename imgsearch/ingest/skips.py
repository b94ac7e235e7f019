"""Say what the files are that are not indexed, in a report that stays short."""

from collections import Counter
from collections.abc import Iterable, Iterator

from imgsearch.records import Skip

MAX_ALIKE = 10  # notes of one reason that are listed one by one
OTHER_KINDS = {  # by the ending, or by the whole name of a file without one
    "a table, not a picture. Captions are read from metadata.csv and metadata.jsonl": "csv tsv json jsonl xls xlsx ods",
    "a text, not a picture": "txt md rst rtf htm html xml log pdf doc docx odt license licence readme copying notice",
    "a video or a sound, not a picture": "mov mp4 m4v avi mkv webm mpg mpeg mts 3gp wmv mp3 m4a wav aac flac ogg",
    "the notes of another program, not a picture": "xmp aae ini db yaml yml toml lock",
    "an archive, not a picture. Unpack it": "zip 7z rar gz tgz bz2 xz",
    "a dataset, not a picture. Build it by itself": "parquet arrow tar",
}
_KIND_OF = {ending: kind for kind, endings in OTHER_KINDS.items() for ending in endings.split()}


def other_kind(name: str) -> str:
    """Return what a file that is no picture is by its name; "" if the name does not say it."""
    return _KIND_OF.get(name.rpartition("/")[2].rpartition(".")[2].lower(), "")


def shorten(skips: Iterable[Skip]) -> Iterator[Skip]:
    """Yield the skips; of more than MAX_ALIKE notes of one reason only the first, with the number of the others."""
    skips = list(skips)
    left = Counter(skip.reason for skip in skips if skip.is_note)
    for skip in skips:
        count = left.get(skip.reason, 0) if skip.is_note else 1
        if count > MAX_ALIKE:
            left[skip.reason] = 0
            yield Skip(f"{skip.picture} and {count - 1} more", skip.reason, True)
        elif count:
            yield skip
