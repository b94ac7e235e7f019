"""The app over HTTP, as `gradio_client` and raw requests see it."""

import base64
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from imgsearch.config import ROOT
from imgsearch.images import open_rgb
from imgsearch.index.index import Index
from imgsearch.index.manifest import Provenance
from tests.helpers.app import free_port, running_app


@pytest.fixture(scope="module")
def client(app_url: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(app_url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def test_only_the_three_endpoints_are_public(client: Client) -> None:
    assert client.view_api(return_format="dict")["named_endpoints"].keys() == {"/describe", "/similar", "/search"}


def test_search(client: Client) -> None:
    answer, note, cards, link, _ = client.predict("a red fruit", 5, api_name="/search")
    assert len(cards["hits"]) == len(answer["hits"]) == 5 and answer["query"] == "a red fruit"
    assert note.startswith("5 pictures") and link == "?tab=search&q=a+red+fruit&k=5"
    assert [card["caption"] for card in cards["hits"]] == [hit["caption"] for hit in answer["hits"]]
    data = cards["hits"][0]["src"].removeprefix("data:image/webp;base64,")
    assert max(open_rgb(base64.b64decode(data)).size) <= 320


def test_similar(client: Client, examples: Path) -> None:
    answer, *_ = client.predict(handle_file(examples / "skimage" / "coffee.jpg"), 3, api_name="/similar")
    assert answer["hits"][0]["id"] == "skimage/coffee.jpg" and len(answer["hits"]) == 3


def test_describe(client: Client, examples: Path) -> None:
    picture = handle_file(examples / "skimage" / "coffee.jpg")
    sentence, tags, note, colours = client.predict(picture, api_name="/describe")
    assert "espresso" in sentence and note.endswith(" s")
    assert "espresso" in {bar["label"] for bar in tags["confidences"]}
    assert "brown" in {bar["label"] for bar in colours["confidences"]}


def test_bad_input_is_a_message_and_the_app_goes_on(client: Client, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    for arguments, endpoint, message in (
        (("", 5), "/search", "empty"),
        (("x" * 10_000, 5), "/search", "10,000"),
        (("dog", 0), "/search", "at least 1"),
        (("dog", "many"), "/search", "not a number"),
        ((None, 5), "/search", "empty"),
        ((None, 5), "/similar", "no picture"),
        ((None,), "/describe", "no picture"),
        ((handle_file(text),), "/describe", r"notes\.jpg is not a picture"),
        ((handle_file(text), 5), "/similar", "not a picture"),
    ):
        with pytest.raises(AppError, match=message):
            client.predict(*arguments, api_name=endpoint)
    assert client.predict("a dog", 1, api_name="/search")[0]["hits"]


def test_k_may_be_more_than_the_slider_gives(client: Client) -> None:
    assert len(client.predict("a dog", 100_000, api_name="/search")[0]["hits"]) == 50
    assert len(client.predict("a dog", 2.5, api_name="/search")[0]["hits"]) == 2


def test_there_is_no_way_around_the_queue(app_url: str) -> None:
    body = json.dumps({"data": ["a dog", 3]}).encode()
    request = urllib.request.Request(f"{app_url}gradio_api/run/search", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 404


def call(url: str, endpoint: str, data: list[object]) -> str:
    """The events that a raw call to an endpoint answers with."""
    request = urllib.request.Request(
        f"{url}gradio_api/call/{endpoint}", json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        event_id = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{url}gradio_api/call/{endpoint}/{event_id}", timeout=30) as response:
        return response.read().decode()


@pytest.mark.parametrize(
    "picture",
    [
        {"path": str(ROOT / "examples" / "skimage" / "coffee.jpg")},
        {"path": str(ROOT / "examples" / "skimage" / "coffee.jpg"), "meta": {"_type": "gradio.FileData"}},
        {"path": "/etc/passwd", "orig_name": "a.svg"},
        {"path": "examples/skimage/coffee.jpg"},
        {"path": "http://127.0.0.1:9/a.jpg", "meta": {"_type": "gradio.FileData"}},
    ],
)
def test_a_raw_call_opens_no_file_and_no_address(app_url: str, picture: dict[str, object]) -> None:
    for endpoint, data in (("describe", [picture, "short", "", "en"]), ("similar", [picture, 3, "", [], True])):
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(app_url, endpoint, data)
        assert refused.value.code == 400


def test_a_raw_call_gives_no_picture_in_an_address(app_url: str) -> None:
    picture = {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="}
    for endpoint, data in (("describe", [picture, "short", "", "en"]), ("similar", [picture, 3, "", [], True])):
        events = call(app_url, endpoint, data)
        assert "event: error" in events and "event: complete" not in events


def test_a_bundle_that_cannot_be_used_leaves_describe(examples: Path, starter_bundle: Path, tmp_path: Path) -> None:
    """And a proxy of the environment is not asked for the app's own page."""
    index = Index.load(starter_bundle)
    provenance = Provenance(encoder="ViT-B-32/openai", source=str(tmp_path))
    foreign = Index.from_rows(index.rows[:3], [index.item(row) for row in range(3)], provenance)
    foreign.save(tmp_path / "foreign")
    proxy = "http://127.0.0.1:9"
    with running_app("--index", f"{tmp_path}/foreign", HTTP_PROXY=proxy, http_proxy=proxy, NO_PROXY="") as app:
        client = Client(app.url, verbose=False)
        with pytest.raises(AppError, match="cannot be searched: ViT-B-32/openai"):
            client.predict("a dog", 3, api_name="/search")
        assert client.predict(handle_file(examples / "skimage" / "coffee.jpg"), api_name="/describe")[0]
        assert app.process.poll() is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--index", "nowhere"], "no bundle at nowhere"),
        (["--encoder", "clipp"], "auto, starter"),
        (["--port", "many"], "--port"),
        (["--port", "0"], "1 to 65535"),
        (["--host", "203.0.113.1", "--port", "7999"], "203.0.113.1:7999 cannot be listened on"),  # no host's
    ],
)
def test_a_wrong_flag_ends_the_start_with_one_line(flags: list[str], message: str) -> None:
    done = subprocess.run([sys.executable, "app.py", *flags], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_busy_port_is_one_line(app_url: str) -> None:
    port = app_url.rsplit(":", 1)[1].strip("/")
    done = subprocess.run(
        [sys.executable, "app.py", "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and f":{port} cannot" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_signal_during_the_start_ends_it_quietly() -> None:
    command = [sys.executable, "app.py", "--port", str(free_port())]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)  # amid the imports
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=20)[1]


@pytest.mark.parametrize("wait_s", [0.0, 2.0, pytest.param(4.0, marks=pytest.mark.long)])
def test_a_signal_while_the_models_load_ends_it_cleanly(wait_s: float, tmp_path: Path) -> None:
    with running_app(XDG_CACHE_HOME=str(tmp_path)) as app:
        time.sleep(wait_s)
        assert app.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_signal_ends_the_app_amid_streams_and_queries(number: int, examples: Path, tmp_path: Path) -> None:
    """Nothing that is open or under way holds it up; no visitor's picture stays, and no file that is not whole."""
    (tmp_path / "tmp").mkdir()
    with running_app(TMPDIR=str(tmp_path / "tmp"), XDG_CACHE_HOME=str(tmp_path / "cache")) as app:
        client = Client(app.url, verbose=False)
        assert client.predict(handle_file(examples / "skimage" / "coffee.jpg"), 3, api_name="/similar")[0]["hits"]
        paths = "heartbeat/one", f"queue/data?session_hash={client.session_hash}"
        streams = [listen(app.url, path) for path in paths]
        for name in ("chelsea", "coffee", "rocket"):
            client.submit(handle_file(examples / "skimage" / f"{name}.jpg"), 3, api_name="/similar")
            client.submit(handle_file(examples / "skimage" / f"{name}.jpg"), api_name="/describe")
            client.submit(f"a {name}", 3, api_name="/search")
        assert app.end(number) == 0
        for stream in streams:
            stream.close()
    assert not list((tmp_path / "tmp").glob("imgsearch-*"))
    assert not [path for path in (tmp_path / "cache").rglob("tmp*") if path.is_file()]


def listen(url: str, path: str) -> socket.socket:
    """An open stream of the page's, up to its first bytes."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    stream = socket.create_connection((host, int(port)), timeout=10)
    stream.sendall(f"GET /gradio_api/{path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    assert stream.recv(64).startswith(b"HTTP/1.1 200")
    return stream


def test_the_bomb_is_refused(client: Client, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (30_000, 30_000)).save(bomb)
    with pytest.raises(AppError, match="80 megapixels"):
        client.predict(handle_file(bomb), api_name="/describe")
