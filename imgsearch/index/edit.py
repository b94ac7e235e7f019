"""Edit finished bundles without an encoder: merge several, remove pictures, export to Parquet for other programs."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgsearch.errors import InputError
from imgsearch.index.bundle import REPORT, bundle_writer, read_report
from imgsearch.index.index import Index, filter_blocks, write_bundle
from imgsearch.index.manifest import FILE_NAME, Provenance
from imgsearch.records import BuildReport
from imgsearch.text import json_text


def merge(bundles: Sequence[Path], out: Path) -> BuildReport:
    """Merge bundles: the parts of a divided build in the order of its source, other bundles one after the other.

    Raise BundleError if one cannot be opened; InputError if encoders differ, a part is missing or an id occurs twice.
    """
    indexes = [Index.load(bundle) for bundle in bundles]
    for bundle, index in zip(bundles, indexes, strict=True):
        if name := index.provenance.difference(indexes[0].provenance):
            raise InputError(
                "{bundle} was built with {name} {value}, {first} with {others}: their scores do not compare. "
                "Build one of them again.",
                bundle=bundle,
                name=name,
                value=getattr(index.provenance, name),
                first=bundles[0],
                others=getattr(indexes[0].provenance, name),
            )
    indexes = _in_order(bundles, indexes)
    _check_ids(indexes)
    provenance = _common_provenance([index.provenance for index in indexes])
    report = sum(map(read_report, bundles), BuildReport())
    # Each part of a build repeats what was left out before reading.
    report = replace(report, skipped=list(dict.fromkeys(report.skipped)))
    with bundle_writer(out) as work:
        if not any(map(len, indexes)):
            raise no_picture(provenance.source or str(bundles[0]), out, report)
        turns = [index.blocks() for index in indexes]
        blocks = chain.from_iterable(zip_longest(*turns) if indexes[0].provenance.part else turns)
        return write_bundle(out, work, filter(None, blocks), provenance, report)


def no_picture(source: str, bundle: Path, report: BuildReport) -> InputError:
    """Leave the report, unless a bundle is there, and return the error, with the first reasons."""
    if not (bundle / FILE_NAME).exists():
        bundle.mkdir(exist_ok=True)
        (bundle / REPORT).write_text(json_text(report.to_json()) + "\n", "utf-8")
    reasons = [f"{skip.picture}: {skip.reason.rstrip('.')}" for skip in report.skipped[:3]]
    template = "{source} holds no picture that can be read ({skips}). Give another source."
    return InputError(template, source=source, skips="; ".join([f"{len(report.skipped)} skipped", *reasons]))


def remove(bundle: Path, ids: Collection[str]) -> BuildReport:
    """Remove items from a bundle. Raise InputError if an id is unknown or if no item would be left."""
    with bundle_writer(bundle) as work:
        index = Index.load(bundle)
        removed = {index.item_by_id(item_id).id for item_id in ids}
        if len(removed) == len(index):
            raise InputError("{bundle} would be empty. Delete its folder instead.", bundle=bundle)
        is_kept = np.array([item_id not in removed for item_id in index.column("id")], np.bool_)
        report = replace(read_report(bundle), num_encoded=0, changes={"removed": len(removed)})
        return write_bundle(bundle, work, filter_blocks(index.blocks(), is_kept), index.provenance, report)


def export_parquet(bundle: Path, file: Path) -> int:
    """Write ids, captions, columns, digests and vectors as Parquet. Return the number of rows.

    `vector` is a list of dim float32, its length 1 to within 1e-3. "_" is appended to a column name that is taken.
    Raise BundleError if the bundle cannot be opened; InputError if the file cannot be written.
    """
    index = Index.load(bundle)
    names = sorted({name for maps in index.items.field("columns") for name in maps.keys.unique().to_pylist()})
    texts = dict.fromkeys(("id", "caption", "sha256"))
    for name in names:
        while name in texts or name == "vector":
            name += "_"
        texts[name] = None
    fields = [pa.field(name, pa.string()) for name in texts]
    schema = pa.schema([*fields, pa.field("vector", pa.list_(pa.float32(), index.dim))])
    with whole_file(file) as part, part.open("wb") as stream, pq.ParquetWriter(stream, schema) as writer:
        for block in index.blocks():
            arrays = [block.batch[name] for name in ("id", "caption", "sha256")]
            arrays += [pc.map_lookup(block.batch["columns"], name, "first") for name in names]
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.rows.ravel()), index.dim)
            writer.write_batch(pa.RecordBatch.from_arrays([*arrays, vectors], schema=schema))
    return len(index)


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yield a path to write to, which then takes the place of `file`. Raise InputError if it cannot be written."""
    if not file.name:
        raise InputError("{file} is a folder. Give the path of a file.", file=file)
    part = file.with_name(f".{file.name}.part")
    try:
        yield part
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(
            "{file} cannot be written: {reason}. Give another path.", file=file, reason=error.strerror or error
        ) from error


def _in_order(bundles: Sequence[Path], indexes: Sequence[Index]) -> list[Index]:
    """Return the parts of a divided build sorted by their number, other bundles in the given order."""
    parts = [index.provenance.part for index in indexes]
    if not any(parts):
        return list(indexes)
    if not all(parts):
        raise InputError(
            "{bundle} is no part of a divided build. Merge the parts first.", bundle=bundles[parts.index("")]
        )
    wanted = [f"{number}/{len(parts)}" for number in range(1, len(parts) + 1)]
    if {*parts} != {*wanted}:
        raise InputError(
            "These are the parts {parts}. Give each part of one divided build once.", parts=", ".join(parts)
        )
    if len({index.provenance.division for index in indexes}) > 1:
        raise InputError(
            "The parts are of builds that differ in their source, --limit or --shard-size, or the source changed "
            "between them. Build those that are older again."
        )
    return [indexes[parts.index(part)] for part in wanted]


def _check_ids(indexes: Sequence[Index]) -> None:
    ids = pa.chunked_array([texts for index in indexes for texts in index.items.field("id")], pa.string())
    counts = ids.value_counts()
    for id in counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()[:1]:
        raise InputError("Two of the bundles have a picture {id!r}. Remove it from one of them.", id=id)


def _common_provenance(provenances: Sequence[Provenance]) -> Provenance:
    """Return the first provenance, with each field about the origin of the pictures empty if they differ in it."""
    names = ("source", "source_revision", "split", "licence")
    differing: dict[str, Any] = {name: "" for name in names if len({getattr(p, name) for p in provenances}) > 1}
    thumbnails = all(provenance.thumbnails for provenance in provenances)
    return replace(provenances[0], **differing, part="", division="", thumbnails=thumbnails)
