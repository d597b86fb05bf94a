"""What typer makes of commands and of their group, less what it imports for that.

Public names of typer only: `cls=` takes these classes, and what they override is how click says that it is done.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gaecli.cli import defaults
from gaecli.errors import UsageError

#: The commands in the order of the help page, each with the first line of its own. Module and function have its name.
COMMANDS = {
    "compute": "Compute advantages and returns, by GAE or another estimator, and write them into the file.",
    "doctor": "Find the command that rollout files take, asking what they leave open; nothing is written.",
    "inspect": "Look into rollout files: columns and roles, episodes, rewards, values; what `gae compute` would do.",
    "check": "Look for what is wrong, or likely to be, in rollout files: exit code 3 on errors, 0 on warnings.",
    "explain": "Take one number apart: what `--estimator` makes it of, term by term, and where the sum is cut.",
    "report": "Make one HTML page to explore rollouts offline: episodes, curves, findings, distributions, groups.",
    "show": "Explore rollouts in the terminal: episodes and their curves, findings, distributions.",
    "sweep": "Try a grid of γ and λ, or of γ and n, in one go; or presets and estimators side by side.",
    "verify": "Find the rule that made a column of advantages or returns, or where the column deviates from it.",
    "diff": "Tell where two columns of the same rows, or what two presets make of one file, differ: "
    "exit code 3 if they do.",
    "status": "Tell which files have their results, by which settings, and which are left: exit code 3 if some are.",
    "strip": "Take gaecli's columns out again: a Parquet file comes back byte for byte, others with their content.",
    "presets": "List the presets of `gae compute --preset`, or show one: formula, flags, normalisation, traps.",
}


class Command(TyperCommand):
    """All of its values are text, or switches: `gaecli.cli.options` converts them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        params = self.get_params(ctx)
        for param in params:
            _take_as_given(param, str | list | tuple | bool)
        names = [param.name for param in params if param.name != "help"]
        # Of a line that is still typed nothing is said, not what is wrong with a table of defaults either.
        found = {} if ctx.resilient_parsing else defaults.defaults_of(self.name or "", names, list(COMMANDS))
        ctx.default_map = {name: default.value for name, default in found.items()}
        rest = super().parse_args(ctx, args)
        defaults.used.clear()
        for name, default in found.items():
            source = ctx.get_parameter_source(name)
            if source is not None and source.name == "DEFAULT_MAP":
                defaults.used[name] = default
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from gaecli.cli.help_page import print_help

        print_help(self, ctx)


class Commands(TyperGroup):
    """A group whose commands are names and a line of help each, until one is asked for."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, summary in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for param in self.get_params(ctx):
            _take_as_given(param, ())
        args = _as_flags(args)
        if not ctx.resilient_parsing:
            _check_first(args, {flag for param in self.get_params(ctx) for flag in param.opts})
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _loaded(name), rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from gaecli.cli.help_page import print_help

        print_help(self, ctx)


def _as_flags(args: list[str]) -> list[str]:
    """`gae help`, `gae help compute` and `gae version`, as other tools have them."""
    if args[:1] == ["help"]:
        return [*args[1:], "--help"]
    return ["--version", *args[1:]] if args[:1] == ["version"] else args


def _check_first(args: list[str], flags: set[str]) -> None:
    """The command stands before its inputs and its flags."""
    first = args[0] if args else "--help"
    if first in COMMANDS or first.partition("=")[0] in flags:
        return
    if first.startswith("-") and first != "-":
        from gaecli.cli.options import OPTIONS

        flag = first.partition("=")[0]
        if not any(flag in option.spellings for option in OPTIONS.values()):
            return
        what, hint = (
            "stands before the command",
            f"`gae compute FILE {first}`, or another one of `gae --help`",
        )
    elif first == "-" or any(mark in first for mark in "./*") or Path(first).exists():
        from gaecli.shell_words import file_word

        what = "is no command"
        hint = f"`gae compute {file_word(first)}` writes advantages, `gae inspect` looks, `gae doctor` asks"
    else:
        return  # typer tells commands that are spelt like it
    raise UsageError(f"`{first}` {what}", hint=hint)


@cache
def _loaded(name: str) -> Any:
    """Put together once: a process of tests runs thousands, and many of them take less time than that."""
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    alone.command(name, cls=Command)(getattr(import_module(f"gaecli.cli.{name}"), name))
    return typer.main.get_command(alone)


def _take_as_given(param: Any, kinds: Any) -> None:
    """Nothing, or text where text is wanted, needs no conversion. For that typer builds a validator of pydantic
    for each parameter, which takes longer than to import NumPy.
    """
    if "process_value" in vars(param):
        return
    usual = param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if value is None and not param.required:
            value = () if param.multiple or param.nargs == -1 else None
        elif not isinstance(value, kinds):
            return usual(ctx, value)
        return value if param.callback is None else param.callback(ctx, param, value)

    param.process_value = process_value
