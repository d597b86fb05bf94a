from __future__ import annotations

import io

import pytest
from report.examples import EncodedFile
from rich.console import Console

from gaecli.errors import DataError, UsageError
from gaecli.report import print_error, print_failures, print_outcome, print_warning
from gaecli.summary import Failure, WarningNote


@pytest.fixture(autouse=True)
def no_colour_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_an_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    message = (
        "column `value` not found in `runs/ppo.parquet`\ncolumns there: episode, t, reward, vf_pred, done"
    )
    print_error(UsageError(message, hint="pass `--value-column vf_pred`"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "error: column `value` not found in `runs/ppo.parquet`\n"
        "       columns there: episode, t, reward, vf_pred, done\n"
        "\n"
        "hint: pass `--value-column vf_pred`\n"
    )


def test_an_error_without_a_hint_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    message = "`reward` is NaN " + "at row 48213 (episode 17, step 212) " * 20
    print_error(DataError(message))
    assert capsys.readouterr().err == f"error: {message.strip()}\n"


def test_an_indent_that_a_message_brings_along_is_not_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("first\n       second"))
    assert capsys.readouterr().err == "error: first\n       second\n"


def test_a_warning_names_its_file_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_warning(WarningNote("code", "2 ends count as 0", file="run[a].parquet", hint="pass `-x`\nor `-y`"))
    print_warning(WarningNote("code", "2 ends in `a.npz` count as 0", file="a.npz"))
    assert capsys.readouterr().err == (
        "warning: `run[a].parquet`: 2 ends count as 0\n"
        "\n"
        "hint: pass `-x`\n"
        "      or `-y`\n"
        "warning: 2 ends in `a.npz` count as 0\n"
    )


def test_what_stands_behind_a_hint_is_a_line_apart_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    notes = [WarningNote("code", "one", file=None, hint="do"), WarningNote("code", "two", file=None)]
    print_outcome(notes, [Failure("a.npz", "three", "do", 4), Failure("b.npz", "four", None, 4)])
    assert capsys.readouterr().err == (
        "warning: one\n\nhint: do\n\nwarning: two\nerror: `a.npz`: three\n\nhint: do\n\nerror: `b.npz`: four\n"
    )


def test_a_failed_file_reads_like_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures([Failure("b.npz", "not a zip file", None, 4)])
    assert capsys.readouterr().err == "error: `b.npz`: not a zip file\n"


def test_brackets_are_not_markup_and_control_characters_are_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_error(UsageError("no [bold]x[/bold] in `a\x1b[2J\r\u202e`", hint="[red]"))
    assert capsys.readouterr().err == "error: no [bold]x[/bold] in `a\\x1b[2J\\r\\u202e`\n\nhint: [red]\n"


def test_an_error_about_a_chinese_name_does_not_end_an_ascii_console() -> None:
    file = EncodedFile("ascii")
    print_error(UsageError("no `軌`"), Console(file=file))
    assert file.getvalue() == "error: no `\\u8ecc`\n"


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False), ({}, False)],
)
def test_colour_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_coloured: bool
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_error(UsageError("wrong"))
    assert ("\x1b[1;31m" in stream.getvalue()) == is_coloured
    assert "wrong" in stream.getvalue()


def test_an_error_that_many_files_have_is_shown_once(capsys) -> None:
    names = [f"{number}.parquet" for number in range(200)]
    many = [Failure(name, f"no reward column in `{name}`", "pass a flag", 2) for name in names]
    print_failures([*many[:100], Failure("x.npz", "not a zip file", None, 4), *many[100:]])
    shown = capsys.readouterr().err
    assert shown.count("error:") == 2
    assert "no reward column in `0.parquet`" in shown
    assert "the same with 199 other files: `1.parquet`, `2.parquet`, `3.parquet` and 196 more" in shown
    assert shown.count("pass a flag") == 1
