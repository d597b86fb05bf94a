"""The local engine: tasks on the threads of this process, blocks of one file side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Generic, TypeVar

from gaecli.engines.base import EngineOptions, Task, as_joint
from gaecli.engines.threads import Threads

W = TypeVar("W")
R = TypeVar("R")


class LocalEngine(Generic[W]):
    """Tasks that others carry out whole are taken apart here: all threads work on one of them.

    A joint task stays in the thread that asks for it, one after the other, and the threads have what it asks for.
    """

    is_here = True

    def __init__(self, worker: W, threads: Threads) -> None:
        self.jobs = threads.jobs
        self._worker = worker
        self._threads = threads

    def run(self, tasks: Iterable[Task[W, R]]) -> Iterator[list[R]]:
        remaining = iter(tasks)
        for task in remaining:
            if (joint := as_joint(task)) is not None:
                yield joint.carry_out(self._worker, self.run)
            else:
                yield from self._apart(chain([task], remaining))

    def _apart(self, tasks: Iterable[Task[W, R]]) -> Iterator[list[R]]:
        worker = self._worker
        parts = (part for task in tasks for part in task.parts(worker))
        with closing(parts):
            yield from self._threads.run(lambda part: part(worker), parts)

    def close(self) -> None:
        """The threads are those of the run, which ends them."""


def make(threads: Threads, worker: W, recipe: Callable[[], W], options: EngineOptions) -> LocalEngine[W]:
    return LocalEngine(worker, threads)
