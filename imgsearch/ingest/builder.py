"""`build_index`: encode the pictures of a source and write a bundle, shard by shard (`source` explains shards)."""

import hashlib
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imgsearch.embeddings import Embeddings
from imgsearch.errors import InputError
from imgsearch.index.bundle import bundle_writer
from imgsearch.index.hashing import hash_texts, is_first_of_equals, num_copies
from imgsearch.index.index import Index, filter_blocks, write_bundle
from imgsearch.index.manifest import FILE_NAME, FORMAT_VERSION, HF_PREFIX, Provenance, provenance_of, read_manifest
from imgsearch.ingest.pipeline import Pipeline, PreparedPicture
from imgsearch.ingest.reuse import ReusableItems, count_changes
from imgsearch.ingest.shards import Shards
from imgsearch.ingest.source import (
    BuildOptions,
    ShardEnd,
    Source,
    count_expected_entries,
    count_unchanged_shards,
    with_shard_ends,
)
from imgsearch.models.encoder import BATCH_SIZE, Encoder, Prepared
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
    provenance = _provenance(source, encoder, options)
    with bundle_writer(bundle) as work:
        old = bundle if options.update and (bundle / FILE_NAME).exists() else None
        if old:
            _check_same(old, provenance)
        shards = Shards(work / _shards_key(provenance, source, options))
        old_shards = shards.keep(count_unchanged_shards(shards.ends, source, options))
        reusable = ReusableItems([*([old] if old else []), *old_shards], source.name)
        own_folders = (bundle.resolve(), work)  # they may lie in the folder that is read
        skips = [skip for skip in source.skips if Path(source.name, skip.picture) not in own_folders]
        if options.strict:
            _check_none([*skips, *chain.from_iterable(report.skipped for report in shards.reports())])
        _make_missing_shards(shards, source, encoder, options, provenance, reusable, on_progress)
        report, is_first = _summarise(shards, skips, old)
        if options.strict:
            _check_none(report.skipped)
        if not report.num_items and not provenance.part:
            count = len(report.skipped)
            raise InputError(
                "{source} holds no picture that can be read ({count} skipped). Give another source.",
                source=source.name,
                count=count,
            )
        blocks = chain.from_iterable(index.blocks() for index in shards.indexes())
        write_bundle(bundle, work, filter_blocks(blocks, is_first), provenance, report)
        for folder in filter(Path.is_dir, work.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
    return report


def _provenance(source: Source, encoder: Encoder, options: BuildOptions) -> Provenance:
    part, num_parts = options.part
    return provenance_of(
        encoder,
        vectors=options.vectors,
        thumbnails=options.thumbnails,
        source=source.name,
        source_revision=source.revision,
        split=source.split,
        licence=source.licence,
        part=f"{part}/{num_parts}" if num_parts > 1 else "",
        division=_division(source, options) if num_parts > 1 else "",
    )


def _division(source: Source, options: BuildOptions) -> str:
    """Return a digest of what all parts of a divided build must share; not the path, which depends on the machine."""
    commit = source.revision if source.name.startswith(HF_PREFIX) else ""
    fields = [options.shard_size, options.limit, source.split, commit, source.listing, source.num_entries]
    return _digest([*fields, dict(source.options)])


def _shards_key(provenance: Provenance, source: Source, options: BuildOptions) -> str:
    """Return a digest of what all shards of a bundle must share. It names their folder."""
    shared = provenance.provenance_fields() | {"division": ""}  # it changes if files are added between two runs
    return _digest([FORMAT_VERSION, shared, dict(source.options), options.limit, options.shard_size])


def _digest(fields: list[Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _check_same(bundle: Path, provenance: Provenance) -> None:
    """Raise InputError if the bundle's vectors or thumbnails are not of the kind that `provenance` describes."""
    old = read_manifest(bundle)
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


def _make_missing_shards(
    shards: Shards,
    source: Source,
    encoder: Encoder,
    options: BuildOptions,
    provenance: Provenance,
    reusable: ReusableItems,
    on_progress: OnProgress,
) -> None:
    """Build the shards after those that are finished."""
    part, num_parts = options.part
    num_shards = len(shards.ends)
    start = ((num_shards - 1) * num_parts + part) * options.shard_size if num_shards else 0
    entries = with_shard_ends(source, options, start, shards.ends[-1].state if num_shards else "")
    done, expected = sum(end.num_entries for end in shards.ends), count_expected_entries(source, options)
    shard = _Shard(encoder, provenance)
    with closing(Pipeline(encoder, reusable, thumbnails=options.thumbnails).run(entries)) as results:
        for result in results:
            if isinstance(result, ShardEnd):
                shard.save(shards, result)
                shard = _Shard(encoder, provenance)
                continue
            if options.strict and isinstance(result.outcome, Skip):
                _check_none([result.outcome])
            shard.add(result)
            done += 1
            on_progress(done, expected)
    if not shards.ends:
        shard.save(shards, ShardEnd(0, "", ""))


def _check_none(skips: list[Skip]) -> None:
    """Raise InputError for the first skip, if there is one."""
    for skip in skips:
        raise InputError(
            "{picture} cannot be indexed: {reason}. Take it away, or leave out --strict.",
            picture=skip.picture,
            reason=skip.reason,
        )


class _Shard:
    """Collects the entries of one shard. Pictures wait in memory until they fill a batch of the model."""

    def __init__(self, encoder: Encoder, provenance: Provenance) -> None:
        self._encoder = encoder
        self._provenance = provenance
        self._items: list[Item] = []
        self._vectors: dict[int, Embeddings] = {}  # by position in the items
        self._waiting: dict[int, Prepared] = {}  # by position, too
        self._skipped: list[Skip] = []
        self._num_encoded = 0
        self._stages: dict[str, float] = defaultdict(float)
        self._start = time.perf_counter()

    def add(self, result: PreparedPicture) -> None:
        for stage, seconds in result.seconds.items():
            self._stages[stage] += seconds
        if isinstance(result.outcome, Skip):
            self._skipped.append(result.outcome)
            return
        if result.vector is not None:
            self._vectors[len(self._items)] = result.vector
        elif result.prepared is not None:
            self._waiting[len(self._items)] = result.prepared
        self._items.append(result.outcome)
        if len(self._waiting) == BATCH_SIZE:
            self._encode()

    def save(self, shards: Shards, end: ShardEnd) -> None:
        if self._waiting:
            self._encode()
        start = time.perf_counter()
        vectors = np.array([self._vectors[position] for position in range(len(self._items))], np.float32)
        path = shards.write(Index.from_rows(vectors.reshape(-1, self._encoder.dim), self._items, self._provenance))
        now = time.perf_counter()
        self._stages["write"] = now - start
        report = BuildReport(
            len(self._items), self._num_encoded, 0, self._skipped, now - self._start, dict(self._stages)
        )
        shards.finish(path, end, report)

    def _encode(self) -> None:
        start = time.perf_counter()
        vectors = self._encoder.encode_prepared(list(self._waiting.values()))
        self._vectors |= dict(zip(self._waiting, vectors, strict=True))
        self._num_encoded += len(vectors)
        self._waiting.clear()
        self._stages["encode"] += time.perf_counter() - start


def _summarise(shards: Shards, skips: list[Skip], old: Path | None) -> tuple[BuildReport, npt.NDArray[np.bool_]]:
    """Return the report of all shards, and bool (n,): True for the first item of each id. Only these are kept."""
    report = sum(shards.reports(), BuildReport(skipped=skips))
    hashed = [(hash_texts(index.column("id")), hash_texts(index.column("sha256"))) for index in shards.indexes()]
    ids, contents = (np.concatenate(column) for column in zip(*hashed, strict=True))
    is_first = is_first_of_equals(ids)
    all_ids = chain.from_iterable(index.column("id") for index in shards.indexes())
    repeated_ids = [] if is_first.all() else compress(all_ids, ~is_first)
    repeated = [Skip(item_id, "a second picture of this id; the first one counts") for item_id in repeated_ids]
    report = replace(
        report,
        num_items=int(is_first.sum()),
        num_duplicates=num_copies(contents[is_first]),
        skipped=report.skipped + repeated,
        changes=count_changes(Index.load(old), ids[is_first], contents[is_first]) if old else {},
    )
    return report, is_first
