"""`gae doctor`: what is in a file, what is wrong with it, and the command to run; asked where only the user knows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import typer

from gaecli.cli.command import Given, command
from gaecli.cli.documents import print_document
from gaecli.cli.options import ENDS, ESTIMATOR, GROUPS, OWN, ROLE_COLUMNS, STREAMS, SUCCESS, UNITS, WRITTEN
from gaecli.shell_words import word

if TYPE_CHECKING:
    from rich.console import Console

    from gaecli.advice import Advice, OpenQuestion


@command(
    *("inputs", ESTIMATOR, "gamma gamma_column lam lam_column", OWN, STREAMS, ENDS),
    *("mask_mode masked_reward", UNITS, GROUPS, ROLE_COLUMNS, SUCCESS, WRITTEN),
    "memory jobs files_from join on_nan document_json quiet no_progress",
)
def doctor(given: Given, json: bool, quiet: bool) -> None:
    """Find the command that rollout files take, asking what they leave open; nothing is written.

    The files are checked, and columns of advantages and returns in them verified. On a terminal one question at a
    time; elsewhere the first one ends it with exit code 2, and the flags that answer it.
    """
    sources = given.sources("gae doctor FILE…, or a directory; see `gae doctor --help`")
    from gaecli.commands.doctor import doctor as run

    can_ask = not (json or quiet) and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    advice = run(
        sources,
        given.settings,
        ask=_ask if can_ask else None,
        memory_bytes=given.memory_bytes,
        jobs=given["jobs"],
        watch=partial(given.progress, quiet=quiet),
    )
    _show(advice, as_json=json, quiet=quiet)
    raise typer.Exit(advice.exit_code)


def _show(advice: Advice, *, as_json: bool, quiet: bool) -> None:
    from gaecli.errors import UsageError
    from gaecli.report.messages import print_error, print_failures

    if as_json:
        from gaecli.report.advice import advice_to_dict

        print_document(advice_to_dict(advice))
    elif quiet and advice.command is not None:
        sys.stdout.write(f"{advice.command}\n")
    elif not quiet:
        from gaecli.report.advice import render_advice
        from gaecli.report.console import output_console

        console = output_console()
        render_advice(advice, console)
        if advice.question is not None:
            console.print()  # the message stands beneath, where both are shown
    print_failures(advice.failures)
    if advice.question is not None and not as_json:
        print_error(UsageError(advice.question.message, hint=advice.question.hint))


def _ask(question: OpenQuestion) -> str | None:
    """Flags that answer it; None where the user leaves it at that."""
    from gaecli.report.advice import question_lines
    from gaecli.report.console import error_console
    from gaecli.report.text import Canvas

    console = error_console()
    canvas = Canvas.of(console)
    for line in question_lines(question, canvas):
        console.print(line, soft_wrap=True)
    if question.objection is not None:
        console.print(f"not so: {canvas.clean(question.objection)}", style="bold yellow", soft_wrap=True)
    choices = {
        answer.flags: f"{answer.flags} …" if answer.is_open else answer.flags for answer in question.answers
    }
    console.print()
    flags = _chosen(choices, console, "flags")
    if flags is None or not any(answer.is_open and answer.flags == flags for answer in question.answers):
        return flags
    types = {name: f"{name}  ({kind})" for name, kind in question.columns.items()}
    value = _chosen(types if flags.endswith("-column") else {}, console, f"what {flags} is to be")
    return None if value is None else f"{flags} {word(value)}"


def _chosen(choices: Mapping[str, str], console: Console, other: str) -> str | None:
    """By its number, or typed; None for an empty line and at the end of what there is to read."""
    from gaecli.report.text import Canvas

    canvas = Canvas.of(console)
    for number, shown in enumerate(choices.values(), 1):
        console.print(f"  {number}  {canvas.clean(shown)}", soft_wrap=True)
    ways = [] if not choices else ["1" if len(choices) == 1 else f"1 to {len(choices)}"]
    while True:
        console.print(f"{', or '.join([*ways, other])}; Enter stops: ", end="", style="bold")
        try:
            typed = input().strip()
        except EOFError:
            console.print("\n")
            return None
        is_number = bool(choices) and typed.isdecimal()
        if is_number and not 0 < int(typed) <= len(choices):
            continue
        console.print()
        return list(choices)[int(typed) - 1] if is_number else typed or None
