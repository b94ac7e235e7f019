"""Make the README's pictures of the page anew: .assets/app.png and .assets/thumbnail.png.

Usage: python .tools/make_screenshot.py, with what tests/requirements.txt lists and a Chromium (TEST_BROWSER).
"""

import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.helpers.app import running_app  # noqa: E402

QUERY = "a musical instrument"
WIDE = {"width": 1400, "height": 900}
THUMBNAIL = (1200, 630)

os.chdir(ROOT)
with running_app("--encoder", "starter", "--captioner", "starter") as app, sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=os.environ.get("TEST_BROWSER") or None, args=["--no-sandbox"])
    page = browser.new_page(viewport=WIDE, locale="en-US", color_scheme="light")
    for _ in range(2):  # the first answer of an app takes longer than those that people wait for
        page.goto(f"{app.url}?tab=search&q={QUERY.replace(' ', '+')}")
        page.locator("#wall .tile").nth(3).wait_for(timeout=120_000)
    page.wait_for_timeout(1500)  # the thumbnails are drawn
    page.screenshot(path=ROOT / ".assets" / "app.png")
    browser.close()
with Image.open(ROOT / ".assets" / "app.png") as shot:
    height = round(shot.width * THUMBNAIL[1] / THUMBNAIL[0])
    whole = shot.convert("RGB")
for name, image in (("app", whole), ("thumbnail", whole.crop((0, 0, whole.width, height)).resize(THUMBNAIL))):
    image.quantize().save(ROOT / ".assets" / f"{name}.png", optimize=True)
