"""Tasks of no file, for the processes of a cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaecli.engines.ray import num_tries_before


@dataclass(frozen=True)
class NoWorker:
    def __call__(self) -> None:
        return None


@dataclass(frozen=True)
class Failing:
    """Leaves a line in a file at every try."""

    log: Path
    error: Exception
    most: int = 100

    def __call__(self, worker: Any) -> list[int]:
        with self.log.open("a") as log:
            log.write("tried\n")
        if len(self.log.read_text().splitlines()) <= self.most:
            raise self.error
        return [num_tries_before()]


@dataclass(frozen=True)
class Sleeping:
    log: Path

    def __call__(self, worker: Any) -> list[int]:
        with self.log.open("a") as log:
            log.write("began\n")
        time.sleep(60)
        return []


@dataclass(frozen=True)
class Summed:
    numbers: Any

    def __call__(self, worker: Any) -> list[float]:
        return [float(self.numbers.sum())]


@dataclass(frozen=True)
class Assigned:
    """What the cluster has put aside for the task."""

    def __call__(self, worker: Any) -> list[dict[str, float]]:
        import ray

        return [ray.get_runtime_context().get_assigned_resources()]


@dataclass(frozen=True)
class Unsendable:
    """It ends before it is on its way."""

    def __reduce__(self) -> str:
        raise ZeroDivisionError("1 / 0")

    def __call__(self, worker: Any) -> list[int]:
        return []


def slowly(seconds: float) -> str:
    time.sleep(seconds)
    return "done"
