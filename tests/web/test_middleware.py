"""The gate before the app: who is let in, how often, and what is said to those who are not."""

import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import ValidationError
from starlette.requests import Request

from imgsearch import __version__
from imgsearch.config import ROOT
from imgsearch.web.security.rate_limit import RateLimit, client_of
from tests.helpers.app import STARTER, avoid_end_of_window, running_app, upload_raw
from tests.helpers.examples import NUM_EXAMPLES

COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"
RATE = 20  # a minute of one client: 10 at once


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An app behind a proxy: each test is a client of its own."""
    with running_app(*STARTER, IMGSEARCH_RATE=str(RATE), IMGSEARCH_TRUST_PROXY="1") as (url, _):
        yield url


def ask(url: str, path: str, value: object = None, **headers: str) -> tuple[int, str, dict[str, str]]:
    """The status, body and headers of an answer; a POST of JSON where there is a value."""
    data = None if value is None else json.dumps(value).encode()
    names = {key.replace("_", "-"): text for key, text in headers.items()}
    request = urllib.request.Request(url + path.lstrip("/"), data, {"Content-Type": "application/json"} | names)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode(), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def search(url: str, client: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    value = {"data": ["a dog", 1, [], True]}
    return ask(url, "gradio_api/call/search", value, X_Forwarded_For=client, **headers)


def test_a_rate_allows_half_a_minute_at_once() -> None:
    rate = RateLimit(60)
    waits = [rate.wait_s("one") for _ in range(32)]
    assert waits[:30] == [0] * 30 and 1 <= waits[-1] <= 30
    assert rate.wait_s("another") == 0


@pytest.mark.long
@pytest.mark.parametrize("per_minute", [1, 7, 240])
def test_a_rate_lets_no_more_through_in_a_minute(per_minute: int) -> None:
    rate, end, allowed = RateLimit(per_minute), time.monotonic() + 60, 0
    while time.monotonic() < end:
        wait_s = rate.wait_s("one")
        allowed += not wait_s
        time.sleep(0.02 if per_minute > 100 else 0.5)
    assert 0.9 * per_minute <= allowed <= 1.5 * per_minute + 1


@pytest.mark.parametrize(
    ("trust_proxy", "forwarded", "client"),
    [
        (False, ["1.1.1.1"], "9.9.9.9"),
        (True, [], "9.9.9.9"),
        (True, ["1.1.1.1"], "1.1.1.1"),
        (True, ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        (True, ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        (True, ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        (True, ["nonsense"], "nonsense"),
    ],
)
def test_the_client_is_the_peer_or_who_the_proxy_saw(trust_proxy: bool, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    request = Request({"type": "http", "client": ("9.9.9.9", 1), "headers": headers})
    assert client_of(request, trust_proxy=trust_proxy) == client


def test_too_many_requests_of_one_client(url: str) -> None:
    avoid_end_of_window()
    answers = [search(url, "1.1.1.1") for _ in range(RATE)]
    assert [status for status, *_ in answers[: RATE // 2]] == [200] * (RATE // 2)
    status, text, headers = next(answer for answer in answers if answer[0] != 200)
    seconds = headers["retry-after"]
    assert status == 429 and json.loads(text) == {"detail": f"Too many requests. Try again in {seconds} s."}
    assert search(url, "2.2.2.2, 1.1.1.1")[0] == 429
    assert search(url, "1.1.1.1, 2.2.2.2")[0] == 200
    _, text, _ = search(url, "1.1.1.1", Accept_Language="fr-FR")
    assert json.loads(text)["detail"].startswith("Trop de demandes.")


def test_page_loads_of_one_client_are_counted_like_other_requests(url: str) -> None:
    for path in ("", "config", "gradio_api/info"):
        avoid_end_of_window()
        answers = [ask(url, path, X_Forwarded_For=f"3.3.{len(path)}.3")[0] for _ in range(RATE // 2 + 1)]
        assert answers == [200] * (RATE // 2) + [429]
    assert ask(url, "theme.css", X_Forwarded_For="3.3.0.3")[0] == 200


def log_in(url: str, user: str, password: str, **headers: str) -> tuple[int, str, list[str]]:
    """The status, body and cookies of a login."""
    form = f"username={user}&password={password}".encode()
    names = {key.replace("_", "-"): text for key, text in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}login", form, names), timeout=60) as response:
            return response.status, response.read().decode(), response.headers.get_all("set-cookie", [])
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), []


def test_with_a_password() -> None:
    with running_app(*STARTER, "--trust-proxy", "--auth", "ada:right") as (url, _):
        assert json.loads(ask(url, "healthz")[1]) == {"status": "ok"}
        assert [log_in(url, "eve", "wrong")[0] for _ in range(6)] == [400] * 5 + [429]
        status, _, cookies = log_in(url, "ada", "right")  # others' mistakes do not count
        assert status == 200 and len(cookies) == 2
        status, _, cookies = log_in(url, "ada", "right", X_Forwarded_Proto="https")
        assert status == 200 and len(cookies) == 1 and "secure" in cookies[0].lower()
        assert log_in(url, "a" * 10_000, "wrong")[0] == 413


def test_headers_and_who_may_frame_the_page(url: str) -> None:
    for path in ("", "theme.css", "nothing"):
        _, _, headers = ask(url, path, X_Forwarded_For="3.3.3.4")
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize("header", ["Host", "X_Forwarded_Host"])
@pytest.mark.parametrize("name", ['x");__import__("os").system("id")#', "127.0.0.1/$(id)", "x`id`", "a" * 300, "x'y"])
def test_a_name_of_the_app_is_a_name(url: str, header: str, name: str) -> None:
    assert ask(url, "theme.css", **{header: name})[0] == 400


@pytest.mark.parametrize("query", ["", "?all_endpoints=true", "?page=x"])
def test_nobody_chooses_the_code_that_is_shown_to_others(url: str, app_url: str, query: str) -> None:
    for forwarded in ("elsewhere.example", "own.example"):
        _, text, _ = ask(
            url, f"gradio_api/info{query}", X_Forwarded_Host=forwarded, X_Forwarded_For=f"3.4.{len(query)}.4"
        )
        assert f"http://{forwarded}" in text
    assert "elsewhere.example" not in text
    for header in ("X_Forwarded_Host", "X_Gradio_Server"):  # this app is behind no proxy
        assert (
            "elsewhere.example"
            not in ask(app_url, f"gradio_api/info{query}", **{header: "http://elsewhere.example"})[1]
        )


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null"])
def test_no_other_site_is_permitted_to_read(url: str, origin: str) -> None:
    host, port = url.removeprefix("http://").strip("/").split(":")
    for method, path in (("OPTIONS", "gradio_api/call/search"), ("GET", "config"), ("GET", "theme.css")):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            head = f"{method} /{path} HTTP/1.1\r\nHost: public.example\r\nOrigin: {origin}\r\nConnection: close\r\n"
            connection.sendall(f"{head}Access-Control-Request-Method: POST\r\n\r\n".encode())
            answer = connection.makefile("rb").read().lower()
        assert answer.startswith(b"http/1.1 40") and b"access-control-" not in answer


def test_own_pages_may_ask_and_others_may_not(url: str) -> None:
    own = url.rstrip("/")
    forwarded = {"Origin": "https://example.org", "X_Forwarded_Host": "example.org"}
    for headers in ({"Origin": own}, {"Origin": "https://x.example", "Sec_Fetch_Site": "same-origin"}, forwarded):
        assert search(url, "4.4.4.4", **headers)[0] == 200, headers
    for headers in ({"Origin": "https://example.org"}, {"Origin": own, "Sec_Fetch_Site": "cross-site"}):
        status, text, _ = search(url, "4.4.4.4", **headers)
        assert status == 403 and "another site" in text
    assert ask(url, "config", Origin="https://example.org")[0] == 403


def test_a_local_app_is_asked_by_names_of_this_machine_only(url: str, app_url: str) -> None:
    port = app_url.rsplit(":", 1)[1].strip("/")
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert ask(app_url, "healthz", Host=host)[0] == 200, host
    for host in ("elsewhere.example", f"localhost.elsewhere.example:{port}", "127.0.0.1.example", "[::2]", ""):
        assert ask(app_url, "healthz", Host=host)[0] == 400, host
    assert ask(url, "healthz", Host="elsewhere.example")[0] == 200  # others reach this one


def test_an_app_is_asked_by_its_allowed_names() -> None:
    with running_app(*STARTER, "--allowed-host", "a.example", "--allowed-host", "*.b.example") as (url, _):
        for host, status in (("a.example:80", 200), ("x.b.example", 200), ("www.a.example", 400), ("b.example", 400)):
            assert ask(url, "config", Host=host)[0] == status, host
        assert ask(url, "config", Host="a.example", Origin="https://elsewhere.example")[0] == 403


def test_health(url: str) -> None:
    status, text, _ = ask(url, "healthz")
    health = json.loads(text)
    assert status == 200 and health["status"] == "ok" and health["version"] == __version__
    assert health["collections"] == [{"name": "starter", "num_items": health["collections"][0]["num_items"]}]
    assert health["collections"][0]["num_items"] in (None, NUM_EXAMPLES)
    assert set(health["models"]) == {"encoder", "captioner"}
    assert health["queue"].keys() == {"waiting", "running"} and str(ROOT) not in text


LOG = re.compile(r'\{"time": "[^"]+", "endpoint": "(\w+)", "ms": \d+, "outcome": "(\w+)"(?:, "reason": "(\w+)")?\}')


@pytest.mark.long
def test_the_busy_are_told_at_once_and_the_log_tells_no_secrets() -> None:
    """One app for both: more descriptions than it can give, some searches, and what is written of them."""
    with running_app(*STARTER) as app:
        url = app.url
        client = Client(url, verbose=False)
        client.predict(handle_file(COFFEE), api_name="/describe")
        client.predict("a secret dog", 3, api_name="/search")
        with pytest.raises(Exception, match="empty"):
            client.predict("", 3, api_name="/search")
        with asking_on(url) as answers:
            while not answers or answers[-1][0] == 200:
                time.sleep(0.01)
            status, text, headers = answers[-1]
            assert status == 429 and int(headers["retry-after"]) >= 1
            assert re.fullmatch(
                r"Busy: \d+ others are waiting\. Try again in about \d+ s\.", json.loads(text)["detail"]
            )
            with pytest.raises(ValidationError, match="Busy: .* others are waiting"):
                while True:  # now and then one is let in
                    client.predict(handle_file(COFFEE), api_name="/describe")
            assert client.predict("a dog", 1, api_name="/search")[0]["hits"]  # searches go on
            assert json.loads(ask(url, "healthz")[1])["queue"]["waiting"] > 32
        assert search(url, "1.1.1.1", Origin="https://secret.example")[0] == 403
        ask(url, "gradio_api/call/secret", {})
        written = app.said().replace(f"imgsearch is on {url}", "")
    lines = {match.groups() for match in map(LOG.fullmatch, written.splitlines()) if match}
    assert {("describe", "ok", None), ("search", "ok", None), ("search", "refused", "InputError")} <= lines
    assert {("call", "busy", "busy"), ("join", "busy", "busy"), ("call", "refused", "other_site")} <= lines
    assert "secret" not in written and "coffee" not in written and "127.0.0.1" not in written


@contextmanager
def asking_on(url: str) -> Iterator[list[tuple[int, str, dict[str, str]]]]:
    """Someone asks for descriptions, one after the other, without waiting for any; what is said to that."""
    value = {"data": [upload_raw(url, COFFEE), "short", "", "en"]}
    answers: list[tuple[int, str, dict[str, str]]] = []
    is_over = threading.Event()

    def ask_on() -> None:
        while not is_over.is_set():
            answers.append(ask(url, "gradio_api/call/describe", value))

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        thread.join()


def test_names_of_uploads_differ_between_processes(url: str, app_url: str) -> None:
    paths = [Path(str(upload_raw(address, COFFEE)["path"])) for address in (url, app_url)]
    assert paths[0].name == paths[1].name == COFFEE.name
    assert paths[0].parent.name != paths[1].parent.name


@pytest.mark.parametrize(
    "charset", ["punycode", '"PunyCode"', "utf-16", "latin-1", "no-such-charset", "utf-8; charset=idna"]
)
@pytest.mark.parametrize("path", ["gradio_api/upload", "login", "gradio_api/call/search"])
def test_a_body_in_another_charset_than_utf8_is_refused_unread(url: str, path: str, charset: str) -> None:
    kind = {"login": "application/x-www-form-urlencoded", "gradio_api/upload": "multipart/form-data; boundary=X"}
    host, port = url.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:  # only the head is sent
        head = f"POST /{path} HTTP/1.1\r\nHost: {host}:{port}\r\nX-Forwarded-For: 7.7.7.7\r\nContent-Length: 200000\r\n"
        connection.sendall(
            f"{head}Content-Type: {kind.get(path, 'application/json')}; charset={charset}\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_body_that_says_utf8_is_let_in(url: str) -> None:
    status, _, _ = search(url, "7.7.7.8", Content_Type="application/json; charset=UTF-8")
    assert status == 200


def test_an_upload_without_a_file_is_refused(url: str) -> None:
    body = b'--X\r\nContent-Disposition: form-data; name="files"\r\n\r\na field\r\n--X--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=X", "X-Forwarded-For": "7.7.7.9"}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/upload", body, headers), timeout=5)
