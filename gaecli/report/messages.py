"""Errors and warnings on stderr, one form for all.

    error: column `value` not found in `runs/ppo.parquet`
           columns there: episode, t, reward, vf_pred, done

    hint: pass `--value-column vf_pred`

Never wrapped here (a terminal does that, and a log keeps one line per message), never read as markup:
`run[a].parquet` stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from gaecli.report.text import BAD, CAUTION, STRONG, Canvas

if TYPE_CHECKING:
    from rich.console import Console

    from gaecli.errors import GaeError
    from gaecli.summary import Failure, WarningNote

#: Files named beside the first where all of them fail alike.
_NAMES_SHOWN = 3


def print_error(error: GaeError, console: Console | None = None) -> None:
    _print("error", BAD, error.message, error.hint, console)


def print_failures(failures: Iterable[Failure], console: Console | None = None) -> None:
    """The errors of inputs among others, as `print_error` would show them; one that many have is shown once."""
    print_outcome((), failures, console)


def print_outcome(
    notes: Iterable[WarningNote], failures: Iterable[Failure], console: Console | None = None
) -> None:
    """Warnings, then errors; what stands behind a hint is a line apart from it."""
    alike: dict[tuple[str, str | None], list[Failure]] = {}
    for failure in failures:
        message, hint = failure.error, failure.hint
        key = message.replace(failure.input, "…"), hint and hint.replace(failure.input, "…")
        alike.setdefault(key, []).append(failure)
    errors = [("error", BAD, _told_of(*same), same[0].hint) for same in alike.values()]
    warnings = [("warning", CAUTION, _told_by(note), note.hint) for note in notes]
    above = None
    for kind, style, message, hint in (*warnings, *errors):
        _print(kind, style, message, hint, console, is_apart=bool(above))
        above = hint


def _told_of(first: Failure, *others: Failure) -> str:
    named = first.error if first.input in first.error else f"`{first.input}`: {first.error}"
    return named + _also(others)


def _also(others: Sequence[Failure]) -> str:
    if not others:
        return ""
    names = ", ".join(f"`{file.input}`" for file in others[:_NAMES_SHOWN])
    more = f" and {len(others) - _NAMES_SHOWN:,} more" if len(others) > _NAMES_SHOWN else ""
    return f"\nthe same with {len(others):,} other {'file' if len(others) == 1 else 'files'}: {names}{more}"


def print_warning(note: WarningNote, console: Console | None = None) -> None:
    print_outcome((note,), (), console)


def _told_by(note: WarningNote) -> str:
    is_named = note.file is None or note.file in note.message
    return note.message if is_named else f"`{note.file}`: {note.message}"


def message_lines(kind: str, style: str, message: str, hint: str | None, canvas: Canvas) -> list[Text]:
    """`kind: ` before the first line of the message, the others in line with it; the hint apart."""
    lead = f"{kind}: "
    first, *others = canvas.clean_lines(message) or ["no message"]
    lines = [Text.assemble((lead, style), first)]
    lines += [Text(" " * len(lead) + line) for line in others]
    if hint:
        first, *others = canvas.clean_lines(hint) or [""]
        lines += [Text(), Text.assemble(("hint: ", STRONG), first)]
        lines += [Text(" " * len("hint: ") + line) for line in others]
    return lines


def _print(
    kind: str, style: str, message: str, hint: str | None, console: Console | None, *, is_apart: bool = False
) -> None:
    from gaecli.report.console import error_console

    target = console or error_console()
    lines = message_lines(kind, style, message, hint, Canvas.of(target))
    for line in [Text(), *lines] if is_apart else lines:
        target.print(line, soft_wrap=True, markup=False, highlight=False)
