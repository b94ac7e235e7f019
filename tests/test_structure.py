"""The house stays as it is laid: eight rules of import, each heavy library in its place, and importing is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from imgsearch.config import ROOT
from imgsearch.engine import Engine
from imgsearch.web.page import build_app
from imgsearch.web.security.decoder import Decoder

PACKAGES = {"models", "index", "ingest", "search", "describe", "web", "cli"}
FILES = sorted(path for path in (ROOT / "imgsearch").rglob("*.py") if path.name != "__init__.py")
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}


def room_of(module: str) -> str:
    """The package that a module of ours lies in, or its own name where it lies directly in `imgsearch`."""
    return module.split(".")[1]


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


ARROWS = {(room_of(a), room_of(b)) for a, path in MODULES.items() for b in imports_of(path) & MODULES.keys()}
ARROWS = {(a, b) for a, b in ARROWS if a != b}
FOUNDATION = {room_of(module) for module in MODULES} - PACKAGES
FOUNDATION -= {"model_manager", "engine", "evaluate", "__main__"}


def imported_by(room: str) -> set[str]:
    return {b for a, b in ARROWS if a == room}


def test_the_rules_see_the_whole_package() -> None:
    assert len(MODULES) >= 80 and len(ARROWS) >= 60 and len(FOUNDATION) >= 9
    assert {room for arrow in ARROWS for room in arrow} >= PACKAGES | {"engine", "model_manager", "errors"}


def test_1_the_foundation_imports_nothing_but_itself() -> None:
    assert all(imported_by(room) <= FOUNDATION for room in FOUNDATION)


def test_2_models_know_the_foundation_only() -> None:
    assert imported_by("models") <= FOUNDATION


def test_3_an_index_knows_models_and_the_foundation() -> None:
    assert imported_by("index") <= FOUNDATION | {"models"}


def test_4_ingest_and_search_build_on_the_index_and_never_meet() -> None:
    assert imported_by("ingest") | imported_by("search") <= FOUNDATION | {"models", "index"}


def test_5_descriptions_come_from_models_alone() -> None:
    assert imported_by("describe") <= FOUNDATION | {"models"}


def test_6_the_engine_stands_on_search_and_description_by_way_of_the_model_manager() -> None:
    below = FOUNDATION | {"models", "index", "search", "describe"}
    assert imported_by("model_manager") <= below
    assert imported_by("engine") <= below | {"model_manager"}
    assert imported_by("evaluate") <= below
    assert {a for a, b in ARROWS if b == "evaluate"} <= {"cli"}


def test_7_the_page_and_the_command_line_never_meet_and_the_page_builds_nothing() -> None:
    assert not imported_by("web") & {"cli", "ingest", "evaluate", "model_manager"}
    assert "web" not in imported_by("cli")


def test_8_no_module_is_imported_in_a_circle_and_none_imports_tests() -> None:
    left = {module: imports_of(path) & MODULES.keys() - {module} for module, path in MODULES.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert not left
    assert not any(name.split(".")[0] in ("tests", "app") for path in FILES for name in imports_of(path))


HOMES = {
    "pebble": {"web.security.decoder"},
    "limits": {"web.security.rate_limit"},
    "pillow_heif": {"images"},
    "faiss": {"index.index", "index.flat", "search.projection"},  # there: exact neighbours of any vectors
    "pyarrow": {"ingest.shards", "ingest.tables", "index.index", "index.items", "index.filters", "index.edit"}
    | {"index.lance", "index.lance_table", "index.lance_export", "index.captions"},
    "lancedb": {"index.lance_table", "index.lance_export"},
    "rapidocr": {"ingest.ocr"},
    "ray": {"ingest.cluster"},
    "mcp": {"web.api"},
    "datasets": {"ingest.dataset", "ingest.columns", "ingest.splits", "ingest.tables", "ingest.tars"},
    "torch": {"models.starter", "models.clip", "models.captioner", "models.loading"},
    "timm": {"models.starter"},
    "transformers": {"models.starter", "models.captioner"},
    "open_clip": {"models.clip"},
    "huggingface_hub": {"hub", "downloads"},
    "umap": {"search.projection"},
    "sklearn": {"search.projection", "search.thresholds"},
    "scipy": {"search.duplicates"},
    "sqlite3": {"search.words"},
    "filelock": {"hub", "downloads", "index.bundle", "index.lance_export"},
    "tqdm": {"cli.output", "downloads"},
    "wordfreq": {"models.language"},
    "argparse": {"config", "cli.build", "cli.search", "cli.main"},
}


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_in_its_homes_only(library: str) -> None:
    users = {name for name, path in MODULES.items() if library in {each.split(".")[0] for each in imports_of(path)}}
    assert {name.removeprefix("imgsearch.") for name in users} == HOMES[library]


def test_gradio_is_imported_by_the_page_only() -> None:
    users = {path for path in FILES if "gradio" in {name.split(".")[0] for name in imports_of(path)}}
    assert users and all(path.is_relative_to(ROOT / "imgsearch" / "web") for path in users)


def test_a_package_is_its_docstring() -> None:
    files = [path for path in (ROOT / "imgsearch").rglob("__init__.py") if path.parent != ROOT / "imgsearch"]
    assert {path.parent.name for path in files} >= PACKAGES
    for path in files:
        [node] = ast.parse(path.read_text("utf-8")).body
        assert isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant), path


def test_no_module_reads_its_annotations() -> None:
    """From Python 3.14 on a class body has no `__annotations__`."""
    assert not [path for path in FILES if "__annotations__" in path.read_text("utf-8")]


def test_one_decode_path() -> None:
    assert [path.name for path in FILES if "Image.open(" in path.read_text("utf-8")] == ["images.py"]


@pytest.mark.parametrize(
    "statement", ["import imgsearch", "import app", "import imgsearch.engine", "import imgsearch.web.security.decoder"]
)
def test_importing_is_light(statement: str) -> None:
    """A decode worker imports `app` and the decoder: Gradio or torch there would cost seconds and 170 MB each."""
    code = f"import sys; {statement}; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(modules.split()) & {
        "torch",
        "transformers",
        "timm",
        "gradio",
        "faiss",
        "pyarrow",
        "datasets",
        "lancedb",
        "rapidocr",
    }


def test_torch_comes_before_faiss() -> None:
    """The first libgomp of a process serves both: where it is that of FAISS, the encoder takes longer for a text."""
    code = (
        "import sys, imgsearch.web.page, imgsearch.web.server; from pathlib import Path; "
        "print('faiss' in sys.modules, 'torch' in sys.modules); "
        "imgsearch.Engine.open(Path('indexes/starter'), 'starter', 'starter').search('a cup'); "
        "print(min(('torch', 'faiss'), key=list(sys.modules).index))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False", "torch"]


def test_every_public_name_is_there() -> None:
    import imgsearch

    assert len(imgsearch.__all__) == 25
    for name in imgsearch.__all__:
        assert getattr(imgsearch, name).__doc__
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = imgsearch.nothing_such


def test_the_page_stays_small(engine: Engine) -> None:
    """How much it takes to draw it, and how much of it Python does not check."""
    decoder = Decoder()
    page = build_app([engine], decoder)
    decoder.close()
    assert len(page.fns) <= 60 and len(page.blocks) <= 100
    sources = [path for path in (ROOT / "imgsearch" / "web" / "static").rglob("*") if path.suffix in (".js", ".css")]
    lines = [line for path in sources for line in path.read_text("utf-8").splitlines()]
    assert 400 <= len(lines) <= 840 and max(map(len, lines)) <= 120
