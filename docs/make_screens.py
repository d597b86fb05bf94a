"""Draws the terminal screens of the README: `python docs/make_screens.py`.

Each screen is what a command prints of a file of `sample_data/`, dark and light, as an SVG in `docs/screens/`.
Run it again when what commands print changes.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
#: Of the machine that draws, and no two alike.
_DURATION = re.compile(r"\d+(?:\.\d+)? m?s\b")

DARK = TerminalTheme(
    (18, 20, 24),
    (216, 219, 224),
    [
        (18, 20, 24),
        (240, 97, 97),
        (98, 196, 130),
        (230, 190, 80),
        (100, 150, 240),
        (200, 130, 220),
        (70, 190, 205),
        (216, 219, 224),
    ],
)
LIGHT = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [
        (36, 41, 47),
        (190, 30, 45),
        (20, 120, 60),
        (140, 95, 0),
        (20, 80, 180),
        (130, 50, 150),
        (0, 115, 135),
        (110, 119, 129),
    ],
)
THEMES = {"dark": DARK, "light": LIGHT}


@dataclass(frozen=True)
class Screen:
    """A picture: its file name, and the command line that it shows."""

    name: str
    command: str
    width: int = 80


#: In this order, in one folder: later ones look at what earlier ones wrote.
SCREENS = (
    Screen("compute", "gae compute pendulum.parquet -o labelled.parquet"),
    Screen("inspect", "gae inspect cartpole.parquet"),
    Screen("check", "gae check cartpole.parquet pendulum.parquet"),
    Screen("explain", "gae explain pendulum.parquet --row 57"),
    Screen("sweep", "gae sweep pendulum.parquet --gamma 0.95,0.99 --lam 0:1:0.25"),
    Screen("verify", "gae verify labelled.parquet --against advantage"),
    Screen("diff", "gae diff cartpole.parquet --preset exact,brax"),
)


def main(output: Path = ROOT / "docs" / "screens", sample_data: Path = ROOT / "sample_data") -> None:
    """Draw every screen, dark and light."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for source in sample_data.glob("*.parquet"):
            shutil.copyfile(source, Path(folder, source.name))
        for screen in SCREENS:
            printed = _printed(screen, folder)
            for name, theme in THEMES.items():
                svg = draw(printed, screen, theme, f"{screen.name}-{name}")
                (output / f"{screen.name}-{name}.svg").write_text(svg, encoding="utf-8")


def _printed(screen: Screen, folder: str) -> str:
    gae = Path(sys.executable).parent / "gae"
    words = [str(gae), *screen.command.split()[1:]]
    env = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(screen.width)}
    done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 3):  # 3: something was found, which the picture shows
        raise SystemExit(f"`{screen.command}` ended with {done.returncode}")
    printed = done.stdout.partition("\ntime  ")[0]  # the last row of `gae compute`
    return _DURATION.sub("50 ms", printed)


def draw(printed: str, screen: Screen, theme: TerminalTheme, identifier: str) -> str:
    """What was printed beneath its command line, as an SVG document."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=screen.width,
        force_terminal=True,
        no_color=False,
        color_system="standard",
        legacy_windows=False,
    )
    console.print(Text.assemble(("$ ", "dim"), screen.command), highlight=False, soft_wrap=True)
    console.print()
    for line in Text.from_ansi(printed.rstrip("\n")).split("\n"):
        console.print(line, highlight=False, soft_wrap=True)
    # A fixed id, or two runs on the same text would differ.
    svg = console.export_svg(title=" ".join(screen.command.split()[:2]), theme=theme, unique_id=identifier)
    # Not every program that shows an SVG keeps the spaces at the beginning of a text.
    return svg.replace("<text ", '<text xml:space="preserve" ')


if __name__ == "__main__":
    typer.run(main)
