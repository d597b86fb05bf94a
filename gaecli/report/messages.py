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
    alike: dict[tuple[str, str | None], list[Failure]] = {}
    for failure in failures:
        message, hint = failure.error, failure.hint
        key = message.replace(failure.input, "…"), hint and hint.replace(failure.input, "…")
        alike.setdefault(key, []).append(failure)
    for same in alike.values():
        first, *others = same
        message = first.error
        if first.input not in message:
            message = f"`{first.input}`: {message}"
        _print("error", BAD, message + _also(others), first.hint, console)


def _also(others: Sequence[Failure]) -> str:
    if not others:
        return ""
    names = ", ".join(f"`{file.input}`" for file in others[:_NAMES_SHOWN])
    more = f" and {len(others) - _NAMES_SHOWN:,} more" if len(others) > _NAMES_SHOWN else ""
    return f"\nthe same with {len(others):,} other {'file' if len(others) == 1 else 'files'}: {names}{more}"


def print_warning(note: WarningNote, console: Console | None = None) -> None:
    message = note.message
    if note.file is not None and note.file not in message:
        message = f"`{note.file}`: {message}"
    _print("warning", CAUTION, message, note.hint, console)


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


def _print(kind: str, style: str, message: str, hint: str | None, console: Console | None) -> None:
    from gaecli.report.console import error_console

    target = console or error_console()
    for line in message_lines(kind, style, message, hint, Canvas.of(target)):
        target.print(line, soft_wrap=True, markup=False, highlight=False)
