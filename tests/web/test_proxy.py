"""Behind a real nginx, with the lines of the README: the page and the API work, under a path of their own, too."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from imgsearch.config import ROOT
from tests.helpers.app import STARTER, free_port, running_app, wait_until
from tests.helpers.pages import PROXY_NAME, WAIT_MS, search, tiles_of, upload

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
README = (ROOT / "imgsearch" / "web" / "README.md").read_text("utf-8").split("### Behind nginx")[1]
[LINES] = re.findall(r"```nginx\nlocation / \{\n(.*?)\}\n```", README, re.S)
[(PATH, VARIABLE, ROOT_PATH)] = re.findall(r"`location (/\w+/) \{`[^`]+`(\w+)=(/\w+)`", README)
CONFIG = """daemon off; master_process off; error_log stderr; pid nginx.pid;
events {{}}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; location {path} {{ {lines} }} }}
}}
"""
COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"

pytestmark = pytest.mark.skipif(not NGINX, reason="NO NGINX ON THIS MACHINE: install nginx")


@contextmanager
def running_nginx(folder: Path, app: str, path: str = "/", lines: str = LINES) -> Iterator[str]:
    """A proxy with these lines before an app: the address that they both have, by a name that is not this machine's."""
    port = free_port()
    lines = lines.replace("http://127.0.0.1:7860/", app)
    assert app in lines
    (folder / "nginx.conf").write_text(CONFIG.format(port=port, path=path, lines=lines), "utf-8")
    process = subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        wait_until((folder / "nginx.pid").is_file)
        yield f"http://{PROXY_NAME}:{port}{path}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module", params=[pytest.param("/", marks=pytest.mark.long), PATH])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    variables = {} if request.param == "/" else {VARIABLE: ROOT_PATH}
    with (
        running_app(*STARTER, "--trust-proxy", **variables) as (url, _),
        running_nginx(tmp_path_factory.mktemp("nginx"), url, request.param) as address,
    ):
        yield address


def test_the_page_works(address: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context().new_page()
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.goto(address)
    expect(search(page, "a red fruit").first).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("tab").nth(1).click()
    upload(page, "similar", COFFEE)
    expect(tiles_of(page).first).to_be_visible(timeout=WAIT_MS)
    assert not [url for url in refused if "upload_progress" not in url]


def test_the_api_works_with_pictures_larger_than_nginx_takes_by_itself(address: str, tmp_path: Path) -> None:
    url = address.replace(PROXY_NAME, "127.0.0.1")
    client = Client(url, verbose=False)
    Image.effect_noise((1200, 1200), 100).save(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 2**20
    assert client.predict(handle_file(tmp_path / "noise.png"), api_name="/describe")[0]
    assert client.predict("a red fruit", 3, api_name="/search")[0]["hits"]
    assert client.predict(handle_file(COFFEE), 3, api_name="/similar")[0]["hits"][0]["id"] == "skimage/coffee.jpg"
    with urllib.request.urlopen(f"{url}gradio_api/info", timeout=30) as info:
        code = json.load(info)["named_endpoints"]["/search"]["code_snippets"]["python"]
    assert f'Client("{url.rstrip("/")}")' in code


def test_events_come_at_once(address: str) -> None:
    """This stream does not end: a proxy that kept its events back would give none."""
    stream = f"{address.replace(PROXY_NAME, '127.0.0.1')}gradio_api/heartbeat/proxied"
    with urllib.request.urlopen(stream, timeout=20) as events:
        assert events.readline() == b"data: ALIVE\n"


def test_the_page_says_what_a_plain_proxy_must_pass_on(
    app_url: str, tmp_path: Path, new_context: Callable[..., BrowserContext]
) -> None:
    [line] = [line.strip() for line in LINES.splitlines() if "Host" in line]
    page = new_context().new_page()
    with running_nginx(tmp_path, app_url, lines=f"proxy_pass {app_url};") as address:
        page.goto(address)
        expect(page.locator("body")).to_contain_text(line, timeout=WAIT_MS)
    with running_nginx(tmp_path, app_url, PATH) as address:
        page.goto(address.replace(PROXY_NAME, "127.0.0.1"))
        expect(page.locator("body")).to_contain_text(f"{VARIABLE}={ROOT_PATH}", timeout=WAIT_MS)
