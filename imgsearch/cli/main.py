"""Parse the command line and run a command: python -m imgsearch COMMAND."""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from imgsearch.cli.build import add_build_flags, build, derive, export, merge, remove
from imgsearch.cli.output import Output, figure_lines, progress_bar, with_skips
from imgsearch.cli.search import (
    add_search_flags,
    add_similar_flags,
    duplicates,
    open_engine,
    picture_path,
    print_problems,
    search,
    similar,
)
from imgsearch.config import Bundle, FlagParser, Settings, bundle_name, is_lance_table, table_path
from imgsearch.environment import cache_folder, configure_environment
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.index.manifest import MAX_DIGEST_BYTES, Manifest, check_digests, open_bundle
from imgsearch.index.remote import fetch_hub_bundles
from imgsearch.models.registry import model_name
from imgsearch.text import json_text, sanitise_line

Command = Callable[[argparse.Namespace, Settings], Output]


def main(argv: list[str] | None = None) -> int:
    """Run one command. Return 0; 2 after a line on stderr that says what is wrong and what to do; 130 after Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # files get all letters, a terminal those that it has
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    words = sys.argv[1:] if argv is None else argv
    if "--sort" in words[:-1]:
        at = words.index("--sort")
        words = [*words[:at], f"--sort={words[at + 1]}", *words[at + 2 :]]  # argparse takes "-taken" for a flag
    arguments = _parser().parse_args(words)
    try:
        configure_environment(cache_folder().parent)
        settings = Settings.read(vars(arguments))
        if arguments.run in BUNDLES_ONLY:
            _refuse_tables(getattr(arguments, "bundles", settings.index))
        settings = settings if arguments.run in WRITING else fetch_hub_bundles(settings)
        fields, lines = arguments.run(arguments, settings)
        for line in [json_text(fields)] if arguments.json else map(sanitise_line, lines):
            print(line)
    except ImgsearchError as error:
        print(sanitise_line(f"imgsearch: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _refuse_tables(bundles: Sequence[Bundle]) -> None:
    if any(is_lance_table(bundle) for bundle in bundles if isinstance(bundle, Path)):
        raise InputError(
            "A Lance table cannot be changed, merged or exported. Do that with its bundle, then export it to a new one."
        )


def _parser() -> FlagParser:
    parser = FlagParser(prog="imgsearch", description="Describe images, find similar ones, search by text.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Command, name: str, summary: str, *settings: str) -> FlagParser:
        command: FlagParser = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        command.add_settings(*settings)
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    encoder = ("encoder", "precision")
    add_build_flags(add(build, "build", "index pictures into a bundle", *encoder))
    command = add(merge, "merge", "put bundles together, such as the parts of a divided build")
    command.add_argument("bundles", type=lambda text: Path(bundle_name(text)), nargs="+", metavar="BUNDLE")
    command.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    command = add(remove, "remove", "take pictures out of a bundle", "index")
    command.add_argument("--id", nargs="+", required=True, metavar="ID", help="of the pictures")
    command = add(export, "export", "write a bundle's ids, columns and vectors for another program", "index")
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("--parquet", type=Path, metavar="FILE", help="the file to write")
    target.add_argument("--lance", type=table_path, metavar="ADDRESS", help="the Lance table to write, to be searched")
    target.add_argument("--captions", type=Path, metavar="FILE", help="the CSV to write the captions to")
    target.add_argument("--sidecars", type=Path, metavar="FOLDER", help="where to write each caption, a.txt for a.jpg")
    caption = add(_caption, "caption", "describe the pictures that have no caption", "index", *encoder, "captioner")
    add_search_flags(add(search, "search", "search by text", "index", *encoder, "exact", "no_words"))
    add_similar_flags(add(similar, "similar", "find similar pictures", "index", *encoder, "exact"))
    command = add(duplicates, "duplicates", "list the groups of pictures that are nearly the same", "index", *encoder)
    threshold = "cosine from which two are (default: measured)"
    command.add_argument("--threshold", type=float, metavar="COSINE", help=threshold)
    command = add(_describe, "describe", "describe a picture", *encoder, "captioner")
    command.add_argument("image", type=picture_path, metavar="IMAGE")
    command.add_argument("--question", default="", help="ask this instead, of a captioner that answers")
    for writing in (caption, command):
        writing.add_argument("--detail", choices=("short", "detailed"), default="short", help="(default: short)")
        writing.add_argument("--language", choices=("en", "fr"), default="en", help="of its text (default: en)")
    command = add(_info, "info", "show what a bundle holds", "index")
    command.add_argument("--verify", action="store_true", help="check the digest of every file, however large")
    add(_eval, "eval", "measure how well a bundle answers its own captions", "index", *encoder)
    return parser


def _describe(arguments: argparse.Namespace, settings: Settings) -> Output:
    engine = open_engine(settings, settings.captioner)
    *_, description = engine.describe_stream(
        arguments.image,
        str(arguments.image),
        detail="question" if arguments.question else arguments.detail,
        question=arguments.question,
        language=arguments.language,
    )
    print_problems(engine)
    tags = [f"{tag.score:6.2f}  {tag.tag}" for tag in description.tags]
    return description.to_json(), [description.caption, *tags]


def _caption(arguments: argparse.Namespace, settings: Settings) -> Output:
    from imgsearch.index.captions import add_captions

    engine = open_engine(settings, settings.captioner)
    print_problems(engine)
    status, language = engine.status, arguments.language
    model = model_name(status.captioner or status.encoder)
    if status.captioner and language != "en" and not status.takes_questions:
        raise InputError("{model} chooses its language. Leave out --language, or take another captioner.", model=model)

    def describe(picture: bytes) -> str:
        return [*engine.describe_stream(picture, detail=arguments.detail, language=language)][-1].caption

    with progress_bar(" pictures") as on_progress:
        count, skips = add_captions(settings.bundle, describe, model, on_progress)
    if count:
        derive(settings.bundle, engine.searcher.encoder)
    line = f"{count} pictures of {settings.bundle} described by {model}."
    return with_skips({"num_items": count, "captioned_by": model}, line, skips)


def _info(arguments: argparse.Namespace, settings: Settings) -> Output:
    if is_lance_table(settings.bundle):
        if arguments.verify:
            raise InputError("A Lance table has no digests that could be checked. Leave out --verify.")
        from imgsearch.index.lance import LanceIndex
        from imgsearch.index.lance_table import address

        table = LanceIndex(settings.bundle).table
        fields = {"table": address(settings.bundle)} | asdict(table.manifest) | dict(table.measured or ())
    else:
        from imgsearch.index.captions import count_captions
        from imgsearch.index.items import Items

        def read(manifest: Manifest) -> dict[str, Any]:
            check_digests(settings.bundle, manifest, inf if arguments.verify else MAX_DIGEST_BYTES)
            items = Items.open(settings.bundle / manifest.file(".arrow"))
            return asdict(manifest) | {"captions": count_captions(items)}

        fields = {"bundle": str(settings.bundle)} | open_bundle(settings.bundle, read)
    return fields, [f"{name:16}{_to_text(value)}" for name, value in fields.items()]


def _to_text(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{name} {entry}" if isinstance(entry, str | int) else name for name, entry in value.items())


def _eval(arguments: argparse.Namespace, settings: Settings) -> Output:
    from imgsearch.evaluate import evaluate

    fields = evaluate(open_engine(settings).searcher)
    return fields, figure_lines(fields)


BUNDLES_ONLY = (merge, remove, export, _caption)  # no Lance tables
WRITING = (build, merge, remove, _caption)  # local bundles only: nothing is downloaded from the hub
