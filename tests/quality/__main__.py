"""Report how well a bundle is judged or tagged: python -m tests.quality calibration|tags --index BUNDLE."""

import argparse
from pathlib import Path

from imgsearch.cli.output import figure_lines
from imgsearch.config import STARTER_BUNDLE
from imgsearch.describe.describer import Describer
from imgsearch.engine import Engine
from imgsearch.text import json_text
from tests.quality.calibration import evaluate_calibration
from tests.quality.tags import describe_hit


def main() -> None:
    """Print the report that the command line names."""
    parser = argparse.ArgumentParser(prog="tests.quality", description=__doc__)
    parser.add_argument("report", choices=("calibration", "tags"))
    parser.add_argument("--index", type=Path, default=STARTER_BUNDLE, metavar="BUNDLE")
    parser.add_argument("--encoder", default="auto")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    engine = Engine.open(arguments.index, arguments.encoder)
    if arguments.report == "calibration":
        figures = evaluate_calibration(engine.index, engine.searcher.encoder).to_json()
    else:
        items = [engine.index.item(row) for row in range(len(engine.index))]
        describer = Describer(engine.searcher.encoder, None)
        figures = {"describe_hit_at_5": describe_hit(items, engine.index.rows, describer)}
    print(json_text(figures) if arguments.json else "\n".join(figure_lines(figures)))


if __name__ == "__main__":
    main()
