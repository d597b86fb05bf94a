"""Forks: results in the order of what was asked, an error where something is lost, and nobody left behind.

Each test runs in a fork of its own, which has one thread whatever threads this process has.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaecli.cli import interrupts
from gaecli.engines import forks
from gaecli.engines.forks import Forks, can_fork
from gaecli.errors import EngineError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


#: Of a test here, which takes one of them: one that hangs fails.
_MOST_SECONDS = 60


def alone(function: Callable[[], Any]) -> Any:
    """What the function gives in a process with one thread, where signals raise as the command line has it."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        found: Any = None
        try:
            interrupts.raise_once()
            found = function()
        except BaseException:
            found = traceback.format_exc()
        finally:
            with os.fdopen(write, "wb") as sent:
                sent.write(pickle.dumps(found))
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as sent:
        if not select.select([sent], [], [], _MOST_SECONDS)[0]:
            os.kill(child, signal.SIGABRT)  # tells where it hangs
        found = pickle.loads(sent.read())  # until all of its processes are gone
    os.waitpid(child, 0)
    return found


class Counting:
    """A run that remembers what it was asked."""

    def __init__(self, left: Path | None = None, *, is_fork: bool = True) -> None:
        self.seen: list[int] = []
        self.left = left
        self.is_fork = is_fork

    def carry_out(self, step: Callable[[Counting, int], Any], numbers: Iterable[int]) -> Iterator[Any]:
        for number in numbers:
            yield step(self, number)

    def report(self, *, is_last: bool) -> int:
        return os.getpid()

    def interrupt(self) -> None:
        self.seen.append(-1)

    def close(self) -> None:
        if self.left is not None:
            (self.left / f"{os.getpid()}").write_text("interrupted" if self.seen[-1:] == [-1] else "over")


class Hasty(Counting):
    """Has in hand whatever it may have."""

    def carry_out(self, step: Callable[[Counting, int], Any], numbers: Iterable[int]) -> Iterator[Any]:
        return super().carry_out(step, list(numbers))


def square(run: Counting, number: int) -> int:
    run.seen.append(number)
    return number * number


def pid_of(run: Counting, number: int) -> int:
    time.sleep(0.0002)
    run.seen.append(number)
    return os.getpid()


def seen_before(run: Counting, number: int) -> bool:
    return number in run.seen


def killed(run: Counting, number: int) -> int:
    if number == 8:  # of the first batch, which a fork has
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def told_to_end(run: Counting, number: int) -> int:
    if number == 8:  # of the first batch, which a fork has
        os.kill(os.getpid(), signal.SIGTERM)
    return number


def wrong(run: Counting, number: int) -> int:
    if number in (41, 90):
        raise ValueError(f"not {number}")
    return number


class WrongHere(Exception):
    pass


def wrong_here(run: Counting, number: int) -> bool:
    if not run.is_fork:
        raise WrongHere(number)
    return run.is_fork


def interrupted_here(run: Counting, number: int) -> None:
    if not run.is_fork:
        raise KeyboardInterrupt


def slow_at_first(run: Counting, number: int) -> tuple[int, bool]:
    if number == 0:
        time.sleep(0.2)
    return number, run.is_fork


def without_parent_from_3_on(run: Counting, number: int) -> None:
    assert run.left is not None
    (run.left / f"did-{number}").touch()
    if run.is_fork and number == 3:
        parent = os.getppid()
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            time.sleep(0.001)


def made(count: int, here: Counting | None = None, **options: Any) -> Forks:
    here = here or Counting(**options, is_fork=False)
    return Forks(count, lambda: Counting(**options), here, lambda report: None)


def test_results_come_in_the_order_of_the_numbers() -> None:
    def run() -> Any:
        work = made(3)
        numbers = list(range(500, 0, -1))
        try:
            return list(work.run(square, numbers)), list(work.run(square, [7]))
        finally:
            work.close()

    assert alone(run) == ([number**2 for number in range(500, 0, -1)], [49])


def test_a_number_stays_with_the_process_that_had_it_and_all_processes_have_some() -> None:
    def run() -> Any:
        work = made(2)
        try:
            pids = list(work.run(pid_of, range(400)))
            is_here = os.getpid() in pids
            return len(set(pids)), is_here, all(work.run(seen_before, range(0, 400, 3)))
        finally:
            work.close()

    assert alone(run) == (3, True, True)


def test_an_error_is_raised_in_the_place_of_its_result_and_the_next_step_goes_on() -> None:
    def run() -> Any:
        work = made(2)
        got: list[int] = []
        try:
            got.extend(work.run(wrong, range(100)))
        except ValueError as error:
            told = "".join(traceback.format_exception(error))
            return got, str(error), "in wrong" in told, list(work.run(square, range(3)))
        finally:
            work.close()

    # `list.extend` keeps what came before the error.
    assert alone(run) == (list(range(41)), "not 41", True, [0, 1, 4])


def test_an_error_in_this_process_is_raised_after_the_results_before_it_and_holds_nothing() -> None:
    def run() -> Any:
        work = made(2)
        got: list[bool] = []
        gc.disable()
        try:
            got.extend(work.run(wrong_here, range(1000)))
        except WrongHere as error:
            number = error.args[0]
            kept = weakref.ref(error)
        finally:
            work.close()
        return got == [True] * number, number, kept() is None

    # Each fork is told two batches first.
    assert alone(run) == (True, 2 * 2 * forks.BATCH, True)


def test_results_wait_for_one_that_takes_long_and_all_go_on_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "BATCH", 2)

    def run() -> Any:
        work = made(2)
        try:
            return list(work.run(slow_at_first, range(600)))
        finally:
            work.close()

    numbers, are_forks = zip(*alone(run), strict=True)
    assert list(numbers) == list(range(600))
    assert not all(are_forks[300:])  # this process had come as far as it may, and went on


def test_this_process_goes_on_with_what_is_its_own_when_the_forks_have_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "BATCH", 2)

    def run() -> Any:
        work = made(1, Hasty(is_fork=False))
        signal.alarm(20)
        try:
            own = [number for number, is_fork in work.run(slow_at_first, range(600)) if not is_fork]
            return len(own) > 100, list(work.run(square, own)) == [number**2 for number in own]
        finally:
            work.close()

    assert alone(run) == (True, True)


@pytest.mark.few("SIGKILL")
@pytest.mark.parametrize(
    ("step", "told", "left"),
    [
        (killed, "a process of this run was killed (SIGKILL)", ["over"]),
        (told_to_end, "a process of this run ended by itself (130)", ["interrupted", "over"]),
    ],
    ids=["SIGKILL", "SIGTERM"],
)
def test_a_fork_that_is_lost_is_an_error_and_the_others_end(
    step: Callable[[Counting, int], int], told: str, left: list[str], tmp_path: Path
) -> None:
    def run() -> Any:
        work = made(2, left=tmp_path)
        try:
            list(work.run(step, range(1000)))
        except EngineError as error:
            work.close()
            return error.message, work.is_one_lost

    assert alone(run) == (told, True)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == left


def test_forks_are_interrupted_and_waited_for(tmp_path: Path) -> None:
    def run() -> Any:
        work = made(2, left=tmp_path)
        list(work.run(square, range(200)))  # both forks are there
        with contextlib.suppress(KeyboardInterrupt):
            for number in work.run(pid_of, range(10_000)):
                if number:
                    raise KeyboardInterrupt
        work.interrupt()
        work.close()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return len(list(tmp_path.iterdir()))

    assert alone(run) == 2


def test_an_interrupt_of_this_process_at_work_ends_the_forks(tmp_path: Path) -> None:
    def run() -> Any:
        here = Counting(is_fork=False)
        work = made(2, here, left=tmp_path)
        list(work.run(square, range(200)))  # both forks are there
        with pytest.raises(KeyboardInterrupt):
            list(work.run(interrupted_here, range(10_000)))
        work.close()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return [path.read_text() for path in tmp_path.iterdir()], here.seen[-1]

    assert alone(run) == (["interrupted"] * 2, -1)  # the threads of this process are told, too


def test_forks_whose_parent_is_gone_begin_nothing_more_and_put_away_what_they_had_begun(
    tmp_path: Path,
) -> None:
    def run() -> Any:
        list(made(2, left=tmp_path).run(without_parent_from_3_on, range(10_000)))

    with pytest.raises(EOFError):  # all of them are gone, and none has answered
        alone(run)
    done = {int(path.name.removeprefix("did-")) for path in tmp_path.glob("did-*")}
    assert {number for number in done if number < forks.BATCH} == {0, 1, 2, 3}
    told = [path.read_text() for path in tmp_path.iterdir() if not path.name.startswith("did-")]
    assert len(told) == 2
    assert set(told) <= {"interrupted", "over"}


def test_a_process_with_another_thread_is_not_forked() -> None:
    def run() -> Any:
        before = can_fork()
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        during = can_fork()
        end.set()
        thread.join()
        return before, during

    assert alone(run) == (True, False)


def test_a_process_that_sigterm_ends_at_once_is_not_forked() -> None:
    def run() -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return can_fork()

    assert alone(run) is False


def test_a_fork_has_no_word_to_say_of_what_its_parent_has_to_put_away(tmp_path: Path) -> None:
    def run() -> Any:
        from gaecli.unfinished import remember

        remember((tmp_path / "begun").unlink)
        (tmp_path / "begun").touch()
        work = made(2)
        list(work.run(square, range(10)))
        work.close()
        return (tmp_path / "begun").exists()

    assert alone(run) is True


def test_more_results_than_a_pipe_holds_are_no_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "BATCH", 2)

    def run() -> Any:
        work = made(2)
        try:
            return sum(len(found) for found in work.run(many_bytes, range(40)))
        finally:
            work.close()

    assert alone(run) == 40 * 300_000


def many_bytes(run: Counting, number: int) -> bytes:
    return bytes(300_000)
