"""What an engine does: it carries out tasks, somewhere, and gives their results in the order of the tasks.

A task is a plain value that says what is to be read and computed, never rows and never a function of the run: it
can be sent to another process or machine, carried out there twice, and its results sent back. What it needs beside
itself is the `worker` of the place where it is carried out (`gaecli.pipeline.worker`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, cast

from gaecli.records import dataclass
from gaecli.storage.stage import Stage

W_contra = TypeVar("W_contra", contravariant=True)
W_co = TypeVar("W_co", covariant=True)
W = TypeVar("W")
R = TypeVar("R")


class Task(Protocol[W_contra, R]):
    """Carried out again it gives the same results, whatever was carried out before it and elsewhere."""

    def __call__(self, worker: W_contra) -> list[R]:
        """All of it, in order; one result for each block."""

    def parts(self, worker: W_contra) -> Iterable[Task[W_contra, R]]:
        """The same in pieces, whose results together are those of the task, in order.

        For an engine within this process: a unit of any size is read block by block by whoever draws the parts,
        while others compute. A part holds rows, and goes nowhere else.
        """


#: `Engine.run`, as tasks see it.
CarryOut = Callable[[Iterable[Task[W, R]]], Iterator[list[R]]]


class JointTask(Protocol):
    """A task whose own tasks can be carried out side by side, while it does in order what has to be done so."""

    def carry_out(self, worker: Any, run: CarryOut[Any, Any]) -> list[Any]:
        """The same as calling it, its own tasks carried out by `run`."""


def as_joint(task: object) -> JointTask | None:
    """The task, where it is one. Not by `isinstance`, which takes longer for a protocol than a small block does."""
    return cast("JointTask", task) if hasattr(task, "carry_out") else None


def go_on() -> None:
    """Where nothing but Python itself ends a run."""


@dataclass(frozen=True, eq=False)
class EngineOptions:
    """What the user said of where tasks are to be carried out."""

    #: So many at a time; None: as the place suggests.
    jobs: int | None = None
    #: Of a cluster.
    address: str | None = None
    #: Each task takes an accelerator.
    needs_gpu: bool = False
    #: Called while an engine waits; raises once the run is to end.
    check_stop: Callable[[], None] = go_on
    #: Where this process has what lies in stores. A worker that has a `stage` as well finds it there.
    stage: Stage | None = None


class Engine(Protocol[W_co]):
    """One for each run. `run` may be called from several threads at a time, one for each stream."""

    #: So many tasks are carried out at a time.
    jobs: int
    #: With the worker of this process: what that has begun, tasks go on with.
    is_here: bool

    def run(self, tasks: Iterable[Task[W_co, R]]) -> Iterator[list[R]]:
        """The results of each task, in the order of the tasks.

        Tasks are drawn as results are taken, in the thread that takes them: no more than a few are under way or
        waiting, however many there are. An error is raised in the place of the results of its task, the first one
        in the order of the tasks. When this is left, by whatever way, none of the tasks is under way any more.
        """

    def close(self) -> None:
        """Nothing is under way any more, and what was taken for the run is given back."""


def run_here(worker: W) -> CarryOut[W, Any]:
    """One task after the other, in this thread: not more than a part of one is in memory."""

    def run(tasks: Iterable[Task[W, Any]]) -> Iterator[list[Any]]:
        for task in tasks:
            for part in task.parts(worker):
                yield part(worker)

    return run
