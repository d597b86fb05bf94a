"""This process and forks of it, for thousands of things that take a few milliseconds each, nearly all in Python.

Threads of one process take turns at Python. A fork has all that this process had found out when it was made, and is
told what to do by number: steps go there as plain values, and their results come back. What a step leaves behind in
its process is there for the next step with the same number. This process works as they do, one thing at a time, and
sees to the forks in between: one that only waited for them would take the memory of a process, and do nothing.

A process with one thread can be forked safely, and no other can. A fork that is lost ends the run with an error, as
nobody knows how far it was with what it had in hand. One whose parent is lost ends by itself, with what it has in
hand.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from gaecli.engines.shares import Shares
from gaecli.errors import EngineError
from gaecli.storage.signals import held_back
from gaecli.unfinished import forget_all, put_away_what_is_left

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

R = TypeVar("R")

#: Numbers that a fork is told at a time, fewer at the end, and how often before it has answered: it does not wait for
#: this process.
BATCH = 16
_MOST_TOLD = 2
#: New containers after which Python looks for garbage, here and in the forks: what the start has made is frozen, so
#: that there is little to look through, and what thousands of files leave is not kept three times.
_CONTAINERS = 20_000
#: Batches for each process that may be ahead of what is waited for.
_MOST_AHEAD = 4
_THREADS_OF_ALL = Path("/proc/self/task")
#: The system ends a thread a moment after who joined it went on.
_ENDING_SECONDS = 0.05
#: Of a terminal, to all its processes: the one that forked ends the others.
_OF_ALL = (signal.SIGINT, signal.SIGHUP)
_HELD = (*_OF_ALL, signal.SIGTERM)
#: Exit code of a fork that was told to end.
_INTERRUPTED = 130
#: The request after which a fork ends.
_END = b""


class RunHere(Protocol):
    """What works in this process."""

    def carry_out(self, step: Any, numbers: Iterable[int]) -> Iterator[Any]:
        """What the step gives for each of the numbers, in their order. They are drawn from as results are."""

    def interrupt(self) -> None: ...


class ForkedRun(RunHere, Protocol):
    """What a fork does."""

    def report(self, *, is_last: bool) -> Any:
        """What has happened since the report before beside that. Of an interrupted run only the last one is sure."""

    def close(self) -> None:
        """What was begun and is not over is put away."""


def can_fork() -> bool:
    """Whether this process has but one thread, of whatever library, and ends in good order when it is asked to."""
    if sys.platform != "linux" or not callable(signal.getsignal(signal.SIGTERM)):
        return False
    deadline = time.monotonic() + _ENDING_SECONDS
    while threading.active_count() == 1:
        try:
            if len(list(_THREADS_OF_ALL.iterdir())) == 1:
                return True
        except OSError:
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return False


class _Fork:
    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        #: What it was told and has not answered.
        self.told: deque[Sequence[int]] = deque()


class Forks:
    """`count` forks of this process, in each of which `make()` is at work, and what is at work here."""

    def __init__(
        self, count: int, make: Callable[[], ForkedRun], run: RunHere, take_report: Callable[[Any], None]
    ) -> None:
        """Raises OSError where there can be no more processes. `run` is not asked before."""
        from multiprocessing.connection import Pipe

        self._take_report = take_report
        self._forks: list[_Fork] = []
        self._here = _Here(run)
        self._shares = Shares(1 + count)
        self._is_interrupted = False
        #: What a fork had begun lies where it was.
        self.is_one_lost = False
        gc.freeze()  # pages that nobody writes to are shared
        gc.set_threshold(_CONTAINERS)
        try:
            for _ in range(count):
                here, there = Pipe()
                # Held back until the fork is known here, and there has its own way with them.
                held = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
                parent = os.getpid()
                try:
                    pid = os.fork()
                    if not pid:
                        others = [here, *(fork.connection for fork in self._forks)]
                        _live(there, others, make, parent, held)
                    self._forks.append(_Fork(pid, here))
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, held)
                there.close()
        except BaseException:
            self.close()
            raise

    def run(self, step: Callable[..., R], numbers: Sequence[int]) -> Iterator[R]:
        """What the step gives for each of the numbers, in their order.

        It is carried out in several processes at a time, for each number in the one that had it before.

        Raises:
            EngineError: a fork is lost.
        """
        sent = pickle.dumps(step)
        for fork in self._forks:
            self._send(fork, sent)
        self._shares.begin(numbers)
        found: dict[int, R] = {}
        failed: dict[int, BaseException] = {}
        most_ahead = BATCH * _MOST_AHEAD * (1 + len(self._forks))
        try:
            for place, number in enumerate(numbers):
                while number not in found:
                    if number in failed:
                        raise failed[number]
                    self._tell(place + most_ahead)
                    draw = partial(self._shares.draw, self._here, 1, place + most_ahead)
                    is_busy = self._here.go_on(step, draw, found, failed)
                    self._take(found, failed, waits=not is_busy)
                yield found.pop(number)
        except KeyboardInterrupt:
            self.interrupt()
            self._here.interrupt()
            raise
        finally:
            failed.clear()  # or frames would hold the error, and the error these frames
            self._here.stop()
            while not (self._is_interrupted or self.is_one_lost) and any(fork.told for fork in self._forks):
                self._take({}, {})

    def interrupt(self) -> None:
        """What is under way ends soon."""
        if self._is_interrupted:
            return  # they are at the end already
        self._is_interrupted = True
        for fork in self._forks:
            os.kill(fork.pid, signal.SIGTERM)  # nobody has waited for it: the number is no other's

    def close(self) -> None:
        """Each of them has put away what it had begun, and is gone."""
        for fork in self._forks:
            with suppress(OSError):
                fork.connection.send_bytes(_END)
        while self._forks:
            fork = self._forks[-1]
            with suppress(EOFError, OSError):
                while True:
                    self._take_report(pickle.loads(fork.connection.recv_bytes())[-1])
            self._end(fork)

    def _tell(self, end: int) -> None:
        """Every fork has something to do, if there is anything whose place is before `end`."""
        for fork in self._forks:
            while len(fork.told) < _MOST_TOLD and (batch := self._shares.draw(fork, BATCH, end)):
                self._send(fork, pickle.dumps(batch))
                fork.told.append(batch)

    def _take(self, found: dict[int, Any], failed: dict[int, BaseException], *, waits: bool = True) -> None:
        """What the next forks have to say, or those that have said something already."""
        from multiprocessing.connection import wait

        asked = {fork.connection: fork for fork in self._forks if fork.told}
        for connection in wait(list(asked), None if waits else 0):
            fork = asked[connection]  # type: ignore[index]
            with held_back():  # what comes after half of an answer could not be read
                try:
                    *answer, report = pickle.loads(fork.connection.recv_bytes())
                except (EOFError, OSError):
                    raise self._lost(fork) from None
                self._take_report(report)
                if not answer:
                    raise self._lost(fork)
                results, error = answer
                batch = fork.told.popleft()
                found.update(zip(batch, results, strict=False))
                if error is not None:
                    failed[batch[len(results)]] = error

    def _send(self, fork: _Fork, request: bytes) -> None:
        try:
            fork.connection.send_bytes(request)
        except OSError:
            raise self._lost(fork) from None

    def _lost(self, fork: _Fork) -> EngineError:
        self.is_one_lost = True
        code = self._end(fork)
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended by itself ({code})"
        return EngineError(
            f"a process of this run {how}",
            hint="run the same command again: what is done stays done; if memory ran out, pass `--jobs 1`",
        )

    def _end(self, fork: _Fork) -> int:
        self._forks.remove(fork)
        fork.connection.close()
        return os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1])


class _Here:
    """This process, as one of those that work."""

    def __init__(self, run: RunHere) -> None:
        self._run = run
        self._results: Generator[Any, None, None] | None = None
        self._draw: Callable[[], Sequence[int]] = tuple
        #: What is under way.
        self._begun: deque[int] = deque()

    def go_on(
        self,
        step: Any,
        draw: Callable[[], Sequence[int]],
        found: dict[int, Any],
        failed: dict[int, BaseException],
    ) -> bool:
        """Up to its next result. False where there is nothing to draw: `draw` gives a number, or none."""
        self._draw = draw
        is_new = self._results is None
        if self._results is None:
            self._results = self._worked_on(step)
        try:
            for result in self._results:
                found[self._begun.popleft()] = result
                return True
        except Exception as error:  # raised in its place: what was drawn behind it is not done any more
            failed[self._begun[0]] = error
            is_new = False
        self.stop()
        return not is_new  # there may be something to draw by now

    def _worked_on(self, step: Any) -> Generator[Any, None, None]:
        yield from self._run.carry_out(step, self._drawn())

    def _drawn(self) -> Iterator[int]:
        while drawn := self._draw():
            self._begun += drawn
            yield from drawn

    def interrupt(self) -> None:
        self._run.interrupt()

    def stop(self) -> None:
        """Nothing is under way any more."""
        if self._results is not None:
            self._results.close()
        self._results = None
        self._begun.clear()


def _live(
    connection: Connection,
    others: Iterable[Connection],
    make: Callable[[], ForkedRun],
    parent: int,
    held: Iterable[int],
) -> NoReturn:
    """All that a fork does. It shows nothing, and leaves what the other process has to put away.

    `others` are ends of pipes that are not its own: where they stay open, nobody sees that somebody is gone.
    """
    run: ForkedRun | None = None
    code = 1
    try:
        try:
            forget_all()
            for other in others:
                other.close()
            for number in _OF_ALL:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            run = make()
            _serve(connection, run, parent)
            code = 0
        except KeyboardInterrupt:
            code = _INTERRUPTED
            if run is not None:
                run.interrupt()
        finally:
            signal.signal(signal.SIGTERM, _pass_over)
    finally:
        try:
            if run is not None:
                run.close()
                connection.send_bytes(pickle.dumps((run.report(is_last=True),)))
        finally:
            put_away_what_is_left()
            os._exit(code)


def _serve(connection: Connection, run: ForkedRun, parent: int) -> None:
    step: Any = None
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # whoever asked is gone
        while (sent := connection.recv_bytes()) != _END:
            request = pickle.loads(sent)
            if not isinstance(request, list):
                step = request
                continue
            results: list[Any] = []
            error: Exception | None = None
            try:
                for result in run.carry_out(step, request):
                    results.append(result)
                    if os.getppid() != parent:
                        raise KeyboardInterrupt  # nobody waits for the rest of the batch
            except Exception as raised:
                error = _sendable(raised)
            with held_back():
                connection.send_bytes(pickle.dumps((results, error, run.report(is_last=False))))


def _sendable(error: Exception) -> Exception:
    """With what a stack trace says, which does not go to another process by itself."""
    told = "".join(traceback.format_exception(error))
    sent = error.with_traceback(None)
    sent.__cause__ = sent.__context__ = None
    try:
        sent = pickle.loads(pickle.dumps(sent))
    except Exception:
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"in a process of this run:\n{told}")
    return sent


def _pass_over(number: int, frame: FrameType | None) -> None:
    """What is left to do takes no time, and has to be done."""
