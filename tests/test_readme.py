"""The README tells the truth: its commands run, its file map is whole."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imgsearch.config import ROOT, Settings
from imgsearch.models.registry import PRESETS
from tests.helpers.app import running_app

README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()]
# What runs these tests has run them just before.
SET_UP = ("python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt", "bash tests/run.sh")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, where commands may write."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("app.py", "imgsearch", "examples", "indexes", "tests"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_two_commands_are_there() -> None:
    assert COMMANDS[0].startswith(SET_UP[0]) and COMMANDS[0].endswith(".venv/bin/python app.py")
    assert COMMANDS[1] == "bash tests/run.sh"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(command: str, checkout: Path) -> None:
    for part in command.split(" && "):
        if part in SET_UP:
            continue
        program, *arguments = shlex.split(part)
        assert program == ".venv/bin/python"
        if "tests.bench" in arguments:
            arguments = ["-m", "tests.bench", "--help"]  # itself takes minutes
        if "app.py" in arguments:
            with running_app(*arguments[1:], cwd=checkout) as (_, process):
                assert process.poll() is None
        else:
            done = subprocess.run([sys.executable, *arguments], cwd=checkout, capture_output=True, timeout=120)
            assert done.returncode == 0 and done.stdout, done.stderr


def test_the_tree_names_every_package() -> None:
    tree = README.split("## File map")[1].split("\n## ")[0]
    packages = {path.name for path in (ROOT / "imgsearch").iterdir() if (path / "__init__.py").is_file()}
    assert len(packages) == 8 and packages == set(re.findall(r"^  (\w+)/", tree, re.M))
    for name in re.findall(r"^(\S+)", tree, re.M):
        assert name.startswith("`") or name == "Each" or (ROOT / name).exists(), name


def test_every_setting_is_explained() -> None:
    for name in Settings.__dataclass_fields__:
        assert f"`--{name.replace('_', '-')}" in README and f"`IMGSEARCH_{name.upper()}`" in README


def test_the_pictures_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_every_preset_is_in_the_table() -> None:
    for preset in PRESETS:
        facts = [
            f"`{preset.name}`",
            f"`{preset.model_id}`",
            preset.size,
            preset.licence,
            preset.languages,
            preset.quality,
        ]
        assert f"| {' | '.join(facts)} |" in README
