"""The commands that make bundles: build, merge, remove, export."""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imgsearch.cli.output import Output, progress_bar, skip_lines, with_skips
from imgsearch.config import HF_DATASETS_PREFIX, STARTER_BUNDLE, FlagParser, Settings, table_path
from imgsearch.errors import InputError
from imgsearch.index.manifest import FILE_NAME, read_manifest
from imgsearch.ingest.source import SHARD_SIZE, BuildOptions, Source
from imgsearch.models.encoder import Encoder
from imgsearch.models.registry import STARTER, ModelRef, load_encoder
from imgsearch.records import BuildReport
from imgsearch.text import sanitise_line

if TYPE_CHECKING:  # it imports a library that takes a second
    from imgsearch.ingest.columns import DatasetOptions

Options = TypeVar("Options", BuildOptions, "DatasetOptions")


def add_build_flags(command: FlagParser) -> None:
    """Add the flags of `build`."""
    add = command.add_argument
    off: dict[str, Any] = {"action": "store_false"}
    part: dict[str, Any] = {"type": _to_part, "dest": "part", "default": (1, 1), "metavar": "I/N"}
    what = "a folder of pictures, a dataset of the hub (ORG/NAME), Parquet, Arrow or tar"
    add("source", type=_source, metavar="SOURCE", help=what)
    add("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    add("--config", default="", metavar="NAME", help="of a dataset that has several")
    add("--split", default="", metavar="NAME", help="of a dataset that has several")
    add("--revision", default="", metavar="REV", help="of a hub dataset: a commit, tag or branch (default: main)")
    add("--image-column", default="", metavar="NAME", help="where the pictures are (default: found by its type)")
    add("--caption-column", metavar="NAME", help='where the captions are, "" for none (default: found by its type)')
    add("--columns", type=_to_names, default=(), metavar="A,B", help="columns to keep beside the caption")
    add("--id-column", default="", metavar="NAME", help="what names a picture (default: SPLIT/row number)")
    add("--streaming", action="store_true", help="read a hub dataset as it arrives, without a copy on disk")
    add("--limit", type=int, metavar="N", help="read at most N entries")
    add("--update", action="store_true", help="encode only what is new or changed since the bundle was built")
    add("--text", action="store_true", help="also read what is written in the pictures (needs RapidOCR)")
    add("--strict", action="store_true", help="fail on the first picture that cannot be indexed")
    add("--shard", **part, help="build only the I-th of N parts, to be merged")
    add("--ray", default="", metavar="ADDRESS", help="build in parts on a Ray cluster; local: on this machine's cores")
    add("--parts", type=int, metavar="N", help="of a build by --ray (default: one for each core or GPU)")
    add("--lance", type=table_path, metavar="ADDRESS", help="a Lance table of the bundle to write, too")
    add("--shard-size", type=int, default=SHARD_SIZE, metavar="N", help=f"entries a shard (default: {SHARD_SIZE})")
    add("--no-thumbnails", dest="thumbnails", **off, help="keep none; the app shows a folder's own pictures")
    facts = command.add_mutually_exclusive_group().add_argument
    facts("--no-exif", dest="exif", **off, help="keep no date, camera, lens and size from the picture files")
    facts("--places", action="store_true", help="also keep where pictures were taken, to about a kilometre")
    add("--no-captions", dest="captions", **off, help="of an update: drop those that a model wrote")
    add("--vectors", choices=("float16", "float32"), default="float16", help="how they are kept (default: float16)")


def build(arguments: argparse.Namespace, settings: Settings) -> Output:
    """Index a source into a bundle."""
    # Read when torch is imported: threads that wait for each other sleep, and leave the cores to the decoders.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from imgsearch.index.bundle import check_target
    from imgsearch.ingest.columns import DatasetOptions
    from imgsearch.ingest.dataset import open_source
    from imgsearch.ingest.ocr import text_reader

    for flag in ("--limit", "--shard-size", "--parts"):
        value = getattr(arguments, flag[2:].replace("-", "_"))
        if value is not None and value < 1:
            raise InputError("{flag} is {value}. Give at least 1.", flag=flag, value=value)
    if arguments.ray and (arguments.update or arguments.part[1] > 1):
        raise InputError("--ray goes neither with --update nor with --shard. Leave these out.")
    if arguments.parts and not arguments.ray:
        raise InputError("--parts needs --ray. Give its ADDRESS, or build one part by --shard I/N.")
    if arguments.lance:
        if arguments.part[1] > 1:
            raise InputError("--lance does not go with --shard. Merge the parts, and export the bundle.")
        from imgsearch.index.lance_export import writing
        from imgsearch.index.lance_table import connect

        with writing(arguments.lance):  # fail before the hours of a build
            connect(arguments.lance)
        warnings.filterwarnings("ignore", "lancedb fork", RuntimeWarning)  # Ray forks only to start programs
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends the build like Ctrl-C
    check_target(arguments.out)  # fail before a model is downloaded
    if arguments.text:
        text_reader()
    options = _filled(DatasetOptions, arguments)
    try:
        source = open_source(arguments.source, options)
        encoder = _encoder(arguments, settings)
        if arguments.ray:
            report = _build_on_ray(arguments, options, encoder)
        else:
            report = _build_here(arguments, source, encoder)
        if arguments.part[1] == 1:
            derive(arguments.out, encoder)
        if arguments.lance:
            print(*map(sanitise_line, _write_table(arguments.out, arguments.lance)[1]), file=sys.stderr)
    except KeyboardInterrupt:
        print("imgsearch: interrupted. The same command goes on after the last finished shard.", file=sys.stderr)
        raise
    return report.to_json(), _report_lines(report, f"{arguments.out} by {encoder.model_id}")


def derive(bundle: Path, encoder: Encoder) -> None:
    """Calibrate the scores of a bundle, draw its map and index its words."""
    from imgsearch.search.collection import add_derived_data, open_collection

    print("The scores are calibrated and the map is drawn.", file=sys.stderr)
    add_derived_data(bundle, encoder, lambda: open_collection(STARTER_BUNDLE, encoder, lambda done, total: None))


def _build_here(arguments: argparse.Namespace, source: Source, encoder: Encoder) -> BuildReport:
    from imgsearch.ingest.builder import build_index

    with progress_bar(" pictures", source.num_entries) as on_progress:
        return build_index(source, arguments.out, encoder, _filled(BuildOptions, arguments), on_progress)


def _build_on_ray(arguments: argparse.Namespace, options: "DatasetOptions", encoder: Encoder) -> BuildReport:
    from imgsearch.ingest.cluster import build_on_ray

    path = Path(arguments.source)
    return build_on_ray(
        arguments.ray,
        arguments.parts,
        (str(path.resolve()) if path.exists() else arguments.source, options),
        arguments.out,
        (ModelRef(encoder.model_id, encoder.revision), encoder.precision),
        _filled(BuildOptions, arguments),
        lambda line: print(sanitise_line(line), file=sys.stderr),
    )


def merge(arguments: argparse.Namespace, settings: Settings) -> Output:
    """Merge bundles."""
    from imgsearch.index.edit import merge as merge_bundles

    report = merge_bundles(arguments.bundles, arguments.out)
    return report.to_json(), [f"{report.num_items} pictures merged into {arguments.out}."]


def remove(arguments: argparse.Namespace, settings: Settings) -> Output:
    """Remove pictures from a bundle."""
    from imgsearch.index.edit import remove as remove_items

    report = remove_items(settings.bundle, arguments.id)
    line = f"{report.changes['removed']} pictures removed, {report.num_items} left in {settings.bundle}."
    return report.to_json(), [line]


def export(arguments: argparse.Namespace, settings: Settings) -> Output:
    """Write a bundle as Parquet for other programs or as a Lance table, or its captions."""
    from imgsearch.index.captions import export_captions, export_sidecars
    from imgsearch.index.edit import export_parquet

    if arguments.lance:
        return _write_table(settings.bundle, arguments.lance)
    if folder := arguments.sidecars:
        count, skips = export_sidecars(settings.bundle, folder)
        return with_skips({"num_items": count, "folder": str(folder)}, f"{count} captions are in {folder}.", skips)
    file = arguments.parquet or arguments.captions
    count = (export_parquet if arguments.parquet else export_captions)(settings.bundle, file)
    return {"num_items": count, "file": str(file)}, [f"{count} rows written to {file}."]


def _write_table(bundle: Path, table: Path) -> Output:
    """Export a bundle with a bar of progress."""
    from imgsearch.index.lance_export import export_table
    from imgsearch.index.lance_table import address
    from imgsearch.search.words import stems

    with progress_bar(" rows") as on_progress:
        measured = export_table(bundle, table, stems, on_progress)
    count = read_manifest(bundle).num_items
    fields = {"num_items": count, "table": address(table)} | measured.model_dump()
    return fields, [f"{count} rows are in {address(table)}; {measured.recall_at_10:.1%} of the 10 nearest are found."]


def _source(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty. Give a folder, a file or ORG/NAME")
    return text.removeprefix(HF_DATASETS_PREFIX)


def _to_part(text: str) -> tuple[int, int]:
    part, slash, num_parts = text.partition("/")
    if not (slash and part.isdecimal() and num_parts.isdecimal() and 1 <= int(part) <= int(num_parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 2/3")
    return int(part), int(num_parts)


def _to_names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _filled(options: type[Options], arguments: argparse.Namespace) -> Options:
    """Return options with the values of the flags that are called like their fields."""
    return options(**{field.name: getattr(arguments, field.name) for field in fields(options)})


def _encoder(arguments: argparse.Namespace, settings: Settings) -> Encoder:
    """Load the chosen encoder; for --update without a choice, or by a starter model, the one that made the bundle."""
    if settings.encoder not in ("auto", STARTER) or not arguments.update or not (arguments.out / FILE_NAME).exists():
        return load_encoder(settings.encoder, settings.precision)
    manifest = read_manifest(arguments.out)
    precision = manifest.precision if settings.precision == "auto" else settings.precision
    return load_encoder(ModelRef(manifest.encoder, manifest.revision), precision)


def _report_lines(report: BuildReport, where: str) -> Iterator[str]:
    yield f"{report.num_items} pictures indexed into {where} in {report.seconds:.1f} s."
    if report.changes:
        changes = ", ".join(f"{count} {change}" for change, count in report.changes.items())
        yield f"{changes}; {report.num_encoded} encoded."
    if report.num_duplicates:
        yield f"{report.num_duplicates} of them are copies of another, byte by byte."
    yield from skip_lines(report.skipped, "Not indexed", ": see report.json in the bundle")
