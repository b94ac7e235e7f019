"""The READMEs tell the truth: their commands run, their links lead somewhere, the tree and the tables are whole."""

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest

from imgsearch.config import ROOT, Settings
from imgsearch.models.registry import PRESETS
from tests.helpers.app import running_app
from tests.helpers.commands import run_module

README = (ROOT / "README.md").read_text("utf-8")
READMES = [path for pattern in ("", "imgsearch/**/", "tests/**/") for path in sorted(ROOT.glob(f"{pattern}README.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in READMES}
COMMANDS = {
    name: [line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()]
    for name, text in TEXTS.items()
}
MAX_LINES, MAX_WIDTH = 180, 120
# What runs these tests has run them just before.
SET_UP = ("python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt", "bash tests/run.sh")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, where commands may write; of the examples it has some, to be quick."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("app.py", "imgsearch", "indexes", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("skimage", "wallpapers"):
        shutil.copytree(ROOT / "examples" / name, folder / "examples" / name)
    with (ROOT / "examples" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    with (folder / "examples" / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *(row for row in rows if (folder / "examples" / row[0]).is_file())])
    return folder


def test_the_readmes_are_found_and_the_first_begins_with_the_start() -> None:
    assert len(TEXTS) >= 6 and next(iter(TEXTS)) == "README.md"
    commands = [command for name in TEXTS for command in COMMANDS[name]]
    assert commands[0].startswith(SET_UP[0]) and commands[0].endswith(".venv/bin/python app.py")
    assert "bash tests/run.sh" in commands and len(commands) == len(set(commands)) > 20


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", TEXTS)
def test_lines_are_not_too_wide(name: str) -> None:
    header = re.compile(r"\A---\n.*?\n---\n", re.S)  # of a Space
    for line in header.sub("", TEXTS[name]).splitlines():
        assert len(line) <= MAX_WIDTH or line.startswith("|"), line


@pytest.mark.parametrize("name", [name for name in TEXTS if COMMANDS[name]])
def test_the_commands_run_in_their_order(
    name: str, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    for part in " && ".join(COMMANDS[name]).split(" && "):
        if part in SET_UP:
            continue
        program, *arguments = shlex.split(part)
        assert program == ".venv/bin/python"
        if arguments[0] == "app.py":
            with running_app(*arguments[1:], cwd=checkout) as (_, process):
                assert process.poll() is None
            continue
        option, module, *arguments = arguments
        assert option == "-m"
        done = run_module(capsys, module, *arguments, *(["--help"] if module == "tests.bench" else []))  # else minutes
        assert done.code == 0 and done.out, f"{part}: {done.err}"


def test_the_tree_names_every_package() -> None:
    tree = README.split("## Develop")[1].split("\n## ")[0].split("```\n")[2]
    packages = {path.name for path in (ROOT / "imgsearch").iterdir() if (path / "__init__.py").is_file()}
    assert len(packages) == 8 and packages == set(re.findall(r"^  (\w+)/", tree, re.M))
    for name in re.findall(r"^(\S+)", tree, re.M):
        assert (ROOT / name).exists(), name


def test_every_setting_is_explained() -> None:
    for name in Settings.__dataclass_fields__:
        assert f"`--{name.replace('_', '-')}" in README and f"`IMGSEARCH_{name.upper()}`" in README


@pytest.mark.parametrize("name", TEXTS)
def test_the_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXTS[name]):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_every_preset_is_in_the_table() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    for preset in PRESETS:
        [row] = [row for row in rows if row.startswith(f"| `{preset.name}` | `{preset.model_id}` |")]
        assert row.split(" | ")[4] == preset.languages
