from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.text import Text

from gaecli.report.console import make_console
from gaecli.report.sizes import is_terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal_of_200_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((200, 50)))


def test_a_pipe_is_100_wide_whatever_terminal_is_near() -> None:
    assert make_console(io.StringIO()).width == 100
    assert make_console(Terminal()).width == 200


@pytest.mark.parametrize(("columns", "width"), [("72", 72), ("0", 100), ("wide", 100), ("", 100)])
def test_a_pipe_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert make_console(io.StringIO()).width == width


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("0", 200), ("", 200)])
def test_a_dumb_terminal_is_as_wide_as_it_says(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    class Device(Terminal):
        def fileno(self) -> int:
            return 1

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", columns)
    stream = Device()
    make_console(stream).rule(characters="-")
    assert stream.getvalue() == "-" * width + "\n"


def test_a_pipe_has_no_colour_and_a_terminal_has_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert make_console(io.StringIO()).color_system is None
    assert make_console(Terminal()).color_system is not None
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    make_console(stream).print(Text("red", "red"))
    assert stream.getvalue() == "red\n"


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)


def test_report_sees_summaries_only_and_json_needs_no_rich() -> None:
    code = (
        "import sys, gaecli.report as r; r.to_json\n"
        "assert not any(name.partition('.')[0] == 'rich' for name in sys.modules), 'rich'\n"
        "for name in r.__all__: getattr(r, name)\n"
        "heavy = {'numpy', 'torch', 'pyarrow', 'pandas'} & {name.partition('.')[0] for name in sys.modules}\n"
        "unwanted = {'rich.progress', 'rich.live', 'rich.syntax'} & set(sys.modules)\n"
        "assert not heavy | unwanted, heavy | unwanted\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import gaecli.report

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        gaecli.report.nonsense  # noqa: B018
