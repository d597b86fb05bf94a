"""The two looks of `gae check` in step: `compute` is shown rows that the rules have just seen.

So rows that are read once need not be kept until the other look comes to them: memory for 17 bytes a row, which
nothing had used before, took as long as to read them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from gaecli.engines.base import Engine, Task
from gaecli.pipeline.opening import OpenFile
from gaecli.pipeline.tasks import UnitTask
from gaecli.pipeline.worker import Worker

R = TypeVar("R")

#: Behind the last row of the last file.
_END = (sys.maxsize, 0)


class RulesAhead:
    """The look of the rules, as far as somebody wants it to be."""

    def __init__(self, look: Iterator[tuple[int, int]]) -> None:
        """`look` tells after each block how far it is: the file, and the row behind the block."""
        self._look = look
        self._reached = (0, 0)
        self._error: Exception | None = None

    def go_to(self, file: int, row: int) -> None:
        """Raises nothing: what `compute` makes of the rows is another matter."""
        while self._error is None and self._reached < (file, row):
            try:
                self._reached = next(self._look, _END)
            except Exception as error:  # raised at the end
                self._error = error

    def finish(self) -> None:
        """Go over all rows that are left. Raises what went wrong on the way."""
        self.go_to(*_END)
        if self._error is not None:
            raise self._error


class BehindTheRules:
    """An engine that is given tasks of units once the rules have seen these."""

    is_here = True

    def __init__(self, engine: Engine[Worker], rules: RulesAhead, files: Sequence[OpenFile]) -> None:
        self.jobs = engine.jobs
        self._engine = engine
        self._rules = rules
        self._files = files

    def run(self, tasks: Iterable[Task[Worker, R]]) -> Iterator[list[R]]:
        return self._engine.run(self._drawn(tasks))

    def _drawn(self, tasks: Iterable[Task[Worker, R]]) -> Iterator[Task[Worker, R]]:
        for task in tasks:
            if isinstance(task, UnitTask):
                units = self._files[task.source.index].units
                # Taken in another order, units are others, which are read anew.
                self._rules.go_to(task.source.index, units[min(task.unit, len(units) - 1)].stop)
            yield task

    def close(self) -> None:
        """The threads are those of the run, which ends them."""
