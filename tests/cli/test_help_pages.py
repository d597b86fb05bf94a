"""The help pages are those that typer prints, which takes three times as long to import what it does not need."""

from __future__ import annotations

import pytest
import typer
import typer.main
from covers import turns
from typer.testing import CliRunner

from gaecli.cli.main import app
from gaecli.cli.typer_classes import COMMANDS

COLOURS = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
#: Ours looks as theirs does since then; before, there were no types of switches, and metavars stood elsewhere.
IS_ALIKE = tuple(map(int, typer.__version__.split(".")[:2])) >= (0, 29)


def page(command, env):
    result = CliRunner().invoke(app, [*([command] if command else []), "--help"], env=env, color=True)
    assert result.exit_code == 0, result.output
    return result.output


def typers_own(command, env, monkeypatch):
    """By the renderer that ours stands for."""
    from typer import rich_utils

    monkeypatch.setattr(
        "gaecli.cli.help_page.print_help",
        lambda command, ctx: rich_utils.rich_format_help(obj=command, ctx=ctx, markup_mode="rich"),
    )
    monkeypatch.setattr(rich_utils, "FORCE_TERMINAL", "FORCE_COLOR" in env or None)
    return page(command, env)


@pytest.mark.skipif(not IS_ALIKE, reason="another layout of typer's")
@pytest.mark.parametrize(("env", "width", "command"), turns([{}, COLOURS], [40, 80, 120], ["", *COMMANDS]))
def test_a_page_is_typers_to_the_byte(command, width, env, monkeypatch):
    env = {"COLUMNS": str(width), **env}
    assert page(command, env) == typers_own(command, env, monkeypatch)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_group_says_of_each_command_what_its_own_page_begins_with(name):
    lines = [line.strip() for line in page(name, {"COLUMNS": "200"}).splitlines()]
    assert COMMANDS[name] in lines


def test_names_and_options_are_completed(run_gae):
    for words, position, expected in (
        ("gae com", "1", "compute"),
        ("gae compute --prec", "2", "--precision"),
    ):
        env = {"_GAE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
        assert run_gae(env=env).stdout.split() == [expected]


@pytest.mark.parametrize(
    ("words", "flags"), [("help", "--help"), ("help sweep", "sweep --help"), ("version", "--version")]
)
def test_words_for_help_and_version(words, flags):
    asked, expected = (CliRunner().invoke(app, line.split()) for line in (words, flags))
    assert (asked.exit_code, asked.output) == (0, expected.output)
    assert asked.output
