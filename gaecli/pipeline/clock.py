"""Wall time per phase."""

from __future__ import annotations

import threading
import time
from types import TracebackType


class Stopwatch:
    """Seconds per phase, summed over threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, phase: str) -> _Running:
        return _Running(self, phase)

    def add(self, phase: str, seconds: float) -> None:
        with self._lock:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def taken(self) -> dict[str, float]:
        """Seconds since this was asked last, for the watch of another process."""
        with self._lock:
            seconds, self._seconds = self._seconds, {}
            return seconds

    def __getitem__(self, phase: str) -> float:
        return self._seconds.get(phase, 0.0)


class _Running:
    """The time of one block of code. A generator would cost twice as much, and small files have twenty each."""

    __slots__ = ("_phase", "_start", "_watch")

    def __init__(self, watch: Stopwatch, phase: str) -> None:
        self._watch = watch
        self._phase = phase

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.add(self._phase, time.perf_counter() - self._start)
