"""The command `gae`: its subcommands, its exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from functools import cache
from typing import Annotated, Any, NoReturn

import typer

from gaecli.cli import interrupts
from gaecli.cli.streams import prepare_streams
from gaecli.cli.typer_classes import Commands
from gaecli.errors import GaeError
from gaecli.unfinished import end_is_waited_for, last_word, put_away_what_is_left
from gaecli.version import __version__

EXIT_INTERRUPTED = 130
#: Whoever read our output went away; said without a word, as of a process that SIGPIPE ended.
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

app = typer.Typer(
    name="gae",
    cls=Commands,
    help="Advantages and returns for reinforcement-learning rollout files.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gae {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Print the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Advantages and returns for reinforcement-learning rollout files."""


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    prepare_streams()
    if (
        not sys.warnoptions
    ):  # what Python warns of is said to who programs; what a user should know we say ourselves
        warnings.simplefilter("ignore")
    interrupts.raise_once()
    end_is_waited_for()
    try:
        code = _exit_code()
        interrupts.raise_no_more()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    put_away_what_is_left()
    _leave(code)


def _exit_code() -> int:
    try:
        _command()()
        code = 0
    except SystemExit as stop:
        code = _code_of(stop)
    except GaeError as error:
        code = error.exit_code
        _print(error)
    except BrokenPipeError:
        code = EXIT_BROKEN_PIPE
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or EXIT_BROKEN_PIPE
    except GaeError as error:
        if code < error.exit_code:
            code = error.exit_code
            _print(error)
    return code


@cache
def _command() -> Any:
    """What `app()` puts together each time: a process of tests runs thousands of commands."""
    return typer.main.get_command(app)


def _print(error: GaeError) -> None:
    from gaecli.report.messages import print_error

    with contextlib.suppress(GaeError):  # stderr is full as well: the exit code has to do
        print_error(error)


def _code_of(stop: SystemExit) -> int:
    if isinstance(stop.__context__, BrokenPipeError):
        return EXIT_BROKEN_PIPE  # typer makes 1 of it, which is for bugs
    if stop.code is None:
        return 0
    return stop.code if isinstance(stop.code, int) else 1


def _leave(code: int) -> NoReturn:
    """Say a last word and go: tearing down the interpreter would wait for `import torch` and take its time."""
    with contextlib.suppress(GaeError, OSError):
        if code == EXIT_INTERRUPTED:  # typer makes this of an interrupt as well
            sys.stderr.write(f"interrupted; {last_word()}\n")
        sys.stderr.flush()
    os._exit(code)
