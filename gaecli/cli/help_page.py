"""The help pages, as typer lays them out. Its own way there brings a Markdown parser and two lexers with it,
ninety modules that no page of ours needs and that take longer than all else of `gae --help`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich.align import Align
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.highlighter import RegexHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

_STYLES = {
    "option": "bold cyan",
    "switch": "bold green",
    "negative_option": "bold magenta",
    "negative_switch": "bold red",
    "types": "bold yellow",
    "metavar_sep": "dim",
    "usage": "yellow",
}
_METAVAR = "bold yellow"
#: Any of these means colours, though stdout may be no terminal.
_FORCE_TERMINAL = ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS")


class _Options(RegexHighlighter):
    highlights = [  # noqa: RUF012 - as rich has it
        r"(^|\W)(?P<switch>\-\w+)(?![a-zA-Z0-9])",
        r"(^|\W)(?P<option>\-\-[\w\-]+)(?![a-zA-Z0-9])",
        r"(?P<types>\<[^\>]+\>)",
        r"(?P<usage>Usage: )",
    ]


class _NegativeOptions(RegexHighlighter):
    highlights = [  # noqa: RUF012
        r"(^|\W)(?P<negative_switch>\-\w+)(?![a-zA-Z0-9])",
        r"(^|\W)(?P<negative_option>\-\-[\w\-]+)(?![a-zA-Z0-9])",
    ]


class _Metavars(RegexHighlighter):
    highlights = [  # noqa: RUF012
        r"^(?P<metavar_sep>(\[|<))",
        r"(?P<metavar_sep>\|)",
        r"(?P<metavar_sep>(\]|>))(\.\.\.)?$",
    ]


_options, _negative_options, _metavars = _Options(), _NegativeOptions(), _Metavars()


def print_help(command: Any, ctx: Any) -> None:
    """That of a typer command or group: usage, what it does, a panel of each kind of parameters, its commands."""
    forced = True if any(map(os.environ.get, _FORCE_TERMINAL)) else None
    console = Console(theme=Theme(_STYLES), highlighter=_options, force_terminal=forced)
    console.print(Padding(_options(command.get_usage(ctx)), 1), style="bold")
    console.print(Padding(Align(_prose(command.help), pad=False), (0, 1, 1, 1)))
    panels: dict[str, list[Any]] = {"Arguments": [], "Options": []}
    for param in command.get_params(ctx):
        if not getattr(param, "hidden", False):
            usual = "Arguments" if _is_argument(param) else "Options"
            panels.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(param)
    for title, params in panels.items():
        if params:
            _print_panel(console, title, _parameter_table(params))
    commands = [command.get_command(ctx, name) for name in _subcommands(command, ctx)]
    if commands:
        _print_panel(console, "Commands", _command_table(commands))


def _prose(help: str) -> Group:
    """The first paragraph in one piece, the others dim."""
    first, *others = inspect.cleandoc(help).split("\n\n")
    lines = [_marked(first.replace("\n", " ").strip())]
    return Group(*lines, *([Text(""), _marked("\n\n".join(others), "dim")] if others else []))


def _marked(text: str, style: str = "") -> Text:
    return _options(Text.from_markup(inspect.cleandoc(text), style=style))


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _parameter_table(params: Sequence[Any]) -> Table:
    """Long and short spellings, those that say no, what stands behind, help."""
    is_starred = any(param.required for param in params)
    table = Table(highlight=True, show_header=False, expand=True, box=None, pad_edge=False)
    for param in params:
        table.add_row(
            *([Text("*", "red") if param.required else ""] if is_starred else []),
            *(_options(spellings) for spellings in _spellings(param)),
            *(_negative_options(",".join(some)) for some in _by_length(param.secondary_opts)),
            _metavars(Text(_metavar(param), _METAVAR, overflow="fold")),
            Columns(_notes(param)),
        )
    return table


def _spellings(param: Any) -> Iterable[str]:
    if _is_argument(param):
        return "", param.metavar
    return [",".join(some) for some in _by_length(param.opts)]


def _by_length(spellings: Sequence[str]) -> tuple[list[str], list[str]]:
    is_long = [spelling.startswith("--") for spelling in spellings]
    return (
        [one for one, long in zip(spellings, is_long, strict=True) if long],
        [one for one, long in zip(spellings, is_long, strict=True) if not long],
    )


def _metavar(param: Any) -> str:
    if _is_argument(param):
        return "<list[str]>" if param.nargs == -1 else "<str>"
    return param.metavar or "<bool>"


def _notes(param: Any) -> list[Text]:
    notes = [_marked(param.help.replace("\n", " ").strip())]
    if param.show_default and param.default not in (None, False):
        notes.append(Text(f"[default: {param.default}]", "dim"))
    if param.required:
        notes.append(Text("[required]", "dim red"))
    return notes


def _subcommands(command: Any, ctx: Any) -> list[str]:
    return command.list_commands(ctx) if hasattr(command, "list_commands") else []


def _command_table(commands: Sequence[Any]) -> Table:
    table = Table(highlight=False, show_header=False, expand=True, box=None, pad_edge=False)
    width = max(len(command.name) for command in commands)
    table.add_column(style="bold cyan", no_wrap=True, width=width)
    table.add_column("Description", justify="left", no_wrap=False, ratio=10)
    for command in commands:
        table.add_row(Text(command.name), _marked(command.help.split("\n\n")[0]))
    return table


def _print_panel(console: Console, title: str, content: RenderableType) -> None:
    console.print(Panel(content, border_style="dim", title=title, title_align="left"))
