"""What the columns of a dataset mean, by the types of their features, and a row of it as an undecoded picture."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from datasets import ClassLabel, Features, Image, LargeList, List, Value

from imgsearch.errors import InputError
from imgsearch.ingest.folder import MAX_PICTURE_BYTES
from imgsearch.records import Picture, Skip

TEXTS = {"string": "binary", "large_string": "large_binary"}  # what they are read as


@dataclass(frozen=True)
class DatasetOptions:
    """Which part of a dataset is read, and what its columns mean. Each is named like its flag."""

    config: str = ""
    split: str = ""
    revision: str = ""
    image_column: str = ""  # "": the only one that holds pictures
    caption_column: str | None = None  # None: the only one that holds text; "": none
    columns: tuple[str, ...] = ()  # kept as text
    id_column: str = ""  # "": SPLIT/row number
    streaming: bool = False


@dataclass(frozen=True)
class ColumnMapping:
    """The columns of a dataset that are read. Of a row only bytes are trusted: a path in it is never opened."""

    features: Mapping[str, Any]
    image: str
    caption: str  # "" for none
    kept: tuple[str, ...]
    id: str  # "" for the row's number

    def to_json(self) -> dict[str, str]:
        kept = json.dumps(self.kept)
        return {"image_column": self.image, "caption_column": self.caption, "columns": kept, "id_column": self.id}

    def stored(self) -> Features:
        """The features as which they are read: pictures not decoded, texts not yet, for they may be no UTF-8."""
        used = dict.fromkeys(name for name in (self.image, self.caption, self.id, *self.kept) if name)
        return Features({name: _stored(self.features[name]) for name in used})

    def entry(self, id: str, row: Mapping[str, Any]) -> Picture | Skip:
        """A row, read as `stored` says, as a picture; `id` is its number, for where no column gives one."""
        if self.id:
            given = _text(row[self.id], self.features[self.id])
            if not given or given != _clean(given):
                return Skip(id, f"its {self.id} is {'not UTF-8' if given else 'empty'}")
            id = given
        value = row[self.image]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            has_path = isinstance(value, dict) and value.get("path")
            return Skip(id, "it holds no bytes, only a path, which is not opened" if has_path else "it holds no bytes")
        if len(data) > MAX_PICTURE_BYTES:
            return Skip(id, f"larger than {MAX_PICTURE_BYTES // 2**20} MB")
        columns = {name: _clean(_text(row[name], self.features[name])) for name in self.kept}
        caption = row[self.caption] if self.caption else None
        if isinstance(caption, list):  # several for one picture
            caption = caption[0] if caption else None
        text = _clean(_text(caption, self.features[self.caption])) if self.caption else ""
        return Picture(id, partial(bytes, data), text, columns)


def find_columns(
    name: str, features: Mapping[str, Any], image: str, caption: str | None, kept: tuple[str, ...], id: str
) -> ColumnMapping:
    """The columns as named; the image column "" and the caption column None are found by type.

    Raises InputError where one is not there, is of another type, or could be any of several.
    """
    texts = [column for column in (caption, *kept, id) if column]
    listed = f"Its columns are: {', '.join(features) or 'none'}."
    for column in [image, *texts] if image else texts:
        if column not in features:
            raise InputError("{name} has no column {column!r}. {listed}", name=name, column=column, listed=listed)
    for column in texts:
        if not _is_textual(features[column]):
            raise InputError(
                "The column {column!r} of {name} holds no text. {listed}", column=column, name=name, listed=listed
            )
    binary = [column for column, feature in features.items() if _holds_bytes(feature)]
    images = [column for column in binary if isinstance(features[column], Image)] or binary
    if image and image not in binary:
        raise InputError(
            "The column {image!r} of {name} holds no pictures. {listed}", image=image, name=name, listed=listed
        )
    if not images:
        raise InputError("{name} has no column of pictures. {listed}", name=name, listed=listed)
    if not image and len(images) > 1:
        raise InputError(
            "{name} has several columns of pictures. Choose with --image-column: {columns}.",
            name=name,
            columns=", ".join(images),
        )
    if caption is None:
        found = [column for column, feature in features.items() if _is_caption(column, feature) and column not in texts]
        if len(found) > 1:
            raise InputError(
                "{name} has several columns of text. Choose with --caption-column: {columns}; or give "
                '--caption-column "" for none.',
                name=name,
                columns=", ".join(found),
            )
        caption = "".join(found)
    return ColumnMapping(features, image or images[0], caption, kept, id)


def _holds_bytes(feature: Any) -> bool:
    if isinstance(feature, dict):
        return "bytes" in feature and _holds_bytes(feature["bytes"])
    return isinstance(feature, Image) or (isinstance(feature, Value) and "binary" in feature.dtype)


def _is_textual(feature: Any) -> bool:
    if isinstance(feature, dict):
        return all(map(_is_textual, feature.values()))
    if isinstance(feature, List | LargeList):
        return _is_textual(feature.feature)
    return isinstance(feature, ClassLabel) or (isinstance(feature, Value) and "binary" not in feature.dtype)


def _is_caption(column: str, feature: Any) -> bool:
    feature = feature.feature if isinstance(feature, List | LargeList) else feature
    return not column.startswith("__") and isinstance(feature, Value) and feature.dtype in TEXTS


def _stored(feature: Any) -> Any:
    if isinstance(feature, Image):
        return {"bytes": Value("binary"), "path": Value("binary")}
    if isinstance(feature, dict):
        return {name: _stored(inner) for name, inner in feature.items()}
    if isinstance(feature, List | LargeList):
        return type(feature)(_stored(feature.feature))
    return Value(TEXTS[feature.dtype]) if isinstance(feature, Value) and feature.dtype in TEXTS else feature


def _text(value: Any, feature: Any) -> str:
    """A value as text: a class by its name, nothing as "", what is no text as JSON."""
    if value is None:
        return ""
    if isinstance(feature, ClassLabel):
        return str(feature.names[value]) if 0 <= value < len(feature.names) else ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    plain = value if isinstance(value, str | int | float | list | dict) else _plain(value)
    return (
        plain
        if isinstance(plain, str)
        else json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=_plain)
    )


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _clean(text: str) -> str:
    """Without lone surrogates, which the JSON of a tar can spell and nothing can store."""
    return text.encode(errors="replace").decode()
