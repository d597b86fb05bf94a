"""The line on stderr that tells who waits how far a run is."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gaecli.commands.check import check
from gaecli.commands.compute import compute
from gaecli.commands.inspect import InspectOptions, inspect
from gaecli.commands.status import status
from gaecli.commands.sweep import SweepOptions, sweep
from gaecli.progress import Progress, Reach
from gaecli.report import ProgressLine
from gaecli.report.progress import line
from gaecli.settings import RunOptions, Settings

ROWS, GROUP = 40_000, 5000
A, B = Path("a.parquet"), Path("b.parquet")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> list[str]:
        """What stood on the line, one after the other."""
        frames = self.getvalue().split("\r\x1b[2K")[1:]
        return [re.sub(r"\x1b\[[0-9;]*m", "", frame).rstrip("\r") for frame in frames]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def one_look() -> Progress:
    progress = Progress()
    progress.begin("computing", {A: 1_000_000}, input=str(A))
    return progress


class TestTheLine:
    def test_tells_bytes_of_bytes_their_rate_and_the_time_that_is_left(self, one_look: Progress) -> None:
        stream, clock = Terminal(), Clock()
        shown = ProgressLine(one_look, stream=stream, clock=clock)
        shown.draw()
        clock.now = 2.0
        one_look.advance(A, 0.25)
        shown.draw()
        assert stream.shown[-1].split() == [
            *("computing", "a.parquet", "██████░░░░░░░░░░░░░░░░░░"),
            *("250", "kB", "of", "1.00", "MB", "125", "kB/s", "6", "s", "left"),
        ]

    def test_tells_the_rate_of_the_last_seconds(self, one_look: Progress) -> None:
        stream, clock = Terminal(), Clock()
        shown = ProgressLine(one_look, stream=stream, clock=clock)
        for second in range(41):  # 10 kB/s at first, then 20
            clock.now = float(second)
            if second:
                one_look.advance(A, 0.01 if second <= 20 else 0.02)
            shown.draw()
        assert "20.0 kB/s" in stream.shown[-1]
        assert "20 s left" in stream.shown[-1]

    def test_begins_anew_with_what_is_done_next(self, one_look: Progress) -> None:
        stream, clock = Terminal(), Clock()
        shown = ProgressLine(one_look, stream=stream, clock=clock)
        one_look.advance(A, 1.0)
        shown.draw()
        one_look.begin("comparing", {A: 1_000_000})
        clock.now = 1.0
        shown.draw()
        clock.now = 2.0
        one_look.advance(A, 0.1)
        shown.draw()
        assert "comparing" in stream.shown[-1]
        assert "100 kB/s" in stream.shown[-1]

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
    def test_fits_into_any_terminal_and_tells_how_much_is_done(self, width: int) -> None:
        console = Console(file=io.StringIO(), width=width)
        of_one = Reach("computing", "x" * 100, 0, 1, 1e6, 301_000_000, 1, 3, 1e6, 9e6)
        of_many = Reach("computing", None, 7, 12, 1e6, 301_000_000, 0, 1, 1e6, 9e8)
        for reach in (of_one, of_many):
            shown = line(reach, 123456.0, console)
            assert shown.cell_len < width
            assert width < 40 or "1.00 MB of 301 MB" in shown.plain
            assert width < 60 or ("1:13 left" if reach is of_one else "2:01:30 left") in shown.plain
            assert width < 60 or reach is of_many or "look 1 of 3" in shown.plain
            assert width < 80 or reach is of_one or "7 of 12 files" in shown.plain

    def test_shows_names_that_hold_anything(self) -> None:
        console = Console(file=io.StringIO(), width=120)
        shown = line(
            Reach("computing", "/x/run[red]\x07\n.npz", 0, 1, 0.0, 10, 1, 1, 0.0, 10.0), None, console
        )
        assert "run[red]\\x07\\n.npz" in shown.plain

    def test_stands_in_letters_that_the_terminal_has(self, one_look: Progress) -> None:
        console = Console(file=io.TextIOWrapper(io.BytesIO(), "ascii"), width=120)
        one_look.advance(A, 0.5)
        assert (
            "############............" in line(one_look.reach(), 1e6, console).plain.encode("ascii").decode()
        )


class TestLooks:
    def test_are_counted_by_what_is_gone_over(self) -> None:
        progress = Progress()
        progress.begin("computing", {A: 100, B: 300}, looks=2)
        progress.advance(A, 1.0)
        progress.advance(B, 0.5)
        assert (progress.reach().look, progress.reach().bytes_done) == (1, 250.0)
        progress.advance(B, 0.5)
        progress.advance(A, 0.5)
        reach = progress.reach()
        assert (reach.look, reach.looks, reach.bytes_done, reach.bytes_to_go) == (2, 2, 50.0, 350.0)

    def test_that_nobody_expected_are_told_once_they_are_under_way(self) -> None:
        progress = Progress()
        progress.begin("computing", {A: 100})
        progress.advance(A, 1.0)
        progress.advance(A, 0.1)  # the last block once more
        assert (progress.reach().look, progress.reach().bytes_done) == (1, 100.0)
        progress.advance(A, 0.4)
        reach = progress.reach()
        assert (reach.look, reach.looks, reach.bytes_done, reach.bytes_to_go) == (2, 2, 50.0, 50.0)

    def test_of_files_one_by_one_are_part_of_the_whole(self) -> None:
        progress = Progress()
        progress.begin("inspecting", {A: 100, B: 300}, looks=2, is_in_step=False)
        progress.advance(A, 1.0)
        assert progress.reach().bytes_done == 50.0
        progress.advance(A, 2.0)  # of a file that took three
        assert progress.reach().bytes_done == 100.0
        progress.end([A])
        progress.end([B])  # which could not be opened
        reach = progress.reach()
        assert (reach.files_done, reach.bytes_done, reach.bytes_to_go, reach.look) == (2, 400.0, 0.0, 0)

    def test_a_file_is_as_large_as_it_is_once_it_is_open(self) -> None:
        progress = Progress()
        progress.begin("computing", {A: 0})
        progress.know(A, 100)
        progress.advance(A, 0.5)
        assert (progress.reach().bytes_done, progress.reach().num_bytes) == (50.0, 100)


class TestWhereItIsShown:
    @pytest.mark.parametrize("kind", ["pipe", "dumb terminal", "short run"])
    def test_nobody_is_told_anything_on(
        self, one_look: Progress, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb" if kind == "dumb terminal" else "xterm")
        stream = io.StringIO() if kind == "pipe" else Terminal()
        delay = 60.0 if kind == "short run" else 0.0
        with ProgressLine(one_look, stream=stream, delay_seconds=delay):
            if kind != "short run":
                assert not [one for one in threading.enumerate() if one.name == "gae-progress"]
        assert stream.getvalue() == ""

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_nothing_of_it_is_left_whatever_ends_the_run(
        self, one_look: Progress, error: type[BaseException]
    ) -> None:
        stream, before = Terminal(), (sys.stdout, sys.stderr)

        def fail() -> None:
            with ProgressLine(one_look, stream=stream, delay_seconds=0.0):
                wait_for(lambda: "computing" in stream.getvalue())
                raise error

        with pytest.raises(error):
            fail()
        assert stream.getvalue().endswith("\r\x1b[2K")
        assert (sys.stdout, sys.stderr) == before
        assert not [one for one in threading.enumerate() if one.name == "gae-progress"]

    def test_no_colour_where_none_is_wanted(
        self, one_look: Progress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        stream = Terminal()
        ProgressLine(one_look, stream=stream).draw()
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", stream.getvalue())

    def test_a_run_goes_on_when_its_terminal_has_gone(self, one_look: Progress) -> None:
        class Gone(Terminal):
            tried = 0

            def write(self, text: str) -> int:
                self.tried += 1
                raise OSError(5, "Input/output error")

        stream = Gone()
        with ProgressLine(one_look, stream=stream, delay_seconds=0.0):
            wait_for(lambda: stream.tried > 0)


def wait_for(is_true: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("in vain")


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight row groups, whose borders episodes cross."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("progress") / "rollouts.parquet"
    steps = np.arange(ROWS)
    table = pa.table(
        {
            "episode": steps // 150,
            "reward": rng.normal(size=ROWS),
            "value": rng.normal(size=ROWS),
            "terminated": steps % 150 == 149,
        }
    )
    pq.write_table(table, path, row_group_size=GROUP)
    return path


class Heard(Progress):
    """Remembers how far the run was at each step of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reaches: list[Reach] = []

    def advance(self, path: Path, share: float) -> None:
        super().advance(path, share)
        self.reaches.append(self.reach())

    def end(self, paths: object) -> None:
        super().end(paths)  # type: ignore[arg-type]
        self.reaches.append(self.reach())


SMALL = 1 << 20  # blocks of a row group, and hardly room to keep one


def run_compute(path: Path, progress: Progress, normalize: str = "none") -> object:
    options = RunOptions(dry_run=True, memory_bytes=SMALL)
    return compute([path], Settings(normalize=normalize), options, progress)


COMMANDS: dict[str, Callable[[Path, Progress], object]] = {
    "compute": run_compute,
    "check": lambda path, progress: check([path], memory_bytes=SMALL, progress=progress),
    "inspect": lambda path, progress: inspect([path], None, InspectOptions(memory_bytes=SMALL), progress),
    "sweep": lambda path, progress: sweep(
        [path], [0.99], [0.5], options=SweepOptions(memory_bytes=SMALL), progress=progress
    ),
}


class TestRuns:
    @pytest.mark.few(2)
    @pytest.mark.parametrize("name", COMMANDS)
    def test_of_one_file_tell_each_look_from_its_first_bytes_to_its_last(
        self, rollouts: Path, name: str
    ) -> None:
        heard = Heard()
        COMMANDS[name](rollouts, heard)
        size = rollouts.stat().st_size
        looks = {reach.look for reach in heard.reaches}
        assert looks == {1, 2}
        assert {reach.looks for reach in heard.reaches} == {2}
        first = [reach.bytes_done for reach in heard.reaches if reach.look == 1]
        assert first[0] <= size / 4
        assert first == sorted(first)
        assert all(reach.num_bytes == size for reach in heard.reaches)
        assert heard.reaches[-1].bytes_to_go == pytest.approx(0, abs=1)

    def test_that_normalise_tell_all_looks(self, rollouts: Path) -> None:
        heard = Heard()
        run_compute(rollouts, heard, "all")
        assert {reach.looks for reach in heard.reaches} == {3}
        gone = [reach.bytes_gone / rollouts.stat().st_size for reach in heard.reaches]
        assert gone[-1] == pytest.approx(3)
        assert max(np.diff(gone)) < 0.26

    def test_whose_rows_were_kept_tell_the_look_that_reads_none(self, rollouts: Path) -> None:
        heard = Heard()
        inspect([rollouts], None, InspectOptions(memory_bytes=16 << 20), heard)
        before_the_end = heard.reaches[-2]
        assert before_the_end.bytes_gone == pytest.approx(2 * rollouts.stat().st_size)

    def test_of_many_files_tell_those_that_are_done(self, rollouts: Path, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.parquet" for number in range(3)]
        for path in paths:
            path.write_bytes(rollouts.read_bytes())
        paths[1].write_bytes(b"PAR1")
        heard = Heard()
        compute(paths, options=RunOptions(jobs=1), progress=heard)
        assert [heard.reaches[-1].files_done, heard.reaches[-1].num_files] == [3, 3]
        assert heard.reaches[-1].bytes_done == heard.reaches[-1].num_bytes
        heard = Heard()
        status(paths, RunOptions(dry_run=True), progress=heard)
        assert [reach.files_done for reach in heard.reaches] == [1, 2, 3]

    def test_give_the_same_numbers_whoever_watches(self, rollouts: Path) -> None:
        told = [
            compute([rollouts], options=RunOptions(dry_run=True), progress=one) for one in (None, Heard())
        ]
        assert told[0].columns == told[1].columns
        assert told[0].totals == told[1].totals


def everything_written(terminal: int) -> str:
    """What was written to the other end of this pseudo-terminal, which is closed by now."""
    pieces = []
    # After the last byte a read fails on Linux, and returns none elsewhere.
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 1 << 16):
            pieces.append(piece)
    os.close(terminal)
    return b"".join(pieces).decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
@pytest.mark.parametrize("flags", [(), ("--no-progress",), ("--quiet",)])
def test_a_command_shows_it_on_its_terminal_and_takes_it_away(
    rollouts: Path, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaecli.cli import main

    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:

        def end(progress: Progress, paths: object) -> None:
            assert not flags
            wait_for(lambda: bool(select.select([ours], [], [], 0)[0]))

        monkeypatch.setattr(Progress, "end", end)
        monkeypatch.setattr("gaecli.report.progress.DELAY_SECONDS", 0.0)
        monkeypatch.setattr(sys, "argv", ["gae", "check", str(rollouts), *flags])
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        monkeypatch.setattr(sys, "stderr", terminal)
        assert main._exit_code() == 0
    text = everything_written(ours)
    assert bool(text) != bool(flags)
    if text:
        assert "checking" in text
        assert text.endswith("\r\x1b[2K")
