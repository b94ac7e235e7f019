"""Find the picture, caption and id columns of a dataset by their types, and turn its records into `Picture`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from datasets import ClassLabel, Features, Image, LargeList, List, Value

from imgsearch.errors import InputError
from imgsearch.ingest.folder import MAX_PICTURE_BYTES
from imgsearch.ingest.metadata import to_text
from imgsearch.records import Picture, Skip
from imgsearch.text import without_surrogates

TEXTS = {"string": "binary", "large_string": "large_binary"}  # text types, and the types that they are read as


@dataclass(frozen=True)
class DatasetOptions:
    """Which part of a dataset to read, and what its columns mean. Each field has the name of its flag."""

    config: str = ""
    split: str = ""
    revision: str = ""
    image_column: str = ""  # "": the only column of pictures
    caption_column: str | None = None  # None: the only column of text; "": no captions
    columns: tuple[str, ...] = ()  # other columns to keep, as text
    id_column: str = ""  # "": SPLIT/row number
    streaming: bool = False


@dataclass(frozen=True)
class ColumnMapping:
    """The columns of a dataset that are read. Only bytes in a record are used: a path in it is never opened."""

    features: Mapping[str, Any]
    image: str
    caption: str  # "": no captions
    kept: tuple[str, ...]
    id: str  # "": number the records

    def to_json(self) -> dict[str, str]:
        kept = json.dumps(self.kept)
        return {"image_column": self.image, "caption_column": self.caption, "columns": kept, "id_column": self.id}

    def stored(self) -> Features:
        """Return the features to read with: pictures undecoded and texts as bytes, which may not be UTF-8."""
        used = dict.fromkeys(name for name in (self.image, self.caption, self.id, *self.kept) if name)
        return Features({name: _stored_feature(self.features[name]) for name in used})

    def entry(self, key: str, record: Mapping[str, Any]) -> Picture | Skip:
        """Turn a record, read as `stored` says, into a picture. `key` is used if there is no column of ids."""
        if self.id:
            given = _to_text(record[self.id], self.features[self.id])
            if not given or given != without_surrogates(given):
                return Skip(key, f"its {self.id} is {'not UTF-8' if given else 'empty'}")
            key = given
        value = record[self.image]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            has_path = isinstance(value, dict) and value.get("path")
            return Skip(key, "it holds no bytes, only a path, which is not opened" if has_path else "it holds no bytes")
        if len(data) > MAX_PICTURE_BYTES:
            return Skip(key, f"larger than {MAX_PICTURE_BYTES // 2**20} MB")
        columns = {name: without_surrogates(_to_text(record[name], self.features[name])) for name in self.kept}
        caption = record[self.caption] if self.caption else None
        if isinstance(caption, list):  # several captions for one picture: take the first
            caption = caption[0] if caption else None
        text = without_surrogates(_to_text(caption, self.features[self.caption])) if self.caption else ""
        return Picture(key, partial(bytes, data), text, columns)


def find_columns(name: str, features: Mapping[str, Any], options: DatasetOptions) -> ColumnMapping:
    """Check the columns that `options` names; find the others by their type.

    Raise InputError if a column is missing or of the wrong type, or if several are possible.
    """
    image, caption = options.image_column, options.caption_column
    texts = [column for column in (caption, *options.columns, options.id_column) if column]
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
    return ColumnMapping(features, image or images[0], caption, options.columns, options.id_column)


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


def _stored_feature(feature: Any) -> Any:
    if isinstance(feature, Image):
        return {"bytes": Value("binary"), "path": Value("binary")}
    if isinstance(feature, dict):
        return {name: _stored_feature(inner) for name, inner in feature.items()}
    if isinstance(feature, List | LargeList):
        return type(feature)(_stored_feature(feature.feature))
    return Value(TEXTS[feature.dtype]) if isinstance(feature, Value) and feature.dtype in TEXTS else feature


def _to_text(value: Any, feature: Any) -> str:
    """Return a value as text: a class as its name, any other as `to_text` does."""
    if isinstance(feature, ClassLabel) and value is not None:
        return str(feature.names[value]) if 0 <= value < len(feature.names) else ""
    return to_text(value)
