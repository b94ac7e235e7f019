"""Measure speed and memory, as ratios in one run: python -m tests.bench [app|models|build|search|lance|load]."""

import argparse
from collections.abc import Callable, Iterator

from imgsearch.text import json_text
from tests.bench.app import bench_answers, bench_app
from tests.bench.figures import Figure, bench_build, bench_many, bench_memory, bench_order, bench_search
from tests.bench.load import bench_load
from tests.bench.models import bench_captioner, bench_encoder
from tests.bench.tables import bench_tables

GROUPS: dict[str, tuple[Callable[[], Iterator[Figure]], ...]] = {
    "app": (bench_app, bench_answers),
    "models": (bench_encoder, bench_captioner),
    "build": (bench_build, bench_memory),
    "search": (bench_search, bench_order, bench_many),
    "lance": (bench_tables,),
    "load": (bench_load,),
}


def main() -> None:
    """Measure and print the figures of one group or of all groups; each group takes minutes."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("group", nargs="?", choices=GROUPS, help="of figures (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    figures = []
    for group in [arguments.group] if arguments.group else GROUPS:
        for measure in GROUPS[group]:
            for figure in measure():
                figures.append(figure.to_json())
                if not arguments.json:
                    print(figure, flush=True)
    if arguments.json:
        print(json_text({"figures": figures}))


if __name__ == "__main__":
    main()
