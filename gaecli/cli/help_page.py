"""The help pages: usage, what a command does, a panel of each kind of parameters, examples.

Typer's own way brings a Markdown parser and two lexers with it, ninety modules that take longer than all else of
`gae --help`, and gives help a quarter of a line of 80 columns.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.highlighter import RegexHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text
from rich.theme import Theme

from gaecli.cli.examples import EXAMPLES, Example
from gaecli.report.sizes import dumb_size
from gaecli.report.text_flow import hanging, paragraph

#: Readable on white as on black.
_STYLES = {"option": "bold cyan", "switch": "bold green", "usage": "bold"}
_METAVAR = "cyan"
#: Any of these means colours, though stdout may be no terminal.
_FORCE_TERMINAL = ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS")
#: What stands before help: at most so much, and a longer flag has a line of its own.
_LEAST_WIDTH = 40
_MOST_FLAGS = 30
_LONGEST_CHOICES = 14


class _Options(RegexHighlighter):
    highlights = [  # noqa: RUF012 - as rich has it
        r"(^|[^\w+-])(?P<switch>\-\w+)(?![a-zA-Z0-9])",
        r"(^|[^\w-])(?P<option>\-\-[\w\-]+)(?![a-zA-Z0-9])",
        r"(?P<usage>Usage: )",
    ]


_options = _Options()


def print_help(command: Any, ctx: Any) -> None:
    """That of a typer command or group."""
    forced = True if any(map(os.environ.get, _FORCE_TERMINAL)) else None
    width, height = dumb_size(sys.stdout)
    styles = Theme(_STYLES)
    console = Console(theme=styles, highlight=False, force_terminal=forced, width=width, height=height)
    width = max(console.width, _LEAST_WIDTH)
    console.print(Padding(_options(command.get_usage(ctx)), (1, 1, 1, 1)))
    console.print(Padding(_prose(command.help), (0, 1, 1, 1)))
    for title, params in _panels(command, ctx).items():
        _print_panel(console, title, _parameter_lines(params, width - 4))
    commands = [command.get_command(ctx, name) for name in _subcommands(command, ctx)]
    if commands:
        _print_panel(console, "Commands", _command_lines(commands, width - 4))
    examples = EXAMPLES.get(command.name if ctx.parent is not None else "", ())
    if examples:
        console.print(_examples(examples), soft_wrap=True)


def _prose(help: str) -> Group:
    """The first paragraph as it is, the others dim."""
    first, *others = (part.replace("\n", " ").strip() for part in inspect.cleandoc(help).split("\n\n"))
    return Group(_options(first), *(line for other in others for line in (Text(""), _dim(other))))


def _dim(text: str) -> Text:
    return _options(Text(text, "dim"))


def _panels(command: Any, ctx: Any) -> dict[str, list[Any]]:
    """In the order of their first parameters, what all commands have at the end."""
    panels: dict[str, list[Any]] = {}
    usual: list[Any] = []
    for param in command.get_params(ctx):
        if getattr(param, "hidden", False):
            continue
        title = "Arguments" if _is_argument(param) else getattr(param, "rich_help_panel", None)
        (usual if title is None else panels.setdefault(title, [])).append(param)
    return {**panels, "Options": usual}


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _parameter_lines(params: Sequence[Any], width: int) -> list[Text]:
    flags = [_flag(param) for param in params]
    room = min(max(flag.cell_len for flag in flags), _MOST_FLAGS, width // 2) + 2
    lines: list[Text] = []
    for param, flag in zip(params, flags, strict=True):
        help = paragraph(_help(param), width - room)
        if flag.cell_len + 2 > room:
            lines += [*paragraph(flag, width), *hanging(Text(" " * room), help)]
        else:
            flag.pad_right(room - flag.cell_len)
            lines += hanging(flag, help)
    return lines


def _flag(param: Any) -> Text:
    """`-o, --output FILE`; what has no short spelling leaves its place empty."""
    if _is_argument(param):
        return Text(param.metavar, _METAVAR)
    short, long = _by_length(param.opts)
    spelt = Text(", ").join(
        [*(Text(one, "bold green") for one in short), *(Text(one, "bold cyan") for one in long)]
    )
    for one in param.secondary_opts:
        spelt.append("/").append(one, "bold cyan")
    metavar = _metavar(param)
    if metavar:
        spelt.append(" ").append(metavar, _METAVAR)
    return Text.assemble("" if short else "    ", spelt)


def _by_length(spellings: Sequence[str]) -> tuple[list[str], list[str]]:
    short = [one for one in spellings if not one.startswith("--")]
    return short, [one for one in spellings if one not in short]


def _metavar(param: Any) -> str:
    """Nothing of a switch; a long list of choices stands with the help."""
    choices: str = param.metavar or ""
    if "|" not in choices or len(choices) <= _LONGEST_CHOICES:
        return choices
    return "CHOICE"


def _help(param: Any) -> Text:
    help = _options((param.help or "").replace("\n", " ").strip())
    if param.metavar and _metavar(param) != param.metavar:
        help.append(f" One of {', '.join(param.metavar.split('|'))}.")
    if param.show_default and param.default not in (None, False):
        help.append(f" [default: {param.default}]", "dim")
    if param.required:
        help.append(" [required]", "dim red")
    return help


def _subcommands(command: Any, ctx: Any) -> list[str]:
    return command.list_commands(ctx) if hasattr(command, "list_commands") else []


def _command_lines(commands: Sequence[Any], width: int) -> list[Text]:
    room = max(len(command.name) for command in commands) + 2
    return [
        line
        for command in commands
        for line in hanging(
            Text(command.name.ljust(room), "bold cyan"),
            paragraph(_options(command.help.split("\n\n")[0]), width - room),
        )
    ]


def _print_panel(console: Console, title: str, lines: Sequence[Text]) -> None:
    panel = Panel(Group(*lines), border_style="dim", title=title, title_align="left")
    # Lines are as wide as they should be, but for a terminal that is narrower than any page.
    fits = console.width >= _LEAST_WIDTH
    console.print(panel, no_wrap=fits, overflow="ignore" if fits else None)


def _examples(examples: Sequence[Example]) -> Text:
    """Without a frame, so that they can be copied."""
    lines = [Text(" Examples", "bold")]
    for example in examples:
        command = example.command.replace("\n", "\n   ")
        lines += [Text(f"   # {example.purpose}", "dim"), _options(f"   {command}")]
    return Text("\n").join([*lines, Text("")])
