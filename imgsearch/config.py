"""The settings: flags win over `IMGSEARCH_*` variables, these over defaults. App and command line share the flags."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from imgsearch.environment import on_space
from imgsearch.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
STARTER_BUNDLE = ROOT / "indexes" / "starter"
PREFIX = "IMGSEARCH_"
HF_DATASETS_PREFIX = "hf://datasets/"  # of the name of a dataset, or of a bundle, on the hub
LANCE_PREFIX, S3_PREFIX = "lance://", "s3://"  # of the address of a Lance table
RATE = 120  # requests a minute and client, if other machines can reach the app
SPACE_HOST, SPACE_PORT = "0.0.0.0", 7860
ONE_AT_A_TIME = "Put a text of several words between quotes; give one picture, or one source, at a time"
Bundle: TypeAlias = Path | str
"""A folder, or the name of a bundle on the hub."""


def is_starter_collection(bundle: Path) -> bool:
    """Return True for the collection that comes with the app: the only one that any encoder can search."""
    return bundle.resolve() == STARTER_BUNDLE.resolve()


def bundle_name(text: str) -> Bundle:
    """Turn the user's text into a bundle; a name on the hub stays text, because Path would drop one of its slashes."""
    if text.startswith((LANCE_PREFIX, S3_PREFIX)):
        return table_path(text)
    return text if text.startswith("hf:") else _path(text)


def _path(text: str) -> Path:
    """Turn the user's text into a path; no shell expands the ~ of a variable in a file."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 there may be no home


def table_path(text: str) -> Path:
    """Turn the address of a Lance table into its path, NAME.lance; of one in S3 it has one slash too few.

    Raise argparse.ArgumentTypeError, with a message for the user, if no table can be called so.
    """
    path = _path(text.removeprefix(LANCE_PREFIX).rstrip("/").removesuffix(".lance") + ".lance")
    if not (re.fullmatch(r"[\w.-]+", path.stem, re.ASCII) and is_lance_table(path)) or path.parent == Path("s3:"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of a Lance table. Give one such as lance://tables/photos or s3://BUCKET/photos, "
            "with only letters without accents, digits, _, - and dots in the name"
        )
    return path


def is_lance_table(bundle: Path) -> bool:
    """Return True for the path of a Lance table, not of a bundle."""
    return bundle.suffix == ".lance"


def port_number(text: str) -> int:
    """Parse a port number. Raise argparse.ArgumentTypeError, with a message for the user, if it is none."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)


def _rate(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests, such as 60, or 0 for any number")
    return int(text)


def _host_name(text: str) -> str:
    if not re.fullmatch(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|\[[\da-f:.]+\]", text, re.ASCII | re.IGNORECASE):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name without a port, such as photos.example.org")
    return text


def _setting(default: Any, help_text: str, *, shown: bool = True, **flag: Any) -> Any:
    """Return the field of a setting, with the options of its flag (see argparse); without `shown`, repr hides it."""
    return field(default=default, repr=shown, metadata={"default": None, "help": help_text, **flag})


_SWITCH: dict[str, Any] = {"action": "store_true"}


@dataclass(frozen=True)
class Settings:
    """The settings that the app is started with, each with its flag."""

    index: tuple[Bundle, ...] = _setting(
        (STARTER_BUNDLE,),
        f"a bundle, {HF_DATASETS_PREFIX}ORG/NAME[@REVISION], or a Lance table, lance://PATH or s3://BUCKET/PATH "
        "(default: indexes/starter); the app takes several",
        type=bundle_name,
        action="append",
        metavar="BUNDLE",
    )
    host: str = _setting("127.0.0.1", "address to listen on (default: 127.0.0.1)")
    allowed_host: tuple[str, ...] = _setting(
        (),
        "a name in addresses of the app, such as *.example.org (default: any; if local, this machine's names)",
        type=_host_name,
        action="append",
        metavar="HOST",
    )
    port: int | None = _setting(None, "port to listen on (default: 7860, or the next free one)", type=port_number)
    share: bool = _setting(False, "open a public link for a week, with --auth, --auth-file or --public", **_SWITCH)
    auth: str = _setting(
        "", "who may come in; other users see it here, in a file they do not", shown=False, metavar="USER:PASSWORD"
    )
    auth_file: Path | None = _setting(None, "who may come in: a USER:PASSWORD on each line", type=_path, metavar="FILE")
    public: bool = _setting(False, "share without a password", **_SWITCH)
    rate: int | None = _setting(
        None,
        f"requests a minute of one client, 0 for any number (default: {RATE} where others can reach the app)",
        type=_rate,
        metavar="N",
    )
    trust_proxy: bool = _setting(
        False, "tell clients apart by a proxy's X-Forwarded-For (default: on a Space)", **_SWITCH
    )
    mcp: bool = _setting(False, "let agents search, describe and compare by the Model Context Protocol", **_SWITCH)
    encoder: str = _setting("auto", "auto, starter, a preset or a model of open_clip (default: auto)")
    captioner: str = _setting("auto", "auto, starter, a preset or a model of the hub (default: auto)")
    precision: str = _setting("auto", "auto, float32 or bfloat16, for models of the hub (default: auto)")
    exact: bool = _setting(False, "search a Lance table without its index, so that no hit is missed", **_SWITCH)
    no_words: bool = _setting(
        False, "search by what the pictures show alone, not by the words of captions and columns", **_SWITCH
    )

    @classmethod
    def read(cls, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read each setting from `flags` (None: not given), else `environ`, else its default for the place we run in.

        An empty variable counts as not set. Raise SettingsError for an unknown `IMGSEARCH_` variable or a wrong value.
        """
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or not text:
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in FLAGS:
                known = ", ".join(PREFIX + name.upper() for name in FLAGS)
                raise SettingsError(
                    "{variable} is not a setting. The settings are {known}.", variable=variable, known=known
                )
            values[name] = _parse(variable, name, text)
        values |= {name: value for name, value in flags.items() if name in FLAGS and value is not None}
        values["index"] = tuple(dict.fromkeys(values.get("index", ()))) or cls.index
        values["allowed_host"] = tuple(values.get("allowed_host", ()))
        settings = cls(**values | _defaults_by_place(values, environ))
        return replace(settings, rate=values.get("rate", 0 if settings.is_local else RATE) or None)

    @property
    def bundle(self) -> Path:
        """Return the only bundle. Raise SettingsError if there are several, or if it is still on the hub."""
        if len(self.index) > 1:
            raise SettingsError("There are several --index. Give one: only the app serves more.")
        if isinstance(self.index[0], str):
            raise SettingsError(
                "{bundle} is on the hub and cannot be changed here. Give the folder of a bundle.", bundle=self.index[0]
            )
        return self.index[0]

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach the app."""
        return _is_loopback(self.host) and not (self.share or self.trust_proxy)

    @property
    def trusted_hosts(self) -> list[str]:
        """Return the host names by which the app may be asked, ["*"] for any; Gradio itself uses this machine's.

        Otherwise a page could give its own name this machine's address and read the app (DNS rebinding).
        """
        if not self.allowed_host and not self.is_local:
            return ["*"]
        address = self.host.strip("[]")
        own = ["localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address]
        return [*own, *self.allowed_host, *(["*.gradio.live"] if self.share else [])]

    @property
    def users(self) -> list[tuple[str, str]]:
        """Return the (user, password) pairs; an empty list lets everyone in. Raise SettingsError if one is unusable."""
        lines = {"--auth": self.auth} if self.auth else {}
        if self.auth_file:
            try:
                texts = self.auth_file.read_text("utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                raise SettingsError(
                    "{file} cannot be read: {reason}. Give another --auth-file.", file=self.auth_file, reason=reason
                ) from None
            lines |= {
                f"Line {number} of {self.auth_file}": text for number, text in enumerate(texts, 1) if text.strip()
            }
            if not lines:
                raise SettingsError("{file} is empty. Put USER:PASSWORD into it.", file=self.auth_file)
        pairs = {place: text.partition(":") for place, text in lines.items()}
        for place, (user, _, password) in pairs.items():
            if not user.strip() or not password:
                raise SettingsError("{place} is not USER:PASSWORD. Give both, with a colon between them.", place=place)
        if self.share and not pairs and not self.public:
            raise SettingsError(
                "--share lets everyone in who has the link. Give --auth USER:PASSWORD or --auth-file FILE, or --public."
            )
        return [(user.strip(), password) for user, _, password in pairs.values()]


def _defaults_by_place(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings whose defaults depend on where the app runs."""
    is_space = on_space(environ)
    host = values.get("host") or environ.get("GRADIO_SERVER_NAME") or (SPACE_HOST if is_space else Settings.host)
    own_port = SPACE_PORT if is_space and not environ.get("GRADIO_SERVER_PORT") else None
    trust_proxy = values.get("trust_proxy", is_space)  # a Space is behind a proxy of its own
    return {"host": host, "port": values.get("port", own_port), "trust_proxy": trust_proxy}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _parse(variable: str, name: str, text: str) -> Any:
    flag = FLAGS[name]
    if flag.get("action") == "store_true":
        if text.lower() not in ("0", "1", "false", "true", "no", "yes"):
            raise SettingsError("{variable} is {text!r}. Give 1 or 0.", variable=variable, text=text)
        return text.lower() in ("1", "true", "yes")
    parse = flag.get("type", str)
    try:
        if name == "index":  # a name on the hub contains a colon, which otherwise separates two bundles
            separator, prefixes = re.escape(os.pathsep), "|".join((HF_DATASETS_PREFIX, LANCE_PREFIX, S3_PREFIX))
            return [parse(part) for part in re.findall(rf"(?:{prefixes})[^{separator}]*|[^{separator}]+", text)]
        return [parse(part.strip()) for part in text.split(",")] if name == "allowed_host" else parse(text)
    except argparse.ArgumentTypeError as error:
        raise SettingsError("{variable}: {error}.", variable=variable, error=error) from None


FLAGS = {field.name: dict(field.metadata) for field in fields(Settings)}


class FlagParser(argparse.ArgumentParser):
    """An argument parser that knows the flags of the settings and reports an error in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)  # an error about an abbreviation would print its value

    def add_settings(self, *names: str) -> None:
        """Add the flags of these settings. A flag that is not given is parsed as None."""
        for name in names:
            self.add_argument(f"--{name.replace('_', '-')}", **FLAGS[name])

    def error(self, message: str) -> NoReturn:
        """Print the message with a pointer to --help in one line, and exit with code 2."""
        message = message.partition(": ignored explicit argument")[0]  # it may be a password
        start, label, words = message.partition("unrecognized arguments: ")
        if label:  # leave the values out: the one of a mistyped --auth is a password
            flags = " ".join(word.split("=")[0] for word in words.split() if word.startswith("-"))
            message = start + label + flags if flags else f"{start}too many words. {ONE_AT_A_TIME}"
        elif message.endswith("required: TEXT"):
            message += '. Before a text that begins with a dash put --; for less of something add --minus "a dog"'
        self.exit(2, f"{self.prog}: {message} (see --help)\n")
