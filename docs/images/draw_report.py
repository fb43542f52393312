"""Draw docs/images/report.png: the first part of the report of examples/report.py.

Run with ``python docs/images/draw_report.py report.html``; it needs Chromium and playwright.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUTPUT = Path(__file__).with_name("report.png")
WIDTH, HEIGHT = 1120, 900

with sync_playwright() as running:
    browser = running.chromium.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox"]
    )
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(Path(sys.argv[1]).resolve().as_uri())
    page.screenshot(path=OUTPUT)
    browser.close()
# Few colours are enough for a page, and a third of the size.
Image.open(OUTPUT).convert("RGB").quantize(128).save(OUTPUT, optimize=True)
