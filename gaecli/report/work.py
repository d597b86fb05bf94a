"""`gae status` shown: counts, the settings of what is done, and the names of what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gaecli.done_work import Leftover, ResultStatus, UsedSettings, WorkStatus
from gaecli.report.charts import format_bytes, format_setting
from gaecli.report.document import enveloped
from gaecli.report.shown_names import common_directory
from gaecli.report.table import print_lines
from gaecli.report.text import BAD, CAUTION, GOOD, QUIET, Canvas, plural
from gaecli.report.text_flow import paragraph
from gaecli.summary import Failure

if TYPE_CHECKING:
    from rich.console import Console

#: Names that are listed of each kind; `--json` has all.
MOST_NAMES = 20
_STYLES = {"done": GOOD, "stale": CAUTION, "left": CAUTION, "failed": BAD}
#: What differs from run to run most often, in this order.
_TELLING = ("estimator", "preset", "gamma", "lam", "normalize", "normalize_by")


def work_to_dict(status: WorkStatus) -> dict[str, Any]:
    own = {
        "counts": status.counts,
        "used_settings": [asdict(one) for one in status.settings],
        "temporary": [asdict(left) for left in status.leftovers],
    }
    failed = [result for result in status.results if result.state == "failed"]
    return enveloped(
        "status",
        own,
        exit_code=status.exit_code,
        files=[_file(result) for result in status.results],
        failures=[Failure(one.input, one.why or "", None, one.exit_code) for one in failed],
    )


def _file(result: ResultStatus) -> dict[str, Any]:
    """`settings` is the place among `used_settings`."""
    return {**asdict(result), "error": result.why if result.state == "failed" else None}


def render_work(status: WorkStatus, console: Console) -> None:
    canvas = Canvas.of(console)
    print_lines(_lines(status, canvas), console)


def _lines(status: WorkStatus, canvas: Canvas) -> list[Text]:
    counts = {state: count for state, count in status.counts.items() if count}
    head = Text(plural(len(status.results), "file") + ": ")
    for position, (state, count) in enumerate(counts.items()):
        head.append(", " if position else "")
        head.append(f"{count:,} {state}", _STYLES[state])
    lines = paragraph(head, canvas.width)
    for one in status.settings:
        lines += paragraph(_settings(one), canvas.width)
    for state in ("failed", "stale", "left"):
        lines += _named(state, [one for one in status.results if one.state == state], canvas)
    return [*lines, *_leftovers(status.leftovers, canvas)]


def _settings(one: UsedSettings) -> Text:
    told = [
        f"{name.replace('_', '-')} {_value(one.settings[name])}"
        for name in _TELLING
        if one.settings.get(name) not in (None, "none")
    ]
    when = one.first if one.first == one.last else f"{one.first} to {one.last}"
    words = [
        f"{plural(one.num_files, 'result')} by gaecli {one.version}",
        *told,
        ", ".join(one.columns),
        when or "",
    ]
    return Text("; ".join(word for word in words if word), QUIET)


def _value(value: Any) -> str:
    """Anybody may have edited what a file stores."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return format_setting(value) if is_number else str(value)


def _named(state: str, results: Sequence[ResultStatus], canvas: Canvas) -> list[Text]:
    if not results:
        return []
    folder = common_directory([one.input for one in results])
    title = Text.assemble((state, _STYLES[state]), f" in {folder}" if folder else "")
    lines = [Text(), *paragraph(title, canvas.width)]
    for one in results[:MOST_NAMES]:
        name = canvas.clean(one.input.removeprefix(folder))
        why = "" if one.why is None else f": {canvas.clean(one.why)}"
        lines += [Text("  ").append(line) for line in paragraph(Text(name + why), canvas.width - 2)]
    if len(results) > MOST_NAMES:
        more = f"  {canvas.glyphs.ellipsis} {len(results) - MOST_NAMES:,} more, which `--json` names"
        lines.append(Text(more, "italic"))
    return lines


def _leftovers(leftovers: Sequence[Leftover], canvas: Canvas) -> list[Text]:
    lines: list[Text] = []
    for in_use, title in (
        (True, "of a run that is at work"),
        (False, "left by a run that was killed: the next one removes them"),
    ):
        some = [left for left in leftovers if left.in_use == in_use]
        if not some:
            continue
        size = format_bytes(sum(left.num_bytes for left in some))
        lines += [
            Text(),
            *paragraph(Text(f"{plural(len(some), 'temporary file')}, {size}, {title}"), canvas.width),
        ]
        lines += [Text("  " + canvas.shorten(left.path, canvas.width - 2)) for left in some[:MOST_NAMES]]
        if len(some) > MOST_NAMES:
            lines.append(Text(f"  {canvas.glyphs.ellipsis} {len(some) - MOST_NAMES:,} more", "italic"))
    return lines
