"""`gae strip` shown: counts, and of each file what was taken out of it and how."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.report.charts import format_bytes
from gaecli.report.document import enveloped
from gaecli.report.shown_names import common_directory
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, Canvas, plural
from gaecli.report.text_flow import paragraph
from gaecli.stripped import StrippedFile, StripResult

if TYPE_CHECKING:
    from rich.console import Console

#: Names that are listed; `--json` has all.
MOST_NAMES = 20
_STYLES = {"stripped": GOOD, "would strip": CAUTION, "clean": QUIET, "failed": BAD}
_WORDS = {"clean": "with nothing of gaecli's", "would strip": "would be stripped"}


def strip_to_dict(result: StripResult) -> dict[str, Any]:
    return enveloped(
        "strip",
        {"counts": result.counts},
        exit_code=result.exit_code,
        files=[_file(file) for file in result.files],
        failures=result.failures,
    )


def _file(file: StrippedFile) -> dict[str, Any]:
    """The error of a file stands beside its name, as with all commands."""
    document = asdict(file)
    failure = document.pop("failure") or {}
    return {**document, **{key: failure[key] for key in ("error", "hint", "exit_code") if failure}}


def render_strip(result: StripResult, console: Console) -> None:
    canvas = Canvas.of(console)
    head = Text(plural(len(result.files), "file") + ": ")
    for position, (state, count) in enumerate((s, n) for s, n in result.counts.items() if n):
        head.append(", " if position else "")
        head.append(f"{count:,} {_WORDS.get(state, state)}", _STYLES[state])
    lines = paragraph(head, canvas.width)
    changed = [file for file in result.files if file.columns]
    folder = common_directory([file.output for file in changed])
    if changed:
        lines.append(Text())
    if folder:
        lines += paragraph(Text(f"in {canvas.clean(folder)}", QUIET), canvas.width)
    for file in changed[:MOST_NAMES]:
        lines += [
            Text("  ").append(line) for line in paragraph(_told(file, folder, canvas), canvas.width - 2)
        ]
    if len(changed) > MOST_NAMES:
        more = f"  {canvas.glyphs.ellipsis} {len(changed) - MOST_NAMES:,} more, which `--json` names"
        lines.append(Text(more, "italic"))
    print_lines(lines, console)


def _told(file: StrippedFile, folder: str, canvas: Canvas) -> Text:
    name = canvas.clean(file.output.removeprefix(folder))
    columns = ", ".join(map(canvas.clean, file.columns))
    sizes = format_bytes(file.num_bytes_before)
    if file.num_bytes_after is not None:
        sizes += f" to {format_bytes(file.num_bytes_after)}"
    return Text.assemble(f"{name}: ", (columns, "bold"), f"; {file.method}; {sizes}")
