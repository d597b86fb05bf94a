"""Wall time per phase."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds per phase, summed over threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[phase] = self._seconds.get(phase, 0.0) + time.perf_counter() - start

    def __getitem__(self, phase: str) -> float:
        return self._seconds.get(phase, 0.0)
