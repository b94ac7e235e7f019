"""The app on a Lance table whose search is approximate: the page tells so, and all of it works."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from imgsearch.config import STARTER_BUNDLE
from imgsearch.index import lance_export
from imgsearch.index.lance import LanceIndex
from imgsearch.index.lance_export import export_table
from imgsearch.search.words import stems
from tests.helpers.app import running_app
from tests.helpers.examples import NUM_EXAMPLES
from tests.helpers.pages import WAIT_MS, WIDE, act, chips_of, expect_first, open_hit, search, tiles_of
from tests.helpers.tables import ignore


def test_the_page_searches_a_table(
    new_context: Callable[..., BrowserContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance_export, "MIN_INDEXED", NUM_EXAMPLES)
    measured = export_table(STARTER_BUNDLE, tmp_path / "starter.lance", stems, ignore)
    assert 0.9 <= measured.recall_at_10 <= 1 and LanceIndex(tmp_path / "starter.lance").recall
    with running_app("--index", f"lance://{tmp_path}/starter") as (url, _):
        page = new_context(viewport=WIDE, locale="en-US").new_page()
        page.goto(url)
        expect(page.locator("#banner")).to_contain_text(str(NUM_EXAMPLES), timeout=WAIT_MS)
        page.locator("#banner summary").click()
        told = f"approximate: {int(100 * measured.recall_at_10)} of 100 nearest"
        expect(page.locator("#banner")).to_contain_text(told)
        tiles_of(page).first.wait_for(timeout=WAIT_MS)
        search(page, "an owl")
        expect_first(page, "owl")
        assert tiles_of(page).first.locator("img").evaluate("one => one.naturalWidth") > 100
        dialog = open_hit(page, 0)
        expect(dialog).to_contain_text("owl")
        page.keyboard.press("Escape")
        act(tiles_of(page).first, 0)
        expect(chips_of(page)).not_to_contain_text("an owl", timeout=WAIT_MS)
        expect(tiles_of(page).nth(11)).to_be_visible(timeout=WAIT_MS)
