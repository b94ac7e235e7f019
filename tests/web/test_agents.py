"""Agents ask by the Model Context Protocol (--mcp): three tools, within the bounds, rates and passwords of the page."""

import asyncio
import base64
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult, TextContent

from imgsearch.config import ROOT, Settings
from imgsearch.engine import Engine
from imgsearch.web.api import tool_server
from imgsearch.web.page import build_app
from imgsearch.web.security.decoder import Decoder
from imgsearch.web.server import launch
from tests.helpers.app import PROGRAM, STARTER, TIMEOUT_S, avoid_end_of_window, free_port, running_app

RATE = 20  # a minute of one client: 10 at once
COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"
ENCODED = base64.b64encode(COFFEE.read_bytes()).decode()
pytestmark = pytest.mark.filterwarnings("ignore:Use `streamable_http_client`")  # which the oldest versions lack
T = TypeVar("T")


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.fixture(scope="module")
def url(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address for agents of the app as it is served behind a proxy, in this process: each test is a client."""
    settings = Settings(port=free_port(), mcp=True, auth="ada:right", trust_proxy=True, rate=RATE)
    decoder = Decoder(max_own=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        app = build_app([engine], decoder)
        launch(app, [engine], settings, tool_server([engine], decoder))
        yield f"{app.local_url}gradio_api/mcp/"
        app.close()
    decoder.close()


def connected(url: str, client: str, work: Callable[[ClientSession], Awaitable[T]]) -> T:
    """What the official client does, in a thread of its own: the browser tests leave a loop in this one."""

    async def work_in_session() -> T:
        headers = {"Authorization": basic("ada:right"), "X-Forwarded-For": client}
        async with (
            streamablehttp_client(url, headers) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await work(session)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work_in_session()).result(TIMEOUT_S)


def called(url: str, client: str, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """Whether each call of a tool is refused, and what is said."""

    async def call(session: ClientSession) -> list[CallToolResult]:
        return [await session.call_tool(tool, arguments) for tool, arguments in calls]

    answers = []
    for result in connected(url, client, call):
        [content] = result.content
        assert isinstance(content, TextContent)
        answers.append((result.isError, content.text))
    return answers


def post(url: str, client: str, arguments: object, authorization: str = basic("ada:right"), body: bytes = b"") -> int:
    """The status of a call of `search`, as it stands."""
    params = {"name": "search", "arguments": arguments}
    data = body or json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"X-Forwarded-For": client, "Authorization": authorization}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_there_are_three_tools_that_say_what_they_take(url: str) -> None:
    tools = {tool.name: tool for tool in connected(url, "1.1.1.1", lambda session: session.list_tools()).tools}
    assert tools.keys() == {"search", "similar", "describe"}
    for name, first in (("search", "text"), ("similar", "picture"), ("describe", "picture")):
        schema, about = tools[name].inputSchema, tools[name].description
        assert schema["required"] == [first] and about and "pictures" in about or "picture" in str(about)
        assert all(value["description"] for value in schema["properties"].values())
    assert tools["search"].inputSchema["properties"]["k"]["type"] == "integer"


def test_each_tool_answers_in_small_json(url: str) -> None:
    answers = called(
        url,
        "2.2.2.2",
        ("search", {"text": "an espresso in a red cup", "k": 3, "filters": ["subject=food"]}),
        ("similar", {"picture": ENCODED, "k": 3}),
        ("similar", {"picture": f"data:image/jpeg;base64,{ENCODED}", "k": 3}),
        ("similar", {"picture": "skimage/coffee.jpg", "k": 3}),
        ("describe", {"picture": "skimage/coffee.jpg"}),
        ("describe", {"picture": ENCODED}),
    )
    assert not any(is_refused for is_refused, _ in answers)
    values = [json.loads(text) for _, text in answers]
    for value in values[:4]:
        assert len(json.dumps(value)) < 5000 and value["answer"] and len(value["hits"]) in (2, 3)
    [first, *_] = values[0]["hits"]
    assert first["id"] == "skimage/coffee.jpg" and "espresso" in first["caption"] and first["strength"] == "strong"
    assert first["words"] == 1 and first["columns"]["subject"] == "food"
    assert [value["hits"][0]["id"] for value in values[1:3]] == ["skimage/coffee.jpg"] * 2
    assert "skimage/coffee.jpg" not in {hit["id"] for hit in values[3]["hits"]}  # what is asked for is no hit
    assert all("espresso" in value["caption"] and value["tags"] for value in values[4:])


def test_an_agent_is_told_if_nothing_matches(url: str) -> None:
    [(_, text)] = called(url, "3.3.3.3", ("search", {"text": "quarterly tax report of a bank", "k": 2}))
    answer = json.loads(text)
    assert answer["answer"] == "Nothing in this collection seems to match. The nearest pictures:"
    assert [hit["strength"] for hit in answer["hits"]] == ["weak"] * 2


def test_what_is_no_picture_is_refused_in_a_sentence(url: str) -> None:
    damaged = base64.b64encode(COFFEE.read_bytes()[:3000]).decode()
    wrong = ["/etc/passwd", str(COFFEE), "http://127.0.0.1:9/a.jpg", base64.b64encode(b"text" * 99).decode(), "\0"]
    calls = [("similar", {"picture": picture}) for picture in wrong]
    calls += [("describe", {"picture": damaged}), ("search", {"text": " "}), ("search", {"text": "a", "k": "x"})]
    calls += [("search", {"text": "a", "filters": ["x=1"]}), ("similar", {"picture": ""})]
    answers = called(url, "4.4.4.4", *calls[:9]) + called(url, "5.4.4.4", *calls[9:])
    assert all(is_refused and str(ROOT) not in text.replace(str(COFFEE), "") for is_refused, text in answers)
    texts = [text for _, text in answers]
    assert all("The collection has no picture" in text for text in texts[: len(wrong)])
    assert texts[5].startswith("picture is damaged") and texts[6].startswith("The query is empty")
    assert texts[8].startswith("The collection has no column 'x'") and texts[9].startswith("The collection has no")
    assert post(url, "4.4.4.5", {"text": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}) == 400


def test_without_the_password_nobody_is_let_in(url: str) -> None:
    assert post(url, "6.6.6.6", {"text": "a dog"}, "") == 401
    assert post(url, "6.6.6.6", {"text": "a dog"}) == 200
    wrong = [post(url, "6.6.6.6", {"text": "a dog"}, basic(f"ada:{number}")) for number in range(6)]
    assert wrong == [401] * 3 + [429] * 3
    assert post(url, "6.6.6.6", {"text": "a dog"}) == 200  # who is known stays


def test_bodies_and_rates_are_bounded(url: str) -> None:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.putrequest("POST", urlsplit(url).path)
    connection.putheader("Content-Length", str(5 * 2**20))
    connection.putheader("Authorization", basic("ada:right"))
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert post(url, "7.7.7.7", {}, body=b"[" * 1000) == post(url, "7.7.7.7", {}, body=b"[]") == 400
    avoid_end_of_window()
    statuses = [post(url, "7.7.7.8", {"text": "a dog", "k": 1}) for _ in range(RATE // 2 + 1)]
    assert statuses == [200] * (RATE // 2) + [429]


def test_no_more_than_tools_is_opened_and_nothing_without_the_flag(url: str, app_url: str) -> None:
    for path, status in ((url, 405), (f"{url}sse", 405), (f"{url}schema", 405), (f"{app_url}gradio_api/mcp/", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(path, timeout=30)
        assert refused.value.code == status
    for path in (f"{url}messages/", f"{app_url}gradio_api/mcp/", f"{app_url}gradio_api/mcp"):
        assert post(path, "8.8.8.8", {"text": "a dog"}) == 404


@pytest.mark.long
def test_the_flag_opens_them_and_says_where() -> None:
    with running_app(*STARTER, "--mcp") as app:
        url = f"{app.url}gradio_api/mcp/"
        assert f"Agents find it at {url}" in app.wait_for("Agents")
        [(is_refused, text)] = called(url, "9.9.9.9", ("describe", {"picture": ENCODED}))
        assert not is_refused and "espresso" in text
        assert app.end(signal.SIGTERM) == 0


@pytest.mark.long
def test_without_the_flag_the_package_is_not_read(app_url: str) -> None:
    """Gradio itself would import it wherever it is installed."""
    program = [sys.executable, "-X", "importtime", "app.py", *STARTER, "--port", str(urlsplit(app_url).port)]  # taken
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 2 and re.search(r"\| +gradio$", done.stderr, re.M)
    assert not re.search(r"\| +mcp\.", done.stderr)


def test_a_missing_package_is_named() -> None:
    program = f"import sys; sys.modules['mcp'] = None{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program, "--mcp"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == (
        'imgsearch: --mcp needs a package. Install it: pip install "mcp>=1.21,<2"\n'
    )
