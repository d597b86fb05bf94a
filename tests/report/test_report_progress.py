from __future__ import annotations

import io
import sys

import pytest

from gaecli.report import FileProgress


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")


def advance_all(progress: FileProgress, files: list[str]) -> None:
    with progress:
        for file in files:
            progress.advance(file)


def test_a_terminal_sees_how_many_files_are_done() -> None:
    stream = Terminal()
    advance_all(FileProgress(3, stream=stream), ["a.npz", "run[a].npz", "evil\x07\n.npz"])
    shown = stream.getvalue()
    assert "3/3" in shown
    assert "files/s" in shown
    assert "evil\\x07\\n.npz" in shown
    assert "\x07" not in shown


def test_brackets_in_a_file_name_are_not_markup() -> None:
    stream = Terminal()
    advance_all(FileProgress(2, stream=stream), ["a.npz", "run[red].npz"])
    assert "run[red].npz" in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "total", "enabled"),
    [(io.StringIO(), 3, True), (Terminal(), 1, True), (Terminal(), 3, False)],
    ids=["a pipe", "one file", "disabled"],
)
def test_there_is_no_bar_for(stream: io.StringIO, total: int, enabled: bool) -> None:
    advance_all(FileProgress(total, enabled=enabled, stream=stream), ["a.npz"] * total)
    assert stream.getvalue() == ""


def test_a_colour_forced_into_a_pipe_makes_no_terminal_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    advance_all(FileProgress(3, stream=stream), ["a"])
    assert stream.getvalue() == ""


def test_a_dumb_terminal_gets_no_cursor_movements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    advance_all(FileProgress(3, stream=stream), ["a"])
    assert stream.getvalue() == ""


def stop_within(progress: FileProgress) -> None:
    with progress:
        progress.advance("a")
        raise KeyError


def test_an_error_in_the_block_passes_through_and_stderr_is_given_back() -> None:
    before = sys.stderr
    progress = FileProgress(3, stream=Terminal())
    with pytest.raises(KeyError):
        stop_within(progress)
    assert sys.stderr is before


def test_stdout_is_left_alone() -> None:
    before = sys.stdout
    with FileProgress(3, stream=Terminal()):
        assert sys.stdout is before
