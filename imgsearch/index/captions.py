"""Captions that a model wrote: put into columns of a bundle's items and kept by an update; all captions exported."""

import csv
import json
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from imgsearch.embeddings import OnProgress
from imgsearch.errors import InputError, ModelError, PictureError
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.edit import whole_file
from imgsearch.index.index import Block, Index, write_bundle
from imgsearch.index.items import COLUMNS, MAX_TEXT, Items, bounded
from imgsearch.records import CAPTIONED_BY, GENERATED_CAPTION, Item, Skip, csv_cell
from imgsearch.text import sanitise_text, truncate, without_surrogates

OWN = (GENERATED_CAPTION, CAPTIONED_BY)  # the columns
NOTES = "captions.jsonl"  # in the work folder: what an interrupted run has written
NOTE = TypeAdapter(tuple[str, str, str])  # a line: digest of the picture, caption, model
Captions = Mapping[str, tuple[str, str]]  # and the models that wrote them, by the digest of the picture


def add_captions(
    bundle: Path, describe: Callable[[bytes], str], model: str, on_progress: OnProgress
) -> tuple[int, list[Skip]]:
    """Describe the items without a caption. Return the number of those that have one now, and the pictures left out.

    If that ends early, the next call goes on at the next picture. Raise ModelError if `describe` fails; BundleError;
    InputError if the bundle cannot be written.
    """
    with bundle_writer(bundle) as work:
        index, notes, skips = Index.load(bundle), work / NOTES, list[Skip]()
        captions = dict(_read_notes(notes))
        bare = [(sha256, row) for row, (sha256, is_bare, _) in enumerate(_facts(index.items.batches)) if is_bare]
        todo = {sha256: row for sha256, row in bare if sha256 not in captions}  # equal pictures once
        with notes.open("a", encoding="utf-8") as file:
            for done, (sha256, row) in enumerate(todo.items(), start=1):
                item = index.item(row)
                picture = index.original(item) or item.thumbnail
                try:
                    if not picture:
                        raise PictureError("its file is gone or has changed")
                    text = without_surrogates(describe(picture)[:MAX_TEXT])
                    if not text:
                        raise PictureError("the captioner wrote nothing")
                except PictureError as error:
                    skips.append(Skip(item.id, str(error)))
                except Exception as error:
                    template = "{model} failed at {id} ({reason}). The rest is kept: try again, or another --captioner."
                    raise ModelError(template, model=model, id=item.id, reason=truncate(str(error), 200)) from error
                else:
                    captions[sha256] = (text, model)
                    file.write(f"\n{json.dumps([sha256, text, model])}")  # the line before may be cut off
                    file.flush()
                on_progress(done, len(todo))
        if count := sum(sha256 in captions for sha256, _ in bare):
            write_bundle(bundle, work, with_captions(index.blocks(), captions), index.provenance)
        notes.unlink()
    return count, skips


def captions_of(index: Index) -> Captions:
    """Return the captions that models wrote."""
    # Of most collections none is written by a model, and their columns need not be read.
    batches = (one for one in index.items.batches if pc.is_in(one["columns"].keys, pa.array(OWN)).true_count)
    facts = _facts(batches)
    return {sha256: (c[GENERATED_CAPTION], c[CAPTIONED_BY]) for sha256, _, c in facts if c.keys() >= {*OWN}}


def with_captions(blocks: Iterable[Block], captions: Captions) -> Iterator[Block]:
    """Yield the blocks with these captions in the items that have none."""
    for rows, batch in blocks:
        maps = []
        for sha256, is_bare, columns in _facts([batch]):
            if is_bare and sha256 in captions:
                columns |= dict(zip(OWN, captions[sha256], strict=True))
            maps.append(list(bounded(columns).items()))
        place = batch.schema.get_field_index(COLUMNS.name)
        yield Block(rows, batch.set_column(place, COLUMNS, pa.array(maps, COLUMNS.type)))


def captioned_items(index: Index) -> Iterator[tuple[Item, str, str]]:
    """Yield each item that has a caption, the caption, and the model that wrote it ("": a person)."""
    for item in map(index.item, range(len(index))):
        if item.any_caption:
            yield item, item.any_caption, "" if item.caption else item.columns.get(CAPTIONED_BY, "")


def count_captions(items: Items) -> dict[str, int]:
    """Return how many captions each model wrote, and people."""
    counts = Counter[str]()
    for batch in items.batches:
        text, model = (pc.map_lookup(batch["columns"], name, "first").fill_null("") for name in OWN)
        model = pc.if_else(pc.equal(model, ""), "people", model)
        has_own, has_any = pc.not_equal(batch["caption"], ""), pc.not_equal(text, "")
        writers = pc.if_else(has_own, "people", pc.if_else(has_any, model, ""))
        counts.update({entry["values"]: entry["counts"] for entry in writers.value_counts().to_pylist()})
    del counts[""]
    return dict(counts)


def export_captions(bundle: Path, file: Path) -> int:
    """Write id, caption and its model ("": a person) as CSV. Return the number of rows. Raise as `export_parquet`."""
    rows = [(item.id, text, model) for item, text, model in captioned_items(Index.load(bundle))]
    with whole_file(file) as part, part.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(map(csv_cell, row) for row in [("id", "caption", CAPTIONED_BY), *rows])
    return len(rows)


def export_sidecars(bundle: Path, folder: Path) -> tuple[int, list[Skip]]:
    """Write each caption below `folder`, a.txt for a.jpg, but over no file. Return their number, and what is left out.

    Raise BundleError, or InputError if `folder` is none.
    """
    root, count, skips = Path(os.path.realpath(folder)), 0, list[Skip]()
    if root.is_file():
        raise InputError("{folder} is a file. Give a folder.", folder=folder)
    for item, text, _ in captioned_items(Index.load(bundle)):
        try:  # the id may be a stranger's; only that of a file has an ending
            path = Path(os.path.realpath(root / f"{posixpath.splitext(item.id)[0] if item.stamp else item.id}.txt"))
            if not path.is_relative_to(root):
                raise ValueError("its name leads out of the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(f"{sanitise_text(text)}\n")
            count += 1
        except (OSError, ValueError) as error:
            skips.append(Skip(item.id, getattr(error, "strerror", None) or str(error)))
    return count, skips


def _read_notes(notes: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    for line in notes.read_text("utf-8", "replace").splitlines() if notes.exists() else ():
        with suppress(ValueError):  # it is cut off
            sha256, text, model = NOTE.validate_json(line)
            yield sha256, (text, model)


def _facts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, bool, dict[str, str]]]:
    """Yield the digest of each item, whether it has no caption at all, and its columns."""
    for batch in batches:
        fields = (batch[name].to_pylist() for name in ("sha256", "caption", "columns"))
        for sha256, caption, pairs in zip(*fields, strict=True):
            columns = dict(pairs)
            yield sha256, not (caption or columns.get(GENERATED_CAPTION)), columns
