"""Many small files go to forks of the process: the bytes, the summary and the messages of one thread."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from engines.test_forks import alone
from pipeline.test_shelf import SHARED, written

from gaecli.commands import compute as run
from gaecli.engines import forks
from gaecli.errors import EngineError
from gaecli.progress import Progress
from gaecli.settings import RunOptions, Settings
from gaecli.storage.new_file import NewFile, is_temporary_name
from gaecli.writing.outputs import Outputs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")

COUNT = 9


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_LEAST_FORKED", COUNT)
    monkeypatch.setattr(forks, "BATCH", 2)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One is no Parquet file, and one has no values."""
    folder = tmp_path_factory.mktemp("inputs") / "in"
    paths = written(folder, COUNT)
    paths[3].write_bytes(b"PAR1 and nothing else PAR1")
    pq.write_table(pq.read_table(paths[5]).drop_columns("value"), paths[5])
    return folder


def results(inputs: Path, folder: Path, jobs: int, *, may_fork: bool, **settings: Any) -> Any:
    """(summary without its seconds, bytes of all files) of a first run, and of a second one."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    found = []
    for _ in range(2):
        options = RunOptions(jobs=jobs)
        summary = run.compute(sorted(folder.glob("*")), Settings(**settings), options, may_fork=may_fork)
        told = {name: getattr(summary, name) for name in vars(summary) if name != "seconds"}
        found.append((told, {path.name: path.read_bytes() for path in folder.iterdir()}))
    return found


#: What streams tell each other in these is told in others, too.
TOLD_TWICE = {"column", "groups"}


@pytest.mark.few("all", "stages", "labels")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(settings, id=name, marks=pytest.mark.slow if name in TOLD_TWICE else ())
        for name, settings in {"none": {}, **SHARED}.items()
    ],
)
def test_forks_give_what_one_thread_gives(inputs: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    def both() -> Any:
        one = results(inputs, tmp_path / "x", 1, may_fork=False, **settings)
        begun = count_forks()
        two = results(inputs, tmp_path / "x", 2, may_fork=True, **settings)
        return one == two, [file.status for file in two[0][0]["files"]], len(begun)

    is_same, statuses, num_runs = alone(both)
    assert is_same
    assert statuses == [
        "failed"
        if number == 3 or (number == 5 and "success" not in settings and bad(settings))
        else "written"
        for number in range(COUNT)
    ]
    assert num_runs == 2


def test_a_full_disk_is_told_as_one_thread_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "in", COUNT)
    seal = NewFile.seal

    def full(self: NewFile) -> None:
        if self.target.name >= "r0002.parquet":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.temporary))
        seal(self)

    def both() -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(NewFile, "seal", full)
            one = results(tmp_path / "in", tmp_path / "x", 1, may_fork=False)
            two = results(tmp_path / "in", tmp_path / "x", 2, may_fork=True)
        return *([file.status for file in found[0][0]["files"]] for found in (one, two)), left_over(tmp_path)

    of_one, of_two, left = alone(both)
    assert of_one == ["written", "written", "failed", *["not written"] * (COUNT - 3)]
    # Which process finds out first is a matter of time.
    assert of_two.count("failed") == 1
    assert set(of_two[2:]) == {"failed", "not written"}
    assert left == []


def bad(settings: dict[str, Any]) -> bool:
    """Whether the estimator wants values."""
    return settings.get("estimator") != "grpo"


def count_forks() -> list[int]:
    """One entry for each run that has some, from now on, in this process."""
    begun: list[int] = []
    init = forks.Forks.__init__

    def counted(self: forks.Forks, count: int, *rest: Any) -> None:
        begun.append(count)
        init(self, count, *rest)

    forks.Forks.__init__ = counted  # type: ignore[method-assign]
    return begun


@pytest.mark.few("all")
@pytest.mark.parametrize("settings", [{}, {"normalize": "all"}], ids=["none", "all"])
def test_progress_comes_to_the_same(inputs: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    def both() -> Any:
        reaches = []
        for jobs, may_fork in ((1, False), (2, True)):
            shutil.rmtree(tmp_path / "x", ignore_errors=True)
            shutil.copytree(inputs, tmp_path / "x")
            progress = Progress()
            paths = sorted((tmp_path / "x").iterdir())
            run.compute(paths, Settings(**settings), RunOptions(jobs=jobs), progress, may_fork=may_fork)
            reaches.append(progress.reach())
        return reaches

    one, two = alone(both)
    assert one == two
    assert two.files_done == COUNT


def test_small_files_have_a_process_for_each_job_as_long_as_there_is_something_to_do(inputs: Path) -> None:
    def runs() -> Any:
        begun = count_forks()
        for jobs in (3, 200):
            run.compute(sorted(inputs.iterdir()), options=RunOptions(jobs=jobs, dry_run=True), may_fork=True)
        return begun

    # This process is one of them; two files are told at a time.
    assert alone(runs) == [3 - 1, (COUNT + 1) // 2 - 1]


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if is_temporary_name(path.name)]


def whole(folder: Path) -> list[bool]:
    """Whether each file has the new columns; all of them can be read."""
    return ["advantage" in pq.read_schema(path).names for path in sorted(folder.iterdir())]


@pytest.mark.few("all")
@pytest.mark.parametrize("settings", [{}, {"normalize": "all"}], ids=["none", "all"])
def test_a_fork_that_is_killed_ends_the_run_with_an_error_and_the_next_run_does_the_rest(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "in", COUNT)
    commit = Outputs.commit
    parent = 0

    def killing(self: Outputs, streams: Any) -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, streams)

    def killed() -> Any:
        nonlocal parent
        parent = os.getpid()
        with monkeypatch.context() as patch:
            patch.setattr(Outputs, "commit", killing)
            try:
                run.compute(paths, Settings(**settings), RunOptions(jobs=2), may_fork=True)
            except EngineError as error:
                return error.message, error.hint

    message, hint = alone(killed)
    assert message == "a process of this run was killed (SIGKILL)"
    assert "run the same command again" in hint
    assert left_over(tmp_path) == []
    there = whole(tmp_path / "in")
    assert not there[0]  # what a fork is told first
    summary = run.compute(paths, Settings(**settings), RunOptions(jobs=1))
    assert {file.status for file in summary.files} <= {"written", "up to date"}
    assert whole(tmp_path / "in") == [True] * COUNT


@pytest.mark.few(3)
@pytest.mark.parametrize("settings", [{}, {"normalize": "all"}], ids=["none", "all"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("by_fork", [True, False], ids=["a fork is at it", "this process is at it"])
def test_an_interrupt_leaves_whole_files_and_no_process(
    tmp_path: Path, settings: dict[str, Any], number: int, by_fork: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C comes: to all processes of the terminal, as a file is about to be put into its place."""
    paths = written(tmp_path / "in", COUNT)
    commit = Outputs.commit
    parent, begun = 0, 0

    def interrupting(self: Outputs, streams: Any) -> None:
        nonlocal begun
        begun += (os.getpid() != parent) == by_fork
        if begun == 2:
            (tmp_path / "number").write_text(f"{streams[0].number}")
            os.killpg(0, number) if number == signal.SIGINT else os.kill(parent, number)
            for seconds in (0.001, 5):  # twice, as one that comes just before a wait does not end it
                time.sleep(seconds)
        commit(self, streams)

    def interrupted() -> Any:
        from gaecli.unfinished import last_word

        nonlocal parent
        parent = os.getpid()
        os.setpgid(0, 0)
        with monkeypatch.context() as patch:
            patch.setattr(Outputs, "commit", interrupting)
            patch.setattr(run, "_THREADS_OF_PROCESS", 1)  # a signal interrupts what waits in the main thread
            try:
                run.compute(paths, Settings(**settings), RunOptions(jobs=2), may_fork=True)
            except KeyboardInterrupt:
                with pytest.raises(ChildProcessError):
                    os.waitpid(-1, os.WNOHANG)
                return last_word()

    word = alone(interrupted)
    assert left_over(tmp_path) == []
    there = whole(tmp_path / "in")
    assert not there[int((tmp_path / "number").read_text())]
    done = f"; {sum(there)} of {COUNT} files are done: run the same command again for the others"
    assert word == f"nothing was left half-written{done if any(there) else ''}"


def test_one_job_few_files_large_files_and_libraries_are_worked_on_here(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(inputs, tmp_path / "x")
    paths = sorted((tmp_path / "x").iterdir())

    def runs() -> Any:
        begun = count_forks()
        for jobs, some, may_fork in ((1, paths, True), (2, paths[1:], True), (2, paths, False)):
            run.compute(some, options=RunOptions(jobs=jobs, dry_run=True), may_fork=may_fork)
        with monkeypatch.context() as patch:
            patch.setattr(run, "_SMALL_BYTES", 100)
            run.compute(paths, options=RunOptions(jobs=2, dry_run=True), may_fork=True)
        return len(begun)

    assert alone(runs) == 0
