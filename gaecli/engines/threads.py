"""Threads of this process. PyArrow, NumPy and torch all let go of the interpreter while they work."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar, cast

from gaecli.errors import EngineError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")
R = TypeVar("R")

MAX_DEFAULT_JOBS = 8


def default_jobs() -> int:
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        available = os.cpu_count() or 1
    return min(available, MAX_DEFAULT_JOBS)


class Threads:
    """Applies functions to things on `jobs` threads and yields results in the order of the things.

    At most `jobs + 1` results are under way or waiting, so memory does not grow with the number of
    things. The order in which they are worked on changes nothing in the results. When `run` is left, by whatever
    way, none of them is under way any more. Asked from one of its own threads, it works in that thread: the others
    are busy with what stands beside it.
    """

    def __init__(self, jobs: int, end_waits: Callable[[], None] = lambda: None) -> None:
        """`end_waits` ends whatever a task could be waiting for outside of this process."""
        self.jobs = jobs
        self._end_waits = end_waits
        #: Set when the run is interrupted; tasks look at it, by `check_stop`, and end.
        self.interrupted = threading.Event()
        self._own = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(self, function: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
        """`things` is drawn from as results are, by the thread that takes them. A single one is worked on in it."""
        if self.jobs == 1 or getattr(self._own, "is_one", False):
            yield from map(function, things)
            return
        remaining = iter(things)
        first = list(islice(remaining, 1))
        failure: Exception | None = None
        try:
            first += islice(remaining, 1)
        except Exception as error:  # raised below: the one before it may fail earlier
            failure = error
        if len(first) < 2:
            try:
                yield from map(function, first)
                if failure is not None:
                    raise failure
            finally:
                failure = None  # or this frame would hold the error, and the error this frame
            return
        yield from self._side_by_side(function, chain(first, remaining))

    def _side_by_side(self, function: Callable[[T], R], remaining: Iterator[T]) -> Iterator[R]:
        from concurrent.futures import wait

        pool = self._threads()
        window: deque[Future[R]] = deque()
        failure: Exception | None = None
        try:
            while True:
                try:
                    thing = next(remaining)
                except StopIteration:
                    break
                except Exception as error:  # raised below: one before it may fail earlier
                    failure = error
                    break
                window.append(_submitted(pool, function, thing))
                if len(window) > self.jobs:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
            if failure is not None:
                raise failure
        except KeyboardInterrupt:
            self.interrupt()
            raise
        finally:
            failure = None  # or this frame would hold the error, and the error this frame
            for future in window:
                future.cancel()
            wait([future for future in window if not future.cancelled()])

    def ahead(self, things: Iterator[T]) -> Iterator[T]:
        """The same things; while the caller works with one, one of the threads draws the next."""
        if self.jobs == 1 or getattr(self._own, "is_one", False):
            yield from things
            return
        from concurrent.futures import wait

        pool, end = self._threads(), object()
        drawn = _submitted(pool, lambda none: next(things, none), end)
        try:
            while (thing := drawn.result()) is not end:
                drawn = _submitted(pool, lambda none: next(things, none), end)
                yield cast(T, thing)
        except KeyboardInterrupt:
            self.interrupt()
            raise
        finally:
            if not drawn.cancel():
                wait([drawn])

    def _threads(self) -> ThreadPoolExecutor:
        """Made when they are first needed: a small file is one block."""
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self.jobs, "gae-job", lambda: setattr(self._own, "is_one", True)
                )
            return self._pool

    def interrupt(self) -> None:
        """What is under way ends soon, by `KeyboardInterrupt`."""
        self.interrupted.set()
        self._end_waits()

    def check_stop(self) -> None:
        """Threads end with the block in hand when the run is interrupted."""
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def close(self) -> None:
        self.interrupted.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ThreadPoolExecutor, function: Callable[[T], R], thing: T) -> Future[R]:
    """Its threads are started as they are needed; `ulimit -u` or a container may have no more of them."""
    try:
        return pool.submit(function, thing)
    except RuntimeError as error:
        if str(error) != "can't start new thread":
            raise
        raise EngineError(
            "this process may start no more threads", hint="pass `--jobs 1`, or raise the limit of processes"
        ) from error
