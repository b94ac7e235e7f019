"""Settings: defaults, then `IMGSEARCH_*` from the environment, then flags; and the parser of those flags."""

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from imgsearch.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
STARTER_BUNDLE = ROOT / "indexes" / "starter"
PREFIX = "IMGSEARCH_"


def cache_folder() -> Path:
    """The user's cache folder for this app (XDG Base Directory Specification); it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "imgsearch"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "imgsearch"


def is_starter_collection(bundle: Path) -> bool:
    """Whether this is the collection that comes with the app: the only one to have vectors of any encoder."""
    return bundle.resolve() == STARTER_BUNDLE.resolve()


def reach_self_directly() -> None:
    """Keep requests to this machine away from any proxy of the environment: Gradio checks its own page by one."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def spin_less() -> None:
    """Have torch's threads sleep where they wait for each other: spinning, they take the cores from those that decode.

    To be called before torch is imported (GCC's libgomp manual: GOMP_SPINCOUNT).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


@dataclass(frozen=True)
class Settings:
    """What the app is started with."""

    index: tuple[Path, ...] = (STARTER_BUNDLE,)
    host: str | None = None  # None: 127.0.0.1, or what the hosting platform sets
    port: int | None = None  # None: 7860, or the next free one
    share: bool = False
    encoder: str = "auto"
    captioner: str = "auto"
    precision: str = "auto"

    @classmethod
    def read(cls, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> "Settings":
        """Settings from `flags` (None: not given), else from `environ`, else the defaults.

        An empty variable is not set. Raises SettingsError for an unknown `IMGSEARCH_` variable or an impossible value.
        """
        names = [field.name for field in fields(cls)]
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or not text:
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in names:
                known = ", ".join(PREFIX + name.upper() for name in names)
                raise SettingsError(f"{variable} is not a setting. The settings are {known}.")
            values[name] = _parse(variable, name, text)
        values |= {name: value for name, value in flags.items() if name in names and value is not None}
        return cls(**values | {"index": tuple(dict.fromkeys(values.get("index", ()))) or cls.index})

    @property
    def bundle(self) -> Path:
        """The only bundle. Raises SettingsError where there are several."""
        if len(self.index) > 1:
            raise SettingsError("There are several --index. Give one: only the app serves more.")
        return self.index[0]


def _parse(variable: str, name: str, text: str) -> Any:
    if name == "index":
        return [Path(path) for path in text.split(os.pathsep) if path]
    if name == "port":
        try:
            return port_number(text)
        except argparse.ArgumentTypeError as error:
            raise SettingsError(f"{variable}: {error}.") from None
    if name == "share":
        if text.lower() not in ("0", "1", "false", "true", "no", "yes"):
            raise SettingsError(f"{variable} is {text!r}. Give 1 or 0.")
        return text.lower() in ("1", "true", "yes")
    return text


def port_number(text: str) -> int:
    """The port that `text` gives. Raises argparse.ArgumentTypeError, with a message for the user."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)


FLAGS: dict[str, dict[str, Any]] = {
    "index": {
        "type": Path,
        "action": "append",
        "metavar": "BUNDLE",
        "help": "the bundle to search (default: indexes/starter); the app takes several",
    },
    "host": {"help": "address to listen on (default: 127.0.0.1)"},
    "port": {"type": port_number, "help": "port to listen on (default: 7860, or the next free one)"},
    "share": {"action": "store_true", "default": None, "help": "open a temporary public link"},
    "encoder": {"help": "auto, starter, a preset or a model of open_clip (default: auto)"},
    "captioner": {"help": "auto, starter, a preset or a model of the hub (default: auto)"},
    "precision": {"help": "auto, float32 or bfloat16, for models of the hub (default: auto)"},
}


class FlagParser(argparse.ArgumentParser):
    """An argument parser that knows the flags of the settings and reports an error in one line."""

    def add_settings(self, *names: str) -> None:
        """Add the flags of these settings; a flag that is not given comes out as None."""
        for name in names:
            self.add_argument(f"--{name}", **FLAGS[name])

    def error(self, message: str) -> NoReturn:
        """Print the message and where to look, and exit with code 2."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")
