"""Tasks of no file, for the processes of a cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        return [1]


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


def slowly(seconds: float) -> str:
    time.sleep(seconds)
    return "done"
