"""`build_index`: encode the pictures of a source and write a bundle, shard by shard (`shards` explains shards)."""

import hashlib
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import chain, compress, filterfalse
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from imgsearch.embeddings import check_unit
from imgsearch.errors import InputError
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.captions import captions_of, with_captions
from imgsearch.index.edit import no_picture
from imgsearch.index.index import Index, filter_blocks, write_bundle
from imgsearch.index.items import Mask, hash_texts
from imgsearch.index.manifest import FILE_NAME, FORMAT_VERSION, HF_PREFIX, Provenance, provenance_of
from imgsearch.ingest.ocr import text_reader
from imgsearch.ingest.pipeline import Pipeline, PreparedPicture
from imgsearch.ingest.shards import (
    ReusableItems,
    Shard,
    ShardEnd,
    count_changes,
    expected_entries,
    open_shards,
    read_in_shards,
    write_shard,
)
from imgsearch.ingest.source import START, BuildOptions, Source
from imgsearch.models.encoder import BATCH_SIZE, Encoder
from imgsearch.records import BuildReport, Item, Skip

OnProgress = Callable[[int, int | None], None]  # entries done and expected; None if unknown


def build_index(
    source: Source,
    bundle: Path,
    encoder: Encoder,
    options: BuildOptions = BuildOptions(),
    on_progress: OnProgress = lambda done, total: None,
) -> BuildReport:
    """Index the pictures of a source, save them as a bundle, and return the report.

    If it is killed, the next call with the same arguments goes on after the last finished shard. `on_progress` gets the
    numbers of entries done and expected. Raise InputError if no picture can be read, if `bundle` is something else or
    is being written, or for the first skip if `options.strict`. Example:

        report = build_index(Folder(Path("examples")), Path("my-bundle"), load_encoder("starter"))
        print(report.num_items, report.skipped)
    """
    if options.text:
        text_reader()  # fail before anything is read
    provenance = build_provenance(source, encoder, options)
    with bundle_writer(bundle) as work:
        old = _open_old(bundle, provenance) if options.update and (bundle / FILE_NAME).exists() else None
        folder = work / _shards_key(provenance, source, options)
        folder.mkdir(exist_ok=True)
        shards, dropped = open_shards(folder, source, options)
        own_folders = (bundle.resolve(), work)  # they may lie in the folder that is read
        skips = [skip for skip in source.skips if Path(source.name, skip.picture) not in own_folders]
        if options.strict:
            _check_none([*skips, *chain.from_iterable(shard.report.skipped for shard in shards)])
        reusable = ReusableItems([*([old] if old else []), *dropped], source.name)
        write_s = _make_missing_shards(shards, folder, source, encoder, options, reusable, on_progress)
        report, is_first = _summarise(shards, skips, write_s, old)
        if options.strict:
            _check_none(report.skipped)
        if not report.num_items and not provenance.part:
            raise no_picture(source.name, bundle, report)
        blocks = filter_blocks((shard.block for shard in shards), is_first)
        if old and options.captions and (captions := captions_of(old)):
            blocks = with_captions(blocks, captions)
        report = write_bundle(bundle, work, blocks, provenance, report)
        for path in filter(Path.is_dir, work.iterdir()):
            shutil.rmtree(path, ignore_errors=True)
    return report


def build_provenance(source: Source, encoder: Encoder, options: BuildOptions) -> Provenance:
    """Return the provenance of a bundle that `build_index` makes."""
    part, division = "", ""
    if options.part[1] > 1:
        part = "{}/{}".format(*options.part)
        commit = source.revision if source.name.startswith(HF_PREFIX) else ""
        shared = [options.shard_size, options.limit, source.split, commit, source.listing, source.num_entries]
        shared += [options.exif, options.places, options.text, *source.group_ends]
        division = _digest([*shared, dict(source.options)])  # without the path, which depends on the machine
    return provenance_of(
        encoder,
        vectors=options.vectors,
        thumbnails=options.thumbnails,
        source=source.name,
        source_revision=source.revision,
        split=source.split,
        licence=source.licence,
        part=part,
        division=division,
    )


def _shards_key(provenance: Provenance, source: Source, options: BuildOptions) -> str:
    """Return a digest of what all shards of a bundle must share. It names their folder."""
    shared = asdict(provenance) | {"division": ""}  # it changes if files are added between two runs
    asked = [options.limit, options.shard_size, options.exif, options.places, options.text]
    grouped = source.group_ends if options.part[1] > 1 else ()
    return _digest([FORMAT_VERSION, shared, dict(source.options), *asked, *grouped])


def _digest(fields: list[Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _open_old(bundle: Path, provenance: Provenance) -> Index:
    """Open the bundle to update. Raise InputError if its vectors or thumbnails are not as `provenance` describes."""
    index = Index.load(bundle)
    old = index.provenance
    name = provenance.difference(old) or ("thumbnails" if provenance.thumbnails != old.thumbnails else "")
    if name:
        raise InputError(
            "{bundle} cannot be updated: it was built with {name} {old_value}, now it is {new_value}. "
            "Give the options it was built with, or build it anew without --update.",
            bundle=bundle,
            name=name,
            old_value=getattr(old, name),
            new_value=getattr(provenance, name),
        )
    return index


def _make_missing_shards(
    shards: list[Shard],
    folder: Path,
    source: Source,
    encoder: Encoder,
    options: BuildOptions,
    reusable: ReusableItems,
    on_progress: OnProgress,
) -> float:
    """Append the shards after those that are finished. Return the seconds of writing them."""
    done, expected = sum(len(shard) + len(shard.report.skipped) for shard in shards), expected_entries(source, options)
    writer = _ShardWriter(encoder, options.vectors, folder, shards)
    entries = read_in_shards(source, options, shards[-1].position if shards else START)
    with closing(Pipeline(encoder, reusable, options).run(entries)) as results:
        for result in results:
            if isinstance(result, ShardEnd):
                writer.finish(result)
                continue
            if options.strict and isinstance(result.outcome, Skip):
                _check_none([result.outcome])
            writer.add(result)
            done += 1
            on_progress(done, expected)
    if not shards:
        writer.finish(ShardEnd("", START))
    return writer.write_s


def _check_none(skips: Iterable[Skip]) -> None:
    """Raise InputError for the first skip that is not a mere note, if there is one."""
    for skip in filterfalse(attrgetter("is_note"), skips):
        template = "{picture} cannot be indexed: {reason}. Take it away, or leave out --strict."
        raise InputError(template, picture=skip.picture, reason=skip.reason.rstrip("."))


class _ShardWriter:
    """Appends shards to `shards` and to their folder. Pictures wait in memory until they fill a batch of the model."""

    def __init__(self, encoder: Encoder, vectors: str, folder: Path, shards: list[Shard]) -> None:
        self.write_s = 0.0
        self._encoder, self._vectors, self._folder, self._shards = encoder, vectors, folder, shards
        self._results: list[PreparedPicture] = []
        self._waiting: list[PreparedPicture] = []  # those without a vector
        self._start = time.perf_counter()

    def add(self, result: PreparedPicture) -> None:
        """Add the result for one entry to the shard."""
        self._results.append(result)
        if result.prepared is not None:
            self._waiting.append(result)
        if len(self._waiting) == BATCH_SIZE:
            self._encode()

    def finish(self, end: ShardEnd) -> None:
        """Write the shard, and begin the next one."""
        if self._waiting:
            self._encode()
        start = time.perf_counter()
        items = [result.outcome for result in self._results if isinstance(result.outcome, Item)]
        skipped = [result.outcome for result in self._results if isinstance(result.outcome, Skip)]
        vectors = [result.vector for result in self._results if result.vector is not None]
        stages: dict[str, float] = defaultdict(float)
        for stage, seconds in chain.from_iterable(result.seconds.items() for result in self._results):
            stages[stage] += seconds
        num_encoded = sum("encode" in result.seconds for result in self._results)
        dim = self._encoder.dim
        rows = check_unit(np.array(vectors, np.float32).reshape(-1, dim), dim).astype(self._vectors)
        report = BuildReport(len(rows), num_encoded, 0, skipped, start - self._start, dict(stages))
        self._shards.append(write_shard(self._folder, len(self._shards), end, report, items, rows))
        self._results.clear()
        self._start = time.perf_counter()
        self.write_s += self._start - start

    def _encode(self) -> None:
        start = time.perf_counter()
        prepared = [result.prepared for result in self._waiting if result.prepared is not None]
        rows = self._encoder.encode_prepared(prepared)
        encode_s = (time.perf_counter() - start) / len(rows)
        for result, row in zip(self._waiting, rows, strict=True):
            result.vector, result.prepared = row, None  # the input of the model takes more memory than its vector
            result.seconds["encode"] = encode_s
        self._waiting.clear()


def _summarise(
    shards: Sequence[Shard], skips: list[Skip], write_s: float, old: Index | None
) -> tuple[BuildReport, Mask]:
    """Return the report of all shards, and bool (n,): True for the first item of each id. Only these are kept."""
    report = sum((shard.report for shard in shards), BuildReport(skipped=skips))
    report += BuildReport(seconds=write_s, stages={"write": write_s})
    ids = hash_texts(_column(shards, "id"))
    is_first = np.isin(np.arange(len(ids)), np.unique(ids, return_index=True)[1])
    repeated_ids = [] if is_first.all() else compress(_column(shards, "id"), ~is_first)
    repeated = [Skip(item_id, "a second picture of this id; the first one counts") for item_id in repeated_ids]
    report = replace(
        report,
        num_items=int(is_first.sum()),
        skipped=report.skipped + repeated,
        changes=count_changes(old, ids[is_first], hash_texts(_column(shards, "sha256"))[is_first]) if old else {},
    )
    return report.shortened(), is_first


def _column(shards: Iterable[Shard], name: str) -> Iterator[str]:
    return chain.from_iterable(shard.column(name) for shard in shards)
