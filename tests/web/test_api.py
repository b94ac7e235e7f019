"""*Use via API* teaches calls that work, in plain words."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, expect

from imgsearch.config import ROOT
from tests.helpers.pages import WAIT_MS

ENDPOINTS = ("/describe", "/similar", "/search")


def ask_info(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}gradio_api/info", timeout=30) as answer:
        described: dict[str, Any] = json.load(answer)["named_endpoints"]
    return described


@pytest.fixture(scope="module")
def endpoints(app_url: str) -> dict[str, Any]:
    return ask_info(app_url)


def test_the_code_names_the_address_that_was_asked(app_url: str) -> None:
    for url in (app_url, app_url.replace("127.0.0.1", "localhost"), app_url):
        assert f'Client("{url.rstrip("/")}")' in ask_info(url)["/search"]["code_snippets"]["python"]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_python_code_runs_as_it_stands(name: str, endpoints: dict[str, Any]) -> None:
    """In the checkout, where the example's picture lies."""
    code = endpoints[name]["code_snippets"]["python"]
    assert "://" not in re.sub(r'Client\("[^"]*"\)', "", code)
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ("espresso" if name == "/describe" else "'hits':") in ran.stdout


@pytest.mark.parametrize("name", ENDPOINTS)
def test_labels_are_words_and_results_have_names(name: str, endpoints: dict[str, Any]) -> None:
    about = endpoints[name]
    for value in (*about["parameters"], *about["returns"]):
        assert isinstance(value["label"], str) and not re.fullmatch(r"(value|parameter)_\d+", value["label"])
        assert "URL" not in value["python_type"]["description"] and "[]" not in value["python_type"]["type"]
    assert about["description"] and len({value["label"] for value in about["returns"]}) == len(about["returns"])
    shown = {parameter["parameter_name"]: parameter["example_input"] for parameter in about["parameters"]}
    assert all(shown[name] == value for name, value in {"box": "", "question": "", "k": 12}.items() if name in shown)


def test_the_panel_shows_them(app_url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(locale="fr-FR").new_page()
    page.goto(app_url)
    page.get_by_role("button", name="Utiliser via API").click()
    panel = page.locator(".api-docs")
    for name in ENDPOINTS:
        expect(panel).to_contain_text(name, timeout=WAIT_MS)
    words = panel.inner_text()
    assert "handle_file('examples/skimage/coffee.jpg')" in words and f'Client("{app_url.rstrip("/")}")' in words
    assert not re.search(r"\[object|value_\d|__i18n__|publicly|githubusercontent", words)
