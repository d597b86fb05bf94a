"""An engine that treats tasks as a cluster does: sent as bytes, in any order, tried again, where nothing is known.

Every task and every result goes through `pickle`. The worker of a task is new, and opens the files itself; it has
objects of stores in a mirror of its own. The first
try of a task may end where a block begins, with half of its file written.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pytest

from gaecli.engine_kinds import ENGINES, EngineKind
from gaecli.engines.base import EngineOptions, Task
from gaecli.engines.threads import Threads
from gaecli.pipeline.worker import Worker
from gaecli.storage.sent_paths import dumps, loads
from gaecli.storage.stage import Stage

WINDOW = 5
#: The first task fails at first, and then every so many; 0: none.
LOSES_EVERY = 2
#: Also a try that has done everything, as with a worker that goes before it has said so.
LOSES_FINISHED = True


class LostWorkerError(OSError):
    """The machine of the first try is gone."""


class PicklingEngine:
    """Counts what it did, so that a test can tell that it did it."""

    jobs = WINDOW
    is_here = False

    def __init__(self, recipe: Callable[[], Any], stage: Stage | None = None, seed: int = 0) -> None:
        self._recipe = pickle.dumps(recipe)
        self._stage = stage
        self._random = random.Random(seed)
        self.num_sent = self.num_lost = self.largest = 0

    def run(self, tasks: Iterable[Task[Any, Any]]) -> Iterator[list[Any]]:
        remaining = iter(tasks)
        while window := [dumps(task, self._stage) for task in islice(remaining, WINDOW)]:
            order = list(range(len(window)))
            self._random.shuffle(order)
            ends = {index: self._end(window[index]) for index in order}
            for index in range(len(window)):
                result, error = ends[index]
                if error is not None:
                    raise error
                yield loads(result, self._stage)

    def _end(self, sent: bytes) -> tuple[bytes, Exception | None]:
        self.num_sent += 1
        self.largest = max(self.largest, len(sent))
        if LOSES_EVERY and (self.num_sent == 1 or self.num_sent % LOSES_EVERY == 0):
            try:
                whole = self._carried_out(sent, self._losing())
                if not LOSES_FINISHED:
                    return whole, None
            except LostWorkerError:
                self.num_lost += 1
            except Exception:
                pass
        try:
            return self._carried_out(sent, pickle.loads(self._recipe)()), None
        except Exception as error:
            return b"", pickle.loads(pickle.dumps(error))

    def _carried_out(self, sent: bytes, worker: Any) -> bytes:
        stage = getattr(worker, "stage", None)
        try:
            return dumps(loads(sent, stage)(worker), stage)
        finally:
            if stage is not None:
                stage.close()

    def _losing(self) -> Any:
        """A worker that goes at the second block, or at the first where there is no other."""
        worker = pickle.loads(self._recipe)()
        left = 0 if LOSES_EVERY == 1 else self._random.choice([0, 0, 1])

        def check_stop() -> None:
            nonlocal left
            if left == 0:
                raise LostWorkerError
            left -= 1

        if isinstance(worker, Worker):
            worker.check_stop = check_stop
        return worker

    def close(self) -> None:
        pass


#: Those of the runs of a test.
made: list[PicklingEngine] = []


def make(threads: Threads, worker: Any, recipe: Callable[[], Any], options: EngineOptions) -> PicklingEngine:
    made.append(PicklingEngine(recipe, options.stage))
    return made[-1]


@pytest.fixture
def pickling(monkeypatch: pytest.MonkeyPatch) -> list[PicklingEngine]:
    """Runs with `engine="pickling"`; the engines that they had."""
    made.clear()
    monkeypatch.setitem(ENGINES, "pickling", EngineKind("pickling", "tests", __name__, is_here=False))  # type: ignore[arg-type]
    return made
