"""Warnings as a block of lines: what is said many times is said once, with a count."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gaecli.records import dataclass
from gaecli.report.text import CAUTION, Canvas, plural
from gaecli.report.text_flow import flow, hanging, paragraph
from gaecli.summary import WarningNote

#: More different warnings than this would push the numbers off the screen.
MOST_NOTES = 12


@dataclass(frozen=True)
class NoteGroup:
    """Warnings that differ only in the file they are about."""

    note: WarningNote
    files: Sequence[str]
    count: int


def warning_lines(notes: Sequence[WarningNote], canvas: Canvas) -> list[Text]:
    groups = grouped(notes)
    lines: list[Text] = []
    for group in groups[:MOST_NOTES]:
        lines += _group_lines(group, canvas)
    num_more = len(groups) - MOST_NOTES
    if num_more > 0:
        words = f"{canvas.glyphs.ellipsis} {plural(num_more, 'more warning')}; `--json` lists all of them"
        lines += paragraph(Text(words, "italic"), canvas.width)
    return lines


def grouped(notes: Sequence[WarningNote]) -> list[NoteGroup]:
    """In order of first appearance."""
    together: dict[tuple[str, str, str | None], list[WarningNote]] = {}
    for note in notes:
        together.setdefault((note.code, note.message, note.hint), []).append(note)
    return [
        NoteGroup(
            note=members[0],
            files=[note.file for note in members if note.file is not None],
            count=sum(note.count for note in members),
        )
        for members in together.values()
    ]


def _group_lines(group: NoteGroup, canvas: Canvas) -> list[Text]:
    mark = Text(f"{canvas.glyphs.warning} ", CAUTION)
    room = canvas.width - mark.cell_len
    lines: list[Text] = []
    for line in canvas.clean_lines(group.note.message):
        lines += paragraph(Text(line), room)
    lines += flow(_where(group, canvas, room), room, canvas.glyphs.separator)
    for line in canvas.clean_lines(group.note.hint or ""):
        arrow = Text(f"{canvas.glyphs.hint} ")
        lines += hanging(arrow, paragraph(Text(line), room - arrow.cell_len))
    return hanging(mark, lines)


def _where(group: NoteGroup, canvas: Canvas, room: int) -> list[Text]:
    """Code, count and file, each only if the message does not say it already."""
    message = group.note.message
    items = [Text(canvas.clean(group.note.code), "italic")]
    if group.count > 1 and f"{group.count:,}" not in message and str(group.count) not in message:
        items.append(Text(f"{canvas.glyphs.times} {group.count:,}"))
    if group.files and group.files[0] not in message:
        items.append(Text(canvas.shorten(group.files[0], room)))
    if len(group.files) > 1:
        items.append(Text(f"and {plural(len(group.files) - 1, 'more file')}"))
    return items
