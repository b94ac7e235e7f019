"""The command line: python -m imgsearch COMMAND."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from imgsearch.config import FlagParser, Settings
from imgsearch.engine import Engine
from imgsearch.errors import ImgsearchError, InputError
from imgsearch.manifest import read_manifest
from imgsearch.models import load_encoder
from imgsearch.records import Answer

Command = Callable[[argparse.Namespace, Settings], None]


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns 0, or 2 after one line on stderr that says what is wrong and what to do."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments, Settings.read(vars(arguments)))
    except ImgsearchError as error:
        print(f"imgsearch: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> FlagParser:
    parser = FlagParser(prog="imgsearch", description="Describe images, find similar ones, search by text.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Command, name: str, help: str, *settings: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=run)
        command.add_settings(*settings)
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    encoder = ("encoder", "precision")
    command = add(_build, "build", "index a folder of pictures into a bundle", *encoder)
    command.add_argument(
        "source", type=Path, metavar="SOURCE", help="a folder of pictures, with or without metadata.csv"
    )
    command.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    command.add_argument("--limit", type=int, metavar="N", help="index at most N pictures")
    command = add(_search, "search", "search by text", "index", *encoder)
    command.add_argument("text", metavar="TEXT")
    command.add_argument("-k", type=int, default=12, help="number of hits (default: 12)")
    command = add(_similar, "similar", "find similar pictures", "index", *encoder)
    command.add_argument("image", type=Path, metavar="IMAGE")
    command.add_argument("-k", type=int, default=12, help="number of hits (default: 12)")
    command = add(_describe, "describe", "describe a picture", *encoder, "captioner")
    command.add_argument("image", type=Path, metavar="IMAGE")
    command.add_argument("--detail", choices=("short", "detailed"), default="short", help="(default: short)")
    command.add_argument("--question", default="", help="ask this instead, of a captioner that answers")
    command.add_argument("--language", choices=("en", "fr"), default="en", help="of its text (default: en)")
    add(_info, "info", "show what a bundle holds", "index")
    add(_eval, "eval", "measure how well a bundle answers its own captions", "index", *encoder)
    add(_bench, "bench", "measure speed and memory, as ratios in one run")
    return parser


def _engine(settings: Settings) -> Engine:
    return Engine(settings.index, settings.encoder, settings.captioner, settings.precision)


def _build(arguments: argparse.Namespace, settings: Settings) -> None:
    from imgsearch.build import build_index
    from imgsearch.dataset import Folder
    from imgsearch.index import check_target

    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit is {arguments.limit}. Give at least 1.")
    folder = Folder(arguments.source)
    bar = tqdm(unit=" pictures", total=len(folder), file=sys.stderr, delay=0.1)

    def on_progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    check_target(arguments.out)  # before a model is fetched
    encoder = load_encoder(settings.encoder, settings.precision)
    report = build_index(folder, arguments.out, encoder, limit=arguments.limit, on_progress=on_progress)
    bar.close()
    if arguments.json:
        _print_json(report.to_json())
        return
    where = f"into {arguments.out} by {encoder.model_id}"
    print(f"{report.num_items} pictures indexed {where} in {report.seconds:.1f} s.")
    for skip in report.skipped:
        print(_plain(f"Not indexed: {skip.picture}: {skip.reason}"))


def _search(arguments: argparse.Namespace, settings: Settings) -> None:
    engine = _engine(settings)
    _print_answer(engine.search(arguments.text, arguments.k), engine, arguments)


def _similar(arguments: argparse.Namespace, settings: Settings) -> None:
    engine = _engine(settings)
    _print_answer(engine.similar(arguments.image, arguments.k, str(arguments.image)), engine, arguments)


def _describe(arguments: argparse.Namespace, settings: Settings) -> None:
    engine = _engine(settings)
    *_, description = engine.describe_growing(
        arguments.image,
        str(arguments.image),
        detail="question" if arguments.question else arguments.detail,
        question=arguments.question,
        language=arguments.language,
    )
    _tell_problems(engine)
    if arguments.json:
        _print_json(description.to_json())
        return
    print(_plain(description.caption))
    for tag in description.tags:
        print(f"{tag.score:6.2f}  {tag.tag}")


def _info(arguments: argparse.Namespace, settings: Settings) -> None:
    fields = {"bundle": str(settings.index)} | asdict(read_manifest(settings.index))
    if arguments.json:
        _print_json(fields)
        return
    for name, value in fields.items():
        print(f"{name:16}{', '.join(value) if isinstance(value, dict) else value}")


def _eval(arguments: argparse.Namespace, settings: Settings) -> None:
    from imgsearch.evaluate import evaluate

    engine = _engine(settings)
    fields = evaluate(engine.index, engine.encoder, engine.describer).to_json()
    if arguments.json:
        _print_json(fields)
        return
    for name, value in fields.items():
        print(f"{name:26}{value}")


def _bench(arguments: argparse.Namespace, settings: Settings) -> None:
    from imgsearch.bench import bench

    figures = []
    for figure in bench():
        figures.append(figure.to_json())
        if not arguments.json:
            print(figure, flush=True)
    if arguments.json:
        _print_json({"figures": figures})


def _tell_problems(engine: Engine) -> None:
    """What was wanted and is not there, on stderr."""
    for problem in engine.status.problems:
        print(f"imgsearch: {problem}", file=sys.stderr)


def _print_answer(answer: Answer, engine: Engine, arguments: argparse.Namespace) -> None:
    _tell_problems(engine)
    if arguments.json:
        _print_json(answer.to_json())
        return
    if answer.cut:
        print(_plain(f"The model did not read the end: {answer.cut}"), file=sys.stderr)
    for hit in answer.hits:
        print(_plain(f"{hit.rank:4}  {hit.score:.3f}  {hit.item.id}  {hit.item.caption}"))


def _plain(text: str) -> str:
    """One line without control characters: captions and names may be anyone's."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
