"""Who may come in, and the public link: what it opens is said before, and it is closed with the app."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from gradio import tunneling
from gradio_client import Client

from imgsearch.config import ROOT, STARTER_BUNDLE, Settings
from imgsearch.errors import SettingsError
from tests.helpers.app import PROGRAM, STARTER, App, running_app

PASSWORD = "correct horse: battery"
OFFLINE = """
import socket
true = socket.getaddrinfo
def getaddrinfo(host, *rest, **named):
    if host not in ("127.0.0.1", "localhost"):
        {}
    return true(host, *rest, **named)
socket.getaddrinfo = getaddrinfo
"""
NO_NETWORK = OFFLINE.format('raise socket.gaierror(-2, "Name or service not known")')
SILENT_NETWORK = OFFLINE.format("import time; time.sleep(600)")
FRPC = """#!{python}
import pathlib, os, sys, time
pathlib.Path({marker!r}).write_text(str(os.getpid()))
print("start proxy success: http://hash.share.example", flush=True)
time.sleep(600)
"""


def read(environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    return Settings.read(flags, environ or {})


def test_a_link_asks_for_a_password_or_for_public() -> None:
    with pytest.raises(SettingsError, match=r"^--share lets everyone in who has the link\. Give --auth USER:PASSWORD"):
        _ = read(share=True).users
    assert read(share=True, public=True).users == read().users == []
    assert read(share=True, auth=f"ada:{PASSWORD}").users == read(auth=f"ada:{PASSWORD}").users == [("ada", PASSWORD)]
    assert read({"IMGSEARCH_SHARE": "1", "IMGSEARCH_AUTH": "ada:x"}).users == [("ada", "x")]
    assert read({"IMGSEARCH_SHARE": "1", "IMGSEARCH_PUBLIC": "yes"}).users == []


def test_a_file_holds_the_passwords(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"ada:{PASSWORD}\r\n\ngrace:é\n", "utf-8")
    users = [("ada", PASSWORD), ("grace", "é")]
    assert read(auth_file=file).users == read({"IMGSEARCH_AUTH_FILE": str(file)}).users == users
    assert read(auth_file=file, auth="bob:x").users == [("bob", "x"), *users]


@pytest.mark.parametrize("text", ["secret", "secret:", ":secret", " :secret", "::"])
def test_what_is_no_password_is_told_without_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"ada:x\n{text}\n")
    for settings, place in ((read(auth=text), "--auth"), (read(auth_file=tmp_path / "users"), "Line 2 of")):
        with pytest.raises(SettingsError, match="is not USER:PASSWORD. Give both") as caught:
            _ = settings.users
        assert str(caught.value).startswith(place) and "secret" not in str(caught.value)


def test_a_file_that_holds_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes(b"ada:\xe9")
    for name, words in (("nowhere", "No such file"), ("empty", "is empty"), ("latin", "not UTF-8"), (".", "directory")):
        with pytest.raises(SettingsError, match=words):
            _ = read(auth_file=tmp_path / name).users


def test_a_password_is_not_in_what_is_printed_of_the_settings() -> None:
    assert PASSWORD not in repr(read(auth=f"ada:{PASSWORD}"))
    for flags in (
        ["--auth", PASSWORD.replace(":", "")],
        ["--auht", f"ada:{PASSWORD}"],
        [f"--auht=ada:{PASSWORD}"],
        ["--share"],
    ):
        command = [sys.executable, "app.py", *flags]
        env = os.environ | {"IMGSEARCH_AUTH": "" if "--share" in flags else f"ada:{PASSWORD}"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stdout == ""
        assert not any(word in done.stderr for word in PASSWORD.split())


@pytest.mark.parametrize(
    ("settings", "trusted"),
    [
        (read(), ["localhost", "127.0.0.1", "[::1]", "127.0.0.1"]),
        (read(host="::1"), ["localhost", "127.0.0.1", "[::1]", "[::1]"]),
        (read(host="0.0.0.0"), ["*"]),
        (read(share=True), ["*"]),
        (read({"SPACE_ID": "org/name"}), ["*"]),
        (read(host="0.0.0.0", allowed_host=["a.example"]), ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "a.example"]),
        (
            read({"IMGSEARCH_SHARE": "1", "IMGSEARCH_ALLOWED_HOST": "a.example, *.b.example"}),
            ["localhost", "127.0.0.1", "[::1]", "127.0.0.1", "a.example", "*.b.example", "*.gradio.live"],
        ),
    ],
)
def test_a_host_is_trusted_by_its_name(settings: Settings, trusted: list[str]) -> None:
    assert settings.trusted_hosts == trusted


@pytest.mark.parametrize("name", ["a.example:80", "http://a.example", "*a.example", "a*", "a b", "", "a.example,"])
def test_a_name_that_is_no_host(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "app.py", f"--allowed-host={name}"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "is not a host name" in done.stderr and len(done.stderr.splitlines()) == 1
    if name:
        with pytest.raises(SettingsError, match=r"^IMGSEARCH_ALLOWED_HOST: .* is not a host name"):
            read({"IMGSEARCH_ALLOWED_HOST": name})


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        (read(), None),
        (read(host="localhost"), None),
        (read(host="::1"), None),
        (read(host="0.0.0.0"), 120),
        (read(host="192.168.1.7"), 120),
        (read({"GRADIO_SERVER_NAME": "0.0.0.0"}), 120),
        (read(share=True), 120),
        (read({"SPACE_ID": "org/name", "IMGSEARCH_HOST": "127.0.0.1"}), 120),
        (read(share=True, rate=5), 5),
        (read(rate=5), 5),
        (read(share=True, rate=0), None),
        (read({"IMGSEARCH_RATE": "0", "SPACE_ID": "org/name"}), None),
    ],
)
def test_clients_are_held_to_a_rate_where_others_reach_the_app(settings: Settings, rate: int | None) -> None:
    assert settings.rate == rate


def test_a_proxy_is_trusted_when_told_and_on_a_space() -> None:
    assert not read().trust_proxy and not read(share=True).trust_proxy and not read(host="0.0.0.0").trust_proxy
    assert read(trust_proxy=True).trust_proxy and read({"IMGSEARCH_TRUST_PROXY": "1"}).trust_proxy
    assert read({"SPACE_ID": "org/name"}).trust_proxy
    assert not read({"SPACE_ID": "org/name", "IMGSEARCH_TRUST_PROXY": "0"}).trust_proxy


@pytest.mark.parametrize(
    ("variable", "value"),
    [("IMGSEARCH_RATE", "-1"), ("IMGSEARCH_RATE", "many"), ("IMGSEARCH_RATE", "9" * 5000), ("IMGSEARCH_PUBLIC", "x")],
)
def test_a_value_that_is_none(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}"):
        read({variable: value})


def test_where_the_app_listens() -> None:
    space = {"SPACE_ID": "org/name"}
    assert (read().host, read().port) == ("127.0.0.1", None)
    assert (read(space).host, read(space).port) == ("0.0.0.0", 7860)
    named = space | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "7000"}
    assert (read(named).host, read(named).port) == ("127.0.0.1", None)  # Gradio reads the port itself
    assert (read(space, host="::", port=80).host, read(space, host="::", port=80).port) == ("::", 80)


def test_a_bundle_of_the_hub_has_colons_and_slashes_in_its_name() -> None:
    name = "hf://datasets/org/name@v1"
    assert read({"IMGSEARCH_INDEX": name}).index == (name,)
    assert read({"IMGSEARCH_INDEX": f"a:{name}::b"}).index == (Path("a"), name, Path("b"))
    assert read({"IMGSEARCH_INDEX": ":"}).index == (STARTER_BUNDLE,)
    with pytest.raises(SettingsError, match="is on the hub and cannot be changed here"):
        _ = read({"IMGSEARCH_INDEX": name}).bundle


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def put_program(home: Path, marker: Path) -> None:
    """A tunnel program that says that the link is open, in the place of Gradio's."""
    program = home / "gradio" / "frpc" / tunneling.BINARY_FILENAME
    program.parent.mkdir(parents=True)
    program.write_text(FRPC.format(python=sys.executable, marker=str(marker)))
    program.chmod(stat.S_IRWXU)


def test_without_internet_the_local_app_goes_on_and_says_so_in_one_line(tmp_path: Path) -> None:
    flags = (*STARTER, "--share", "--auth", f"ada:{PASSWORD}")
    with running_app(*flags, program=NO_NETWORK + PROGRAM, HF_HOME=str(tmp_path)) as app:
        *_, last = announced(app, "is there internet?").splitlines()
        assert last == "A public link could not be opened: is there internet? The local app goes on."
        assert "frpc" not in app.said()  # what Gradio says of it
        assert Client(app.url, verbose=False, auth=("ada", PASSWORD)).predict("a dog", 1, api_name="/search")[0]["hits"]
        assert app.end(signal.SIGTERM) == 0


def announced(app: App, words: str) -> str:
    """What is said up to the end of these words: what the link opens, and to whom, but no password."""
    said = app.wait_for(words)
    assert "--share opens this page to those who have the link and a password" in said.split(words)[0]
    assert "starter" in said.split(words)[0] and PASSWORD not in said
    return said


def test_a_network_that_keeps_silent_does_not_hold_up_the_end(tmp_path: Path) -> None:
    flags = (*STARTER, "--share", "--public")
    with running_app(*flags, program=SILENT_NETWORK + PROGRAM, HF_HOME=str(tmp_path)) as app:
        assert "to everyone who has the link" in app.wait_for("until the app ends at most")
        assert status(app.url) == 200  # and the name server has not answered yet
        assert app.end(signal.SIGTERM) == 0
        assert "Traceback" not in app.said() and not [*tmp_path.rglob("frpc*")]


def test_the_link_is_printed_lets_in_who_has_a_password_and_is_closed_with_the_app(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("grace:hopper")
    marker = tmp_path / "pid"
    put_program(tmp_path, marker)
    flags = (*STARTER, "--share", "--auth-file", f"{tmp_path}/users")
    environ = {"HF_HOME": str(tmp_path), "GRADIO_SHARE_SERVER_ADDRESS": "127.0.0.1:9"}
    environ["IMGSEARCH_AUTH"] = f"ada:{PASSWORD}"
    with running_app(*flags, **environ) as app:
        announced(app, "https://hash.share.example")
        for path in ("config", "gradio_api/info", "gradio_api/file=README.md"):
            assert status(app.url + path) == 401
        with pytest.raises(Exception, match="Could not login"):
            Client(app.url, verbose=False, auth=("ada", "wrong"))
        for pair in (("grace", "hopper"), ("ada", PASSWORD)):
            client = Client(app.url, verbose=False, auth=pair)
            assert client.predict("a dog", 1, api_name="/search")[0]["hits"]
            assert PASSWORD not in json.dumps(client.config)
        pid = int(marker.read_text())
        os.kill(pid, 0)
        assert app.end(signal.SIGTERM) == 0
        assert PASSWORD not in app.said() and "horse" not in app.said()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/exe").exists():  # it ends a moment after the app
        assert time.monotonic() < deadline
        time.sleep(0.05)
