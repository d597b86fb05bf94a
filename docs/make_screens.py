"""Draws the terminal screens of the README: `python docs/make_screens.py`.

Each screen is what `gae compute --dry-run` prints for a file of `sample_data/`, as an SVG in
`docs/screens/`. Run it again when the report changes; nothing is written beside the pictures.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import gaecli
from gaecli.report import render_summary
from gaecli.summary import Summary

ROOT = Path(__file__).resolve().parents[1]

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
    """A picture: its file name, the command line it shows, and the files that line is about."""

    name: str
    command: str
    sources: Sequence[str]
    width: int = 80


SCREENS = (
    Screen("compute", "gae compute pendulum.parquet --dry-run", ["pendulum.parquet"]),
    Screen(
        "compute_several",
        "gae compute cartpole.parquet pendulum.parquet --dry-run",
        ["cartpole.parquet", "pendulum.parquet"],
        width=100,
    ),
)


def main(output: Path = ROOT / "docs" / "screens", sample_data: Path = ROOT / "sample_data") -> None:
    """Draw every screen, dark and light."""
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    for screen in SCREENS:
        # From within, so that a picture does not show where this checkout lies.
        with contextlib.chdir(sample_data):
            source: str | list[str] = screen.sources[0] if len(screen.sources) == 1 else list(screen.sources)
            summary = gaecli.compute(source, dry_run=True)
        for theme_name, theme in THEMES.items():
            svg = draw(summary, screen.command, screen.width, theme, f"{screen.name}-{theme_name}")
            (output / f"{screen.name}-{theme_name}.svg").write_text(svg, encoding="utf-8")


def draw(summary: Summary, command: str, width: int, theme: TerminalTheme, identifier: str) -> str:
    """The report of `summary` beneath its command line, as an SVG document."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        no_color=False,
        color_system="standard",
        legacy_windows=False,
    )
    console.print(Text.assemble(("$ ", "dim"), command), highlight=False, soft_wrap=True)
    console.print()
    render_summary(summary, console)
    # A fixed id, or two runs on the same summary would differ.
    svg = console.export_svg(title=command.split(" --", maxsplit=1)[0], theme=theme, unique_id=identifier)
    # Not every program that shows an SVG keeps the spaces at the beginning of a text.
    return svg.replace("<text ", '<text xml:space="preserve" ')


if __name__ == "__main__":
    typer.run(main)
