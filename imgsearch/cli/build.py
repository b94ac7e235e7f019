"""The commands that make bundles: build, merge, remove, export."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from imgsearch.cli.output import print_json
from imgsearch.config import HF_DATASETS_PREFIX, STARTER_BUNDLE, FlagParser, Settings
from imgsearch.errors import InputError
from imgsearch.index.manifest import FILE_NAME, read_manifest
from imgsearch.ingest.source import SHARD_SIZE, BuildOptions, Source
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import STARTER, ModelRef, load_encoder
from imgsearch.records import BuildReport
from imgsearch.text import sanitise_line

if TYPE_CHECKING:  # it imports a library that takes a second
    from imgsearch.ingest.columns import DatasetOptions

NUM_SKIPS = 20  # skips to print; report.json has all


def add_build_flags(command: FlagParser) -> None:
    """Add the flags of `build`."""
    add = command.add_argument
    what = "a folder of pictures, a dataset of the hub (ORG/NAME), Parquet, Arrow or tar"
    add("source", type=_source, metavar="SOURCE", help=what)
    add("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    add("--config", default="", metavar="NAME", help="of a dataset that has several")
    add("--split", default="", metavar="NAME", help="of a dataset that has several")
    add("--revision", default="", metavar="REV", help="of a hub dataset: a commit, tag or branch (default: main)")
    add("--image-column", default="", metavar="NAME", help="where the pictures are (default: found by its type)")
    add("--caption-column", metavar="NAME", help='where the captions are, "" for none (default: found by its type)')
    add("--columns", default="", metavar="A,B", help="columns to keep beside the caption")
    add("--id-column", default="", metavar="NAME", help="what names a picture (default: SPLIT/row number)")
    add("--streaming", action="store_true", help="read a hub dataset as it arrives, without a copy on disk")
    add("--limit", type=int, metavar="N", help="read at most N entries")
    add("--update", action="store_true", help="encode only what is new or changed since the bundle was built")
    add("--text", action="store_true", help="also read what is written in the pictures (needs RapidOCR)")
    add("--strict", action="store_true", help="fail on the first picture that cannot be indexed")
    add("--shard", type=_to_part, default=(1, 1), metavar="I/N", help="build only the I-th of N parts, to be merged")
    add("--ray", default="", metavar="ADDRESS", help="build in parts on a Ray cluster; local: on this machine's cores")
    add("--parts", type=int, metavar="N", help="of a build by --ray (default: one for each core or GPU)")
    add("--shard-size", type=int, default=SHARD_SIZE, metavar="N", help=f"entries a shard (default: {SHARD_SIZE})")
    add("--no-thumbnails", action="store_true", help="keep none; the app shows a folder's own pictures")
    add("--vectors", choices=("float16", "float32"), default="float16", help="how they are kept (default: float16)")


def build(arguments: argparse.Namespace, settings: Settings) -> None:
    """Index a source into a bundle."""
    # Read when torch is imported: threads that wait for each other sleep, and leave the cores to the decoders.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from imgsearch.index.bundle import check_target
    from imgsearch.ingest.columns import DatasetOptions
    from imgsearch.ingest.dataset import open_source
    from imgsearch.ingest.ocr import text_reader
    from imgsearch.search.cache import add_derived_data
    from imgsearch.search.collection import open_collection

    for flag, value in (
        ("--limit", arguments.limit),
        ("--shard-size", arguments.shard_size),
        ("--parts", arguments.parts),
    ):
        if value is not None and value < 1:
            raise InputError("{flag} is {value}. Give at least 1.", flag=flag, value=value)
    if arguments.ray and (arguments.update or arguments.shard[1] > 1):
        raise InputError("--ray goes neither with --update nor with --shard. Leave these out.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends the build like Ctrl-C
    check_target(arguments.out)  # fail before a model is downloaded
    if arguments.text:
        text_reader()
    names = ("config", "split", "revision", "image_column", "caption_column", "id_column", "streaming")
    columns = tuple(filter(None, arguments.columns.split(",")))
    options = DatasetOptions(columns=columns, **{name: getattr(arguments, name) for name in names})
    try:
        source = open_source(arguments.source, options)
        encoder = _encoder(arguments, settings)
        if arguments.ray:
            report = _build_on_ray(arguments, options, encoder)
        else:
            report = _build_here(arguments, source, encoder)
        if arguments.shard[1] == 1:
            print("The scores are calibrated and the map is drawn.", file=sys.stderr)
            add_derived_data(
                arguments.out, encoder, lambda: open_collection(STARTER_BUNDLE, encoder, lambda done, total: None)
            )
    except KeyboardInterrupt:
        print("imgsearch: interrupted. The same command goes on after the last finished shard.", file=sys.stderr)
        raise
    _print_report(report, f"{arguments.out} by {encoder.model_id}", arguments)


def _build_here(arguments: argparse.Namespace, source: Source, encoder: Encoder) -> BuildReport:
    from imgsearch.ingest.builder import build_index

    with tqdm(unit=" pictures", total=source.num_entries, file=sys.stderr) as bar:

        def on_progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return build_index(source, arguments.out, encoder, _options(arguments), on_progress)


def _build_on_ray(arguments: argparse.Namespace, options: "DatasetOptions", encoder: Encoder) -> BuildReport:
    from imgsearch.ingest.cluster import build_on_ray

    path = Path(arguments.source)
    return build_on_ray(
        arguments.ray,
        arguments.parts,
        (str(path.resolve()) if path.exists() else arguments.source, options),
        arguments.out,
        (ModelRef(encoder.model_id, encoder.revision), encoder.precision),
        _options(arguments),
        lambda line: print(sanitise_line(line), file=sys.stderr),
    )


def merge(arguments: argparse.Namespace, settings: Settings) -> None:
    """Merge bundles."""
    from imgsearch.index.edit import merge as merge_bundles

    report = merge_bundles(arguments.bundles, arguments.out)
    _print(arguments, report.to_json(), f"{report.num_items} pictures merged into {arguments.out}.")


def remove(arguments: argparse.Namespace, settings: Settings) -> None:
    """Remove pictures from a bundle."""
    from imgsearch.index.edit import remove as remove_items

    report = remove_items(settings.bundle, arguments.id)
    line = f"{report.changes['removed']} pictures removed, {report.num_items} left in {settings.bundle}."
    _print(arguments, report.to_json(), line)


def export(arguments: argparse.Namespace, settings: Settings) -> None:
    """Write a bundle as Parquet for other programs, or as a Lance table."""
    if arguments.lance:
        _export_lance(arguments, settings)
        return
    from imgsearch.index.edit import export_parquet

    count = export_parquet(settings.bundle, arguments.parquet)
    fields = {"num_items": count, "file": str(arguments.parquet)}
    _print(arguments, fields, f"{count} rows written to {arguments.parquet}.")


def _export_lance(arguments: argparse.Namespace, settings: Settings) -> None:
    from imgsearch.index.lance_export import export_table
    from imgsearch.index.lance_table import address
    from imgsearch.search.words import stems

    with tqdm(unit=" rows", file=sys.stderr) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        measured = export_table(settings.bundle, arguments.lance, stems, on_progress)
        count = int(bar.n)
    fields = {"num_items": count, "table": address(arguments.lance)} | measured.model_dump()
    line = f"{count} rows are in {address(arguments.lance)}; {measured.recall_at_10:.1%} of the 10 nearest are found."
    _print(arguments, fields, line)


def _print(arguments: argparse.Namespace, fields: dict[str, Any], line: str) -> None:
    if arguments.json:
        print_json(fields)
    else:
        print(sanitise_line(line))


def _source(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty. Give a folder, a file or ORG/NAME")
    return text.removeprefix(HF_DATASETS_PREFIX)


def _to_part(text: str) -> tuple[int, int]:
    part, slash, num_parts = text.partition("/")
    if not (slash and part.isdecimal() and num_parts.isdecimal() and 1 <= int(part) <= int(num_parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 2/3")
    return int(part), int(num_parts)


def _options(arguments: argparse.Namespace) -> BuildOptions:
    return BuildOptions(
        limit=arguments.limit,
        part=arguments.shard,
        shard_size=arguments.shard_size,
        thumbnails=not arguments.no_thumbnails,
        vectors=arguments.vectors,
        update=arguments.update,
        strict=arguments.strict,
        text=arguments.text,
    )


def _encoder(arguments: argparse.Namespace, settings: Settings) -> Encoder:
    """Load the chosen encoder; for --update without a choice, or by a starter model, the one that made the bundle."""
    if settings.encoder not in ("auto", STARTER) or not arguments.update or not (arguments.out / FILE_NAME).exists():
        return load_encoder(settings.encoder, settings.precision)
    manifest = read_manifest(arguments.out)
    precision = manifest.precision if settings.precision == "auto" else settings.precision
    return load_encoder(ModelRef(manifest.encoder, manifest.revision), precision)


def _print_report(report: BuildReport, where: str, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(report.to_json())
        return
    print(sanitise_line(f"{report.num_items} pictures indexed into {where} in {report.seconds:.1f} s."))
    if report.changes:
        print(", ".join(f"{count} {change}" for change, count in report.changes.items()), end="; ")
        print(f"{report.num_encoded} encoded.")
    if report.num_duplicates:
        print(f"{report.num_duplicates} of them are copies of another, byte by byte.")
    for skip in report.skipped[:NUM_SKIPS]:
        print(sanitise_line(f"Not indexed: {skip.picture}: {skip.reason}"))
    if len(report.skipped) > NUM_SKIPS:
        print(f"and {len(report.skipped) - NUM_SKIPS} more: see report.json in the bundle.")
