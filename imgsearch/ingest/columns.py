"""Find the picture, caption and id columns of a dataset by their types, and turn its records into `Picture`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from datasets import ClassLabel, Image, LargeList, List, Value

from imgsearch.errors import InputError
from imgsearch.ingest.folder import MAX_PICTURE_BYTES
from imgsearch.ingest.metadata import to_text
from imgsearch.records import Picture, Skip
from imgsearch.text import decode_text, without_surrogates

TEXTS = ("string", "large_string", "string_view")  # the types of texts
NOTE = "__note__"  # the key of what is lost beside the picture of a row
Row = Mapping[str, Any]  # values by column; texts may be undecoded, as they may not be UTF-8


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

    def used(self) -> list[str]:
        """Return the outermost columns to read."""
        names = (self.image, self.caption, self.id, *self.kept)
        return list(dict.fromkeys(_resolve(self.features, name)[0][0] for name in names if name))

    def check(self, file: str, features: Mapping[str, Any]) -> None:
        """Raise InputError if one of several files has other types of columns than these."""
        features = dict(self.features) | {name: kind for name, kind in features.items() if kind != Value("null")}
        find_columns(file, features, DatasetOptions("", "", "", self.image, self.caption, self.kept, self.id))

    def value(self, row: Row, name: str) -> Any:
        """Return the value of a column, which may be one of a struct or of each struct of a list."""
        column, *inner = [name] if name in row else _resolve(self.features, name)[0]
        value = row.get(column)
        for key in inner:
            values = [
                item.get(key) for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)
            ]
            value = values if isinstance(value, list) else values[0] if values else None
        return value

    def entry(self, key: str, row: Row) -> Picture | Skip:
        """Turn a row into a picture. `key` is used if there is no column of ids."""
        if self.id:
            given, problem = self._text(self.value(row, self.id), self.id)
            if not given or problem or given != without_surrogates(given):
                return Skip(key, f"its {self.id} is {'not UTF-8' if given else 'empty'}")
            key = given
        value = row.get(self.image)
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            has_path = isinstance(value, dict) and value.get("path")
            return Skip(key, "it holds no bytes, only a path, which is not opened" if has_path else "it holds no bytes")
        if len(data) > MAX_PICTURE_BYTES:
            return Skip(key, f"larger than {MAX_PICTURE_BYTES // 2**20} MB")
        columns = {name: without_surrogates(self._text(self.value(row, name), name)[0]) for name in self.kept}
        caption = self.value(row, self.caption) if self.caption else None
        if isinstance(caption, list):  # several captions for one picture: take the first
            caption = caption[0] if caption else None
        text, problem = self._text(caption, self.caption) if self.caption else ("", "")
        notes = [row.get(NOTE), problem and f"its caption is {problem}"]
        return Picture(
            key, partial(bytes, data), without_surrogates(text), columns, note="; ".join(filter(None, notes))
        )

    def _text(self, value: Any, name: str) -> tuple[str, str]:
        """Return a value as text, and what is wrong with it: a class as its name, anything that is no text as JSON."""
        feature = _resolve(self.features, name)[1]
        if isinstance(feature, ClassLabel) and isinstance(value, int):
            return str(feature.names[value]) if 0 <= value < len(feature.names) else "", ""
        return decode_text(value) if isinstance(value, bytes) else (to_text(value), "")


def find_columns(name: str, features: Mapping[str, Any], options: DatasetOptions) -> ColumnMapping:
    """Check the columns that `options` names; find the others by their type.

    Raise InputError if a column is missing or of the wrong type, or if several are possible.
    """
    image, caption = options.image_column, options.caption_column
    texts = [column for column in (caption, *options.columns, options.id_column) if column]
    listed = f"Its columns are: {', '.join(features) or 'none'}."
    for column in [image, *texts] if image else texts:
        if not _resolve(features, column)[0]:
            raise InputError("{name} has no column {column!r}. {listed}", name=name, column=column, listed=listed)
    for column in texts:
        if not _is_textual(_resolve(features, column)[1]):
            raise InputError(
                "The column {column!r} of {name} holds no text. {listed}", column=column, name=name, listed=listed
            )
    if caption is None or isinstance(_inner(_resolve(features, caption)[1]), dict):
        names = [column for column in features if column not in texts] if caption is None else [caption]
        caption = _find_caption(name, features, names) or caption or ""
    image = _find_image(name, features, image, listed)
    return ColumnMapping(features, image, caption, options.columns, options.id_column)


def _find_image(name: str, features: Mapping[str, Any], image: str, listed: str) -> str:
    wanted = {column: features.get(column) for column in ([image] if image else features)}
    binary = [column for column, feature in wanted.items() if _holds_bytes(feature)]
    images = [column for column in binary if isinstance(wanted[column], Image)] or binary
    lists = [column for column, feature in wanted.items() if _holds_bytes(_inner(feature))]
    if not images and lists:
        raise InputError(
            "The column {column!r} of {name} holds lists of pictures. Give each picture a row of its own.",
            column=lists[0],
            name=name,
        )
    if not images and image:
        raise InputError(
            "The column {image!r} of {name} holds no pictures. {listed}", image=image, name=name, listed=listed
        )
    if not images:
        raise InputError("{name} has no column of pictures. {listed}", name=name, listed=listed)
    if len(images) > 1:
        raise InputError(
            "{name} has several columns of pictures. Choose with --image-column: {columns}.",
            name=name,
            columns=", ".join(images),
        )
    return images[0]


def _find_caption(name: str, features: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return the only one of the columns that holds texts, or else the only text in their structs; "" if none."""
    kinds = {column: _resolve(features, column)[1] for column in columns if not column.startswith("__")}
    found = [column for column, kind in kinds.items() if _is_text(_inner(kind))]
    if not found:
        leaves = dict(leaf for column, kind in kinds.items() for leaf in _text_leaves(column, kind))
        found = [leaf for leaf, is_list in leaves.items() if not is_list] or list(leaves)
        found = [leaf for leaf in found if leaf.endswith(".caption")] or found
    if len(found) > 1:
        raise InputError(
            "{name} has several columns of text. Choose with --caption-column: {columns}; or give "
            '--caption-column "" for none.',
            name=name,
            columns=", ".join(found),
        )
    return "".join(found)


def _text_leaves(column: str, feature: Any) -> Iterator[tuple[str, bool]]:
    """Yield the dotted name of each text in a struct, and True if it is a list of texts."""
    inner = _inner(feature)
    if isinstance(inner, dict) and not _holds_bytes(inner):
        for name, kind in inner.items():
            yield from _text_leaves(f"{column}.{name}", kind)
    elif _is_text(inner):
        yield column, inner is not feature


def _resolve(features: Mapping[str, Any], name: str) -> tuple[list[str], Any]:
    """Return the path to a column, ["sentences", "raw"] for "sentences.raw", and its feature; [] if there is none."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        column, *inner = path = [".".join(parts[:end]), *parts[end:]]
        with suppress(KeyError, TypeError):
            feature = features[column]
            for part in inner:
                feature = _inner(feature)[part]
            return path, feature
    return [], None


def _inner(feature: Any) -> Any:
    return feature.feature if isinstance(feature, List | LargeList) else feature


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


def _is_text(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype in TEXTS
