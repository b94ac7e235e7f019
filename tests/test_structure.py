"""The house stays as it is laid: layers hold, heavy libraries stay at home, importing is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from imgsearch.config import ROOT

# Each may import from the lines above it only, and never from its own line.
LAYERS = [
    {"files", "plain", "surroundings"},
    {"errors", "records", "vectors"},
    {
        "images",
        "config",
        "manifest",
        "nouns",
        "colours",
        "vocabulary",
        "device",
        "checkpoints",
        "stream",
        "reasons",
        "transfer",
    },
    {"clip", "bundle", "items", "flat", "decoder", "query", "queries", "copies", "separation"},
    {"encoder", "starter", "captioner", "index", "folder", "hub"},
    {"models", "remote", "describer", "collection", "known", "shards", "columns", "filters", "duplicates", "together"},
    {"calibration"},
    {"tongues", "atlas"},
    {"finder", "annex"},
    {"lineup", "pipeline", "dataset", "made_up"},
    {"build", "engine", "evaluate", "peers", "curate"},
    {"trials", "searches", "figures", "serving"},
    {"load"},
    {"tabs", "bench", "making"},
    {"asking"},
    {"__main__", "sharing"},
    {"app"},
]
HOMES = {
    "pebble": {"decoder"},
    "pillow_heif": {"images"},
    "faiss": {"index", "flat"},
    "pyarrow": {"index", "items", "filters", "curate"},
    "datasets": {"dataset", "columns"},
    "torch": {"starter", "encoder", "captioner", "device", "peers"},
    "timm": {"starter"},
    "transformers": {"starter", "captioner", "peers"},
    "open_clip": {"clip", "peers"},
    "huggingface_hub": {"hub", "reasons", "transfer"},
    "umap": {"atlas"},
    "sklearn": {"atlas"},
    "filelock": {"hub", "bundle", "reasons"},
    "gradio": {"tabs", "app", "sharing"},
    "tqdm": {"making", "asking", "transfer"},
    "wordfreq": {"tongues"},
    "argparse": {"config", "making", "asking", "__main__"},
}
FILES = [*sorted((ROOT / "imgsearch").rglob("*.py")), ROOT / "app.py"]


def module_of(path: Path) -> str:
    return path.relative_to(ROOT / "imgsearch").parts[0].removesuffix(".py") if path.name != "app.py" else "app"


def imports_of(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path.name} has a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_every_module_has_a_layer() -> None:
    modules = {module_of(path) for path in FILES} - {"__init__"}
    assert modules == set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_go_down(path: Path) -> None:
    module = module_of(path)
    if module == "__init__":
        return
    level = next(i for i, layer in enumerate(LAYERS) if module in layer)
    allowed = set().union(*LAYERS[:level], {module} if module == "tabs" else set())
    imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("imgsearch.")}
    imported &= {module_of(path) for path in FILES}  # less the names that modules define
    assert imported <= allowed


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_stay_at_home(library: str) -> None:
    users = {module_of(path) for path in FILES if library in {name.split(".")[0] for name in imports_of(path)}}
    assert users == HOMES[library]


def test_one_decode_path() -> None:
    assert [path.name for path in FILES if "Image.open(" in path.read_text("utf-8")] == ["images.py"]


@pytest.mark.parametrize("statement", ["import imgsearch", "import app", "import imgsearch.engine"])
def test_importing_is_light(statement: str) -> None:
    code = f"import sys; {statement}; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(modules.split()) & {"torch", "transformers", "timm", "gradio", "faiss", "pyarrow", "datasets"}


def test_every_public_name_is_there() -> None:
    import imgsearch

    for name in imgsearch.__all__:
        assert getattr(imgsearch, name).__doc__
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = imgsearch.nothing_such
