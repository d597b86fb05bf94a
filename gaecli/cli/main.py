"""The command `gae`: its subcommands, its exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from gaecli.cli import interrupts
from gaecli.cli.streams import prepare_streams
from gaecli.cli.typer_classes import Commands
from gaecli.errors import GaeError
from gaecli.unfinished import last_word, put_away_what_is_left
from gaecli.version import __version__

EXIT_INTERRUPTED = 130
#: Whoever read our output went away; said without a word, as of a process that SIGPIPE ended.
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

#: The commands in the order of the help page, each with the first line of its own. Module and function have its name.
COMMANDS = {
    "compute": "Compute GAE advantages and returns, and write them into the file.",
    "inspect": "Look into rollout files: columns and roles, episodes, rewards, values; what `gae compute` would do.",
    "check": "Look for what is wrong, or likely to be, in rollout files: exit code 3 on errors, 0 on warnings.",
    "explain": "Take one advantage apart: its δ's, its k-step advantages, and where the sum is cut.",
    "sweep": "Try a grid of γ and λ in one go: spread, explained variance and bias of each setting.",
    "verify": "Find the preset, γ and λ that reproduce a column of advantages or returns, or where it deviates.",
    "presets": "List the presets of `gae compute --preset`, or show one: formula, flags, normalisation, traps.",
}

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


def _stand_in() -> None:
    """Until the command is asked for: `Commands` takes its place."""


for _name, _summary in COMMANDS.items():
    app.command(_name, help=_summary)(_stand_in)


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    prepare_streams()
    if (
        not sys.warnoptions
    ):  # what Python warns of is said to who programs; what a user should know we say ourselves
        warnings.simplefilter("ignore")
    interrupts.raise_once()
    try:
        code = _exit_code()
        interrupts.raise_no_more()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    put_away_what_is_left()
    _leave(code)


def _exit_code() -> int:
    try:
        app()
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
