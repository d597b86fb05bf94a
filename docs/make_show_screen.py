"""Draws docs/screens/show.png, the picture of `gae show`, by the Chromium that is there.

python docs/make_show_screen.py
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from pathlib import Path

from gaecli.commands.report import ReportOptions, report_content
from gaecli.screen.app import ShowApp

TARGET = Path(__file__).parent / "screens" / "show.png"
SIZE = (110, 34)
KEYS = ("down", "down", *["right"] * 9)


async def drawn() -> str:
    os.chdir(TARGET.parents[2] / "sample_data")
    app = ShowApp(report_content("cartpole.parquet", options=ReportOptions(command="gae show")))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press(*KEYS)
        await pilot.pause()
        return app.export_screenshot()


# Without the font from elsewhere: one that has braille.
picture = re.sub(r"@font-face\s*{.*?}", "", asyncio.run(drawn()), flags=re.DOTALL)
picture = picture.replace("Fira Code", "DejaVu Sans Mono")
width, height = (round(float(size)) for size in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture)[0])
with tempfile.TemporaryDirectory() as folder:
    page = Path(folder) / "show.svg"
    page.write_text(picture, encoding="utf-8")
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += [f"--window-size={width},{height}", f"--screenshot={TARGET}", page.as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
