"""No telemetry: all that a process looks up, connects to or starts is written down while it is used."""

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from imgsearch.config import ROOT
from tests.helpers.app import PROGRAM, STARTER, running_app
from tests.helpers.loopback_hub import LoopbackHub

LOCAL = {"127.0.0.1", "localhost", "::1"}
SPY = """
import json, os, sys
log = open(os.environ["SEEN"], "a", buffering=1)
def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print(json.dumps(["name", str(args[0])]), file=log)
        if os.environ.get("UNKNOWN") and args[0] not in ("127.0.0.1", "localhost"):
            raise OSError(-2, "Name or service not known")
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(args[1], tuple):
        print(json.dumps(["address", args[1][0]]), file=log)
    elif event == "urllib.Request":
        print(json.dumps(["url", args[0]]), file=log)
    elif event == "subprocess.Popen":
        print(json.dumps(["program", str(args[0])]), file=log)
sys.addaudithook(hook)
"""
UNSET = ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_ENDPOINT")


def seen_by(tmp_path: Path, cache: str, *flags: str, until: str = "", **variables: str) -> dict[str, set[str]]:
    """What a process does that starts, answers and ends: names, addresses, URLs and programs.

    It answers on each tab, or searches and goes on `until` this was seen.
    """
    log = tmp_path / "seen"
    places = {"SEEN": str(log), "XDG_CACHE_HOME": cache, "HF_HOME": str(tmp_path / "huggingface")}
    environ: Mapping[str, str] = {name: text for name, text in os.environ.items() if name not in UNSET}
    with running_app(*flags, program=SPY + PROGRAM, environ={**environ, **places, **variables}) as app:
        client = Client(app.url, verbose=False, analytics_enabled=False)
        coffee: Any = handle_file(ROOT / "examples" / "skimage" / "coffee.jpg")
        assert client.predict("a dog", 3, api_name="/search")[0]["hits"]
        if not until:
            assert client.predict(coffee, 3, api_name="/similar")[0]["hits"]
            assert client.predict(coffee, api_name="/describe")[0]
        deadline = time.monotonic() + 60
        while until not in log.read_text("utf-8") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert app.end(signal.SIGTERM, 20) == 0
    seen: dict[str, set[str]] = {"name": set(), "address": set(), "url": set(), "program": set()}
    for line in log.read_text("utf-8").splitlines():
        kind, value = json.loads(line)
        seen[kind].add(value)
    assert seen["address"] & LOCAL, "the spy saw nothing, not even the app's look at its own page"
    return seen


def test_the_starter_asks_nothing_of_the_network(tmp_path: Path, fresh_cache: str) -> None:
    seen = seen_by(tmp_path, fresh_cache, *STARTER)
    assert seen["name"] <= LOCAL and seen["address"] <= LOCAL and not seen["url"]
    assert not {program for program in seen["program"] if not is_harmless(program)}


def test_by_default_only_the_hub_is_asked(tmp_path: Path, fresh_cache: str) -> None:
    with LoopbackHub() as hub:  # nobody else asks this one
        seen = seen_by(tmp_path, fresh_cache, HF_ENDPOINT=hub.url)
    assert seen["name"] <= LOCAL and seen["address"] <= LOCAL and not seen["url"]
    assert hub.requests and all(request.path.startswith("/api/models/") for request in hub.requests)


@pytest.mark.long
def test_the_hub_is_the_only_name_that_is_looked_up(tmp_path: Path, fresh_cache: str) -> None:
    seen = seen_by(tmp_path, fresh_cache, until="huggingface.co", UNKNOWN="1")
    assert seen["name"] - LOCAL == {"huggingface.co"} and seen["address"] <= LOCAL and not seen["url"]


@pytest.mark.long
def test_who_asks_for_telemetry_has_it(tmp_path: Path, fresh_cache: str) -> None:
    seen = seen_by(
        tmp_path, fresh_cache, *STARTER, until="api.gradio.app", GRADIO_ANALYTICS_ENABLED="True", UNKNOWN="1"
    )
    assert "api.gradio.app" in seen["name"]


def is_harmless(program: str) -> bool:
    """Whether it only looks at this machine."""
    return Path(program).name in ("uname", "lscpu", "ldconfig", "sh", "gcc", "ld", "file")
