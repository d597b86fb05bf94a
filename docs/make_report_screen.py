"""docs/screens/report.png: the page of `gae report`, drawn by the Chromium that is there. Run it when that changes.

pip install -e '.[browser]' pillow && python docs/make_report_screen.py
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import gaecli

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        source = Path(folder, "cartpole.parquet")
        shutil.copy(ROOT / "sample_data/cartpole.parquet", source)
        gaecli.compute(source, gamma=0.98)
        output = Path(folder, "page.html")
        gaecli.write_report(source, output)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1240, "height": 1000})
        page.goto(output.as_uri())
        page.evaluate(f"document.getElementById('source').textContent = '{source.name}'")
        page.evaluate(
            "for (const code of document.querySelectorAll('header code, #step-command')) "
            f"code.textContent = code.textContent.replaceAll('{folder}/', '')"
        )
        curves = page.locator("#curves .u-over").nth(1)
        box = curves.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
        picture = page.screenshot()
        browser.close()
    # So many colours are enough for it, and take a third of the bytes.
    flat = Image.open(io.BytesIO(picture)).convert("RGB").quantize(160, dither=Image.Dither.NONE)
    flat.save(ROOT / "docs/screens/report.png", optimize=True)


if __name__ == "__main__":
    main()
