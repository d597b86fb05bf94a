"""Signals that end the process, held back while several files take their places."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A signal that comes within the block is delivered at its end; the block should be short.

    Python runs handlers in the main thread alone. Where the block runs in another one, the main thread is
    interrupted at once, and waits for this one before it ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: dict[int, None] = {}

    def note(number: int, frame: FrameType | None) -> None:
        came[number] = None

    with contextlib.ExitStack() as stack:
        stack.callback(_deliver, came)
        for number in _ENDING:
            handler = signal.getsignal(number)
            if handler is None or handler == signal.SIG_IGN:  # `nohup gae ...` goes on
                continue
            stack.callback(signal.signal, number, handler)
            signal.signal(number, note)
        yield


def _deliver(came: dict[int, None]) -> None:
    for number in came:
        signal.raise_signal(number)
