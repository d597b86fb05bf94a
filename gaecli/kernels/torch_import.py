"""`import torch`, in the background: it takes longer than ten million rows of work."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import Any

from gaecli.errors import DeviceError


class _TorchImport(threading.Thread):
    """`import torch`, in the background; the outcome is kept for whoever joins."""

    def __init__(self) -> None:
        super().__init__(name="import-torch", daemon=True)
        self.module: Any = None
        self.error: BaseException | None = None
        self._limits = 0
        self._num_threads: int | None = None
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            module = importlib.import_module("torch")
        except BaseException as error:  # handed on by torch_module
            self.error = error
            return
        with self._lock:
            self.module = module
            self._adjust()

    def limit(self, change: int) -> None:
        """Count those who want one thread per operation; torch is told once it is there."""
        with self._lock:
            self._limits += change
            if self.module is not None:
                self._adjust()

    def _adjust(self) -> None:
        if self._limits and self._num_threads is None:
            self._num_threads = self.module.get_num_threads()
            self.module.set_num_threads(1)
        elif not self._limits and self._num_threads is not None:
            self.module.set_num_threads(self._num_threads)
            self._num_threads = None


_lock = threading.Lock()
_only: _TorchImport | None = None


def start_torch_import() -> None:
    """Begin `import torch` in a daemon thread, once; later calls do nothing.

    It has the interpreter nearly all the time that it takes: what can go on beside it, as a copy can, begins before.
    """
    thread = _import_thread()
    with _lock:
        if thread.ident is None:
            thread.start()


@contextlib.contextmanager
def one_thread_per_operation() -> Iterator[None]:
    """Meanwhile a torch operation on the CPU runs in the thread that calls it, and in no other.

    Where blocks are computed side by side, threads of torch's own only wait for each other: with busy cores
    10,000,000 rows took 5.1 s of user time instead of 2.1. Waits for no import: torch is told when it comes.
    """
    thread = _import_thread()
    thread.limit(+1)
    try:
        yield
    finally:
        thread.limit(-1)


def torch_module() -> Any:
    """The module `torch`, imported now or waited for.

    Raises:
        DeviceError: it cannot be imported.
    """
    start_torch_import()
    thread = _import_thread()
    thread.join()
    if thread.error is not None:
        raise DeviceError(
            f"torch cannot be imported: {thread.error}",
            hint="`pip install torch`, or pass `--device auto`, which computes small jobs with NumPy",
        ) from thread.error
    return thread.module


def _import_thread() -> _TorchImport:
    global _only
    with _lock:
        if _only is None:
            _only = _TorchImport()
        return _only
