"""What typer makes of commands and of their group, less what it imports for that.

Public names of typer only: `cls=` takes these classes, and what they override is how click says that it is done.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """All of its values are text, or switches: `gaecli.cli.options` converts them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for param in self.get_params(ctx):
            _take_as_given(param, str | list | tuple)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from gaecli.cli.help_page import print_help

        print_help(self, ctx)


class Commands(TyperGroup):
    """A group whose commands are names and a line of help each, until one is asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for param in self.get_params(ctx):
            _take_as_given(param, ())
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _loaded(name), rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from gaecli.cli.help_page import print_help

        print_help(self, ctx)


def _loaded(name: str) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    alone.command(name, cls=Command)(getattr(import_module(f"gaecli.cli.{name}"), name))
    return typer.main.get_command(alone)


def _take_as_given(param: Any, kinds: Any) -> None:
    """Nothing, or text where text is wanted, needs no conversion. For that typer builds a validator of pydantic
    for each parameter, which takes longer than to import NumPy.
    """
    usual = param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if value is None and not param.required:
            value = () if param.multiple or param.nargs == -1 else None
        elif not isinstance(value, kinds):
            return usual(ctx, value)
        return value if param.callback is None else param.callback(ctx, param, value)

    param.process_value = process_value
