"""The command line: python -m imgsearch COMMAND."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from imgsearch.asking import (
    add_search_flags,
    add_similar_flags,
    duplicates,
    make_engine,
    search,
    similar,
    tell_problems,
)
from imgsearch.config import FlagParser, Settings, cache_folder
from imgsearch.errors import ImgsearchError
from imgsearch.making import add_build_flags, build, export, merge, print_json, remove
from imgsearch.manifest import MAX_DIGEST_BYTES, check_digests, read_manifest
from imgsearch.plain import plain
from imgsearch.remote import at_hand
from imgsearch.surroundings import prepare

Command = Callable[[argparse.Namespace, Settings], None]


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns 0, or 2 after one line on stderr that says what is wrong and what to do."""
    arguments = _parser().parse_args(argv)
    try:
        prepare(cache_folder().parent)
        settings = Settings.read(vars(arguments))
        arguments.run(arguments, settings if arguments.run in MAKING else at_hand(settings))
    except ImgsearchError as error:
        print(plain(f"imgsearch: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> FlagParser:
    parser = FlagParser(prog="imgsearch", description="Describe images, find similar ones, search by text.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Command, name: str, help: str, *settings: str) -> FlagParser:
        command: FlagParser = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=run)
        command.add_settings(*settings)
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    encoder = ("encoder", "precision")
    add_build_flags(add(build, "build", "index pictures into a bundle", *encoder))
    command = add(merge, "merge", "put bundles together, such as the parts of a divided build")
    command.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    command.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    command = add(remove, "remove", "take pictures out of a bundle", "index")
    command.add_argument("--id", nargs="+", required=True, metavar="ID", help="of the pictures")
    command = add(export, "export", "write a bundle's ids, columns and vectors for another program", "index")
    command.add_argument("--parquet", type=Path, required=True, metavar="FILE", help="the file to write")
    add_search_flags(add(search, "search", "search by text", "index", *encoder))
    add_similar_flags(add(similar, "similar", "find similar pictures", "index", *encoder))
    command = add(duplicates, "duplicates", "list the groups of pictures that are nearly the same", "index", *encoder)
    help = "cosine from which two are (default: measured)"
    command.add_argument("--threshold", type=float, metavar="COSINE", help=help)
    command = add(_describe, "describe", "describe a picture", *encoder, "captioner")
    command.add_argument("image", type=Path, metavar="IMAGE")
    command.add_argument("--detail", choices=("short", "detailed"), default="short", help="(default: short)")
    command.add_argument("--question", default="", help="ask this instead, of a captioner that answers")
    command.add_argument("--language", choices=("en", "fr"), default="en", help="of its text (default: en)")
    command = add(_info, "info", "show what a bundle holds", "index")
    command.add_argument("--verify", action="store_true", help="check the digest of every file, however large")
    command = add(_eval, "eval", "measure how well a bundle answers its own captions", "index", *encoder)
    help = "measure how well good and absent queries are told apart"
    command.add_argument("--calibration", action="store_true", help=help)
    command = add(_bench, "bench", "measure speed and memory, as ratios in one run")
    groups = ("app", "models", "build", "search", "load")
    command.add_argument("group", nargs="?", choices=groups, help="of figures (default: all)")
    return parser


def _describe(arguments: argparse.Namespace, settings: Settings) -> None:
    engine = make_engine(settings)
    *_, description = engine.describe_growing(
        arguments.image,
        str(arguments.image),
        detail="question" if arguments.question else arguments.detail,
        question=arguments.question,
        language=arguments.language,
    )
    tell_problems(engine)
    if arguments.json:
        print_json(description.to_json())
        return
    print(plain(description.caption))
    for tag in description.tags:
        print(plain(f"{tag.score:6.2f}  {tag.tag}"))


def _info(arguments: argparse.Namespace, settings: Settings) -> None:
    manifest = read_manifest(settings.bundle)
    check_digests(settings.bundle, manifest, inf if arguments.verify else MAX_DIGEST_BYTES)
    fields = {"bundle": str(settings.bundle)} | asdict(manifest)
    if arguments.json:
        print_json(fields)
        return
    for name, value in fields.items():
        print(plain(f"{name:16}{_shown(value)}"))


def _shown(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{name} {fact}" if isinstance(fact, str) else name for name, fact in value.items())


def _eval(arguments: argparse.Namespace, settings: Settings) -> None:
    from imgsearch.evaluate import evaluate, evaluate_calibration

    engine = make_engine(settings)
    if arguments.calibration:
        fields = evaluate_calibration(engine.index, engine.encoder).to_json()
    else:
        fields = evaluate(engine.index, engine.encoder, engine.describer).to_json()
    if arguments.json:
        print_json(fields)
    else:
        _print_figures(fields)


def _print_figures(fields: Mapping[str, Any], indent: str = "") -> None:
    """One figure a line; those that belong to one thing under its name."""
    for name, value in fields.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_figures(value, f"{indent}    ")
        else:
            print(f"{indent + name:42}{value}")


def _bench(arguments: argparse.Namespace, settings: Settings) -> None:
    from imgsearch.bench import GROUPS, bench

    figures = []
    for figure in bench([arguments.group] if arguments.group else GROUPS):
        figures.append(figure.to_json())
        if not arguments.json:
            print(figure, flush=True)
    if arguments.json:
        print_json({"figures": figures})


MAKING = (build, merge, remove, _bench)  # they open no bundle of another


if __name__ == "__main__":
    sys.exit(main())
