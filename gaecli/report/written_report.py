"""What `gae report` says of the page that it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.report.charts import format_bytes
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, Canvas, plural
from gaecli.report.text_flow import paragraph

if TYPE_CHECKING:
    from rich.console import Console

    from gaecli.written_report import WrittenReport


def render_written_report(written: WrittenReport, console: Console) -> None:
    canvas = Canvas.of(console)
    head = Text("wrote ").append(canvas.clean(written.output), "bold")
    head.append(f", {format_bytes(written.num_bytes)}: ")
    shown = f"{written.num_shown:,} of " if written.num_shown < written.num_episodes else ""
    head.append(f"{shown}{plural(written.num_episodes, 'episode')}, {plural(written.num_steps, 'step')}; ")
    counts = (
        (written.num_errors, "error", BAD),
        (written.num_warnings, "warning", CAUTION),
        (written.num_notes, "note", QUIET),
    )
    found = [(plural(count, word), style) for count, word, style in counts if count]
    for position, (text, style) in enumerate(found or [("no findings", GOOD)]):
        head.append(", " if position else "").append(text, style)
    lines = paragraph(head, canvas.width)
    if written.remark:
        lines += paragraph(Text(canvas.clean(written.remark), "italic"), canvas.width)
    print_lines(lines, console)
