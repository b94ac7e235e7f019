"""Print the results of commands: as JSON, or one figure per line."""

from collections.abc import Mapping
from typing import Any

from imgsearch.text import json_text


def print_json(value: dict[str, Any]) -> None:
    """Print a value as indented JSON."""
    print(json_text(value))


def print_figures(fields: Mapping[str, Any], indent: str = "") -> None:
    """Print one figure per line; nested figures are indented under their common name."""
    for name, value in fields.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            print_figures(value, f"{indent}    ")
        else:
            print(f"{indent + name:42}{value}")
