"""What the code imports is required, what is required is used, and every bound holds here."""

import ast
import json
import pkgutil
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from imgsearch.config import ROOT

LINE = re.compile(r"[\w-]+(>=[\d.]+,<[\d.]+|==[\d.]+)")  # what tests/lowest.sh reads
APP = [*sorted((ROOT / "imgsearch").rglob("*.py")), ROOT / "app.py"]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TOOLS = sorted((ROOT / ".tools").glob("*.py"))
assert len(APP) > 1 and TESTS and TOOLS
OURS = {"imgsearch", "app", "tests"}
OPTIONAL = {
    "lancedb": "imported for a Lance table alone, by those who have installed it",
    "onnxruntime": "runs the models of rapidocr",
    "rapidocr": "imported for a build --text alone",
    "mcp": "imported with --mcp alone",
    "ray": "imported for a build on a cluster alone",
}
NOT_IMPORTED = {
    "pytest-playwright": "pytest finds it by itself; it hands out the browser's page",
    "pytest-xdist": "run.sh runs the default tests by it",
    "moto": "tests of tables in S3 start it as a server",
    "flask": "moto is a server by it",
    "flask-cors": "moto is a server by it",
    "py-partiql-parser": "moto reads it with S3",
    "ruff": "run.sh runs it",
    "mypy": "run.sh runs it",
}


def lines_of(path: Path) -> list[str]:
    return [line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines()]


APP_LINES = lines_of(ROOT / "requirements.txt")
TEST_LINES = lines_of(ROOT / "tests" / "requirements.txt")
LINES = [*APP_LINES, *TEST_LINES]


def dotted(node: ast.AST, modules: dict[str, str]) -> str | None:
    """The full name of `np.linalg.norm` where `np` was imported as numpy."""
    if isinstance(node, ast.Name):
        return modules.get(node.id)
    if isinstance(node, ast.Attribute) and (before := dotted(node.value, modules)):
        return f"{before}.{node.attr}"
    return None


def names_in(path: Path) -> Iterator[str]:
    """Dotted names of all that a file takes from the libraries: what it imports, and the attributes of that."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    local: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                top = alias.name.split(".")[0]
                local[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            local |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    yield from local.values()
    yield from filter(None, (dotted(node, local) for node in nodes if isinstance(node, ast.Attribute)))


def taken_by(files: list[Path]) -> dict[str, set[str]]:
    """The names that files take from each library that is neither Python's nor ours."""
    taken: dict[str, set[str]] = {}
    for name in (name for path in files for name in names_in(path)):
        library = name.split(".")[0]
        if library not in sys.stdlib_module_names | OURS:
            taken.setdefault(library, set()).add(name)
    return taken


def required(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def distributions_of(files: list[Path]) -> set[str]:
    sources = packages_distributions()
    return {canonicalize_name(sources[library][0]) for library in taken_by(files)}


NAMES = taken_by([*APP, *TESTS, *TOOLS])


@pytest.mark.parametrize("library", sorted(NAMES))
def test_every_name_that_is_used_is_there(library: str) -> None:
    for name in sorted(NAMES[library]):
        pkgutil.resolve_name(name)  # raises where there is none


def test_the_walk_sees_imports_and_attributes() -> None:
    seen = set().union(*NAMES.values())
    assert {"numpy.linalg.norm", "PIL.Image.Image", "torch.inference_mode"} <= seen


def test_what_is_imported_is_required() -> None:
    assert distributions_of(APP) <= required(APP_LINES) | OPTIONAL.keys()
    assert OPTIONAL.keys() <= required(TEST_LINES)
    assert distributions_of([*APP, *TESTS, *TOOLS]) <= required(LINES)


def test_what_is_required_is_used() -> None:
    assert required(APP_LINES) <= distributions_of(APP)
    assert required(TEST_LINES) - distributions_of(TESTS) - OPTIONAL.keys() == NOT_IMPORTED.keys()


def test_nothing_is_required_twice() -> None:
    assert len(required(LINES)) == len(LINES)


@pytest.mark.parametrize("line", LINES)
def test_the_installed_version_lies_within_both_bounds(line: str) -> None:
    assert LINE.fullmatch(line)
    requirement = Requirement(line)
    assert requirement.specifier.contains(version(requirement.name))


def test_a_space_runs_the_gradio_that_is_tested() -> None:
    (asked,) = re.findall(r'^sdk_version: "(.+)"$', (ROOT / "README.md").read_text("utf-8"), re.M)
    (line,) = [line for line in APP_LINES if line.startswith("gradio>=")]
    lowest = line.removeprefix("gradio>=").split(",")[0]
    assert Requirement(line).specifier.contains(asked)
    assert Version(asked) in {Version(version("gradio")), Version(lowest)}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder's address on the loopback interface."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def audited(index: str) -> tuple[int, str]:
    """Exit status and output of the audit that ends tests/lowest.sh."""
    program = [sys.executable, str(ROOT / ".tools" / "audit.py"), index]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("fixed_in", "withdrawn", "status"),
    [(["99"], None, 1), ([], None, 0), (["99"], "2026-01-01", 0)],
    ids=["mended", "not mended", "withdrawn"],
)
def test_the_audit_ends_with_1_for_a_vulnerability_that_is_mended(
    fixed_in: list[str], withdrawn: str | None, status: int, tmp_path: Path
) -> None:
    page = tmp_path / "tqdm" / version("tqdm") / "json"
    page.parent.mkdir(parents=True)
    found = {"id": "MADE-UP-1", "fixed_in": fixed_in, "withdrawn": withdrawn}
    page.write_text(json.dumps({"info": {"version": version("tqdm")}, "vulnerabilities": [found]}))
    with served(tmp_path) as index:
        returned, told = audited(index)
    assert (returned, "MADE-UP-1" in told) == (status, not withdrawn)
    assert f"1 of {len(LINES)} packages" in told and f"numpy {version('numpy')}" in told.splitlines()[-1]


def test_the_audit_says_when_the_index_does_not_answer() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        closed = f"http://127.0.0.1:{server.server_port}"
    status, told = audited(closed)
    assert status == 0 and told.startswith("The index does not answer, so nothing is known: ")
