"""Paper to draw on: themes, and how a figure becomes a file.

PNG and SVG have a light ground of their own, so that they can be read wherever they are put. The HTML
page holds the drawing twice, light and dark, and shows the one that the reader's system asks for.
"""

from __future__ import annotations

import html
import io
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaecli.errors import FileError
from gaecli.records import dataclass
from gaecli.report.text import Canvas
from gaecli.version import __version__


@dataclass(frozen=True)
class Theme:
    """Colours of Okabe & Ito, which every kind of eye tells apart; the first two carry the meaning."""

    name: str
    ground: str
    ink: str
    faint: str
    main: str
    second: str
    third: str
    map: str = "cividis"


LIGHT = Theme("light", "#ffffff", "#24292f", "#d0d7de", "#0072b2", "#d55e00", "#009e73")
DARK = Theme("dark", "#121418", "#d8dbe0", "#3a3f47", "#56b4e9", "#e69f00", "#2bc79a")

#: Draws a figure in a theme.
Drawing = Callable[[Any, Theme], None]

_DPI = 150


def draw(path: str, title: str, size: tuple[float, float], drawing: Drawing) -> None:
    """Draw and save; the suffix says as what. The file appears whole or not at all."""
    suffix = Path(path).suffix.lower()
    if suffix == ".html":
        content = _page(title, size, drawing).encode()
    else:
        content = _rendered(suffix.removeprefix("."), title, size, drawing, LIGHT)
    _write(Path(path), content)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # never through a link that lies there
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FileError(f"`{path}` cannot be written: {error.strerror or error}") from error


def _rendered(kind: str, title: str, size: tuple[float, float], drawing: Drawing, theme: Theme) -> bytes:
    # Its remarks on fonts and on the folder of its cache are nobody's business here.
    if not (logger := logging.getLogger("matplotlib")).handlers:
        logger.addHandler(logging.NullHandler())
    # Not pyplot: it keeps global state and asks for a display.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Names of files are no formulas, whatever `$` stands in them.
    settings: Any = {
        **_style(theme),
        "svg.hashsalt": theme.name,
        "svg.fonttype": "none",
        "text.parse_math": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font has not: a box stands for them
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        drawing(figure, theme)
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
        _clean_texts(figure)
        _lay_out(figure)
        buffer = io.BytesIO()
        # Without a date: equal data makes equal files.
        metadata = {"Date": None} if kind == "svg" else {"Software": f"gaecli {__version__}"}
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _lay_out(figure: Any) -> None:
    """Once and for all. `savefig` would draw everything an extra time for it, which takes a third of its time."""
    engine = figure.get_layout_engine()
    engine.execute(figure)
    figure.set_layout_engine(None)


def _clean_texts(figure: Any) -> None:
    """Control characters in names would make a file that is no XML."""
    from matplotlib.text import Text

    canvas = Canvas()
    for text in figure.findobj(Text):
        lines = text.get_text().split("\n")
        text.set_text("\n".join(map(canvas.clean, lines)))


def _style(theme: Theme) -> dict[str, Any]:
    return {
        "figure.facecolor": theme.ground,
        "savefig.facecolor": theme.ground,
        "axes.facecolor": theme.ground,
        "axes.edgecolor": theme.faint,
        "axes.labelcolor": theme.ink,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.faint,
        "grid.linewidth": 0.5,
        "grid.alpha": 0.6,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "font.family": "sans-serif",
    }


def _page(title: str, size: tuple[float, float], drawing: Drawing) -> str:
    drawings = {
        theme.name: _inline(_rendered("svg", title, size, drawing, theme).decode()) for theme in (LIGHT, DARK)
    }
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="gaecli {__version__}">
<title>{html.escape(Canvas().clean(title))}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 1rem; background: {LIGHT.ground}; }}
svg {{ display: block; max-width: 100%; height: auto; margin: 0 auto; }}
.dark {{ display: none; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: {DARK.ground}; }}
  .dark {{ display: block; }}
  .light {{ display: none; }}
}}
</style>
</head>
<body>
<div class="light">
{drawings["light"]}</div>
<div class="dark">
{drawings["dark"]}</div>
</body>
</html>
"""


def _inline(svg: str) -> str:
    """The element without the XML declaration and the document type, which point to other hosts."""
    return svg[svg.index("<svg") :]
