"""What a console can show: its width, its characters, and names made safe to print.

Everything under `gaecli.report` asks a `Canvas` instead of the console, so a rendering depends on
nothing but the summary, a width and an encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.cells import cell_len

from gaecli.records import dataclass
from gaecli.shown import plural as plural  # noqa: PLC0414 - exported

if TYPE_CHECKING:
    from rich.console import Console

#: Colours of the terminal's own palette, so that light and dark themes both stay readable. Blue-green,
#: yellow and red stay apart in every common form of colour blindness, and each comes with a mark and a word.
GOOD = "bold cyan"
CAUTION = "bold yellow"
BAD = "bold red"
STRONG = "bold"
BAR = "cyan"
QUIET = "dim"


@dataclass(frozen=True)
class Glyphs:
    """The characters beyond letters and digits that a rendering uses."""

    bars: str = "▁▂▃▄▅▆▇█"
    gauge: str = "█░"
    rule: str = "─"
    separator: str = " · "
    missing: str = "\N{EN DASH}"
    ellipsis: str = "…"
    approximately: str = "≈"
    times: str = "\N{MULTIPLICATION SIGN}"
    minus: str = "\N{MINUS SIGN}"
    root: str = "√"
    squared: str = "²"
    gamma: str = "\N{GREEK SMALL LETTER GAMMA}"
    lam: str = "λ"
    written: str = "✓"
    up_to_date: str = "="
    dry_run: str = "○"
    failed: str = "✗"
    not_written: str = "\N{EN DASH}"
    warning: str = "!"
    hint: str = "→"

    def mark(self, status: str) -> str:
        return str(getattr(self, status.replace(" ", "_")))


UNICODE = Glyphs()
ASCII = Glyphs(
    bars=".:-=+*#@",
    gauge="#.",
    rule="-",
    separator=" | ",
    missing="-",
    ellipsis="...",
    approximately="~",
    times="x",
    minus="-",
    root="sqrt",
    squared="^2",
    gamma="gamma",
    lam="lambda",
    written="+",
    dry_run="o",
    failed="x",
    not_written="-",
    hint=">",
)

#: A narrower console breaks lines by itself: less would be no table any more.
LEAST_WIDTH = 20

STATUS_STYLES: Mapping[str, str] = MappingProxyType(
    {
        "written": GOOD,
        "up to date": GOOD,
        "dry run": STRONG,
        "failed": BAD,
        "not written": CAUTION,
    }
)


@dataclass(frozen=True)
class Canvas:
    """Where a rendering goes: `width` cells of characters that `encoding` can carry."""

    width: int = 100
    encoding: str = "utf-8"

    @classmethod
    def of(cls, console: Console) -> Canvas:
        return cls(width=max(console.width, LEAST_WIDTH), encoding=console.encoding)

    @cached_property
    def glyphs(self) -> Glyphs:
        characters = "".join(getattr(UNICODE, field.name) for field in fields(Glyphs))
        return UNICODE if _encodes(characters, self.encoding) else ASCII

    def clean(self, text: str) -> str:
        """`text` with all that could move the cursor, hide or crash written as an escape.

        A file may be called `a\\nb`, hold a colour sequence or reverse the reading direction; shown as
        it is, it could forge a line of the report. Lone surrogates (undecodable bytes of a file name)
        and letters outside the encoding would end the program in the middle of a table.
        """
        shown = text
        if not text.isprintable():
            shown = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
        if not _encodes(shown, self.encoding):
            shown = shown.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return shown

    def clean_lines(self, text: str) -> list[str]:
        """The lines of a message of several lines, each clean and without its own indent."""
        return [self.clean(line.strip()) for line in text.split("\n") if line.strip()]

    def shorten(self, text: str, width: int) -> str:
        """`text` cleaned and cut in the middle, where a path tells least; the end keeps the larger part."""
        return shorten(self.clean(text), width, self.glyphs.ellipsis)


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    if cell_len(text) <= width:
        return text
    room = max(width - cell_len(ellipsis), 2)
    head = _leading(text, room * 2 // 5)
    tail = _leading(text[::-1], room - cell_len(head))[::-1]
    return f"{head}{ellipsis}{tail}"


def _leading(text: str, room: int) -> str:
    """As many leading characters as fit into `room` cells; a Chinese character takes two."""
    used = 0
    for position, letter in enumerate(text):
        used += cell_len(letter)
        if used > room:
            return text[:position]
    return text


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
