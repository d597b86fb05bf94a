"""Ctrl-C and its like: one `KeyboardInterrupt` in the main thread, and silence from then on."""

from __future__ import annotations

import signal
import sys
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RETRY_SECONDS = 0.001
#: Between taking a lock and knowing that it is taken nothing may be raised: it would never be given back, or be given
#: back twice. The last two are those of `threading.Condition`, whose lock `wait` lets go for a while.
_LOCKING = ("__enter__", "__exit__", "_acquire_restore", "_release_save")

_is_over = False


def raise_once() -> None:
    """From now on the first signal raises, wherever the main thread is."""
    global _is_over
    _is_over = False
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup gae ...` goes on
            signal.signal(number, _raise)
    signal.signal(signal.SIGALRM, _raise)
    sys.unraisablehook = _raise_again


def raise_no_more() -> None:
    """What is left to do takes no time, and has to be done."""
    global _is_over
    _is_over = True


def _raise(number: int, frame: FrameType | None) -> None:
    """Once: what follows is cleaning up, and a second signal would leave a temporary file behind.

    Not SIG_IGN for the others: Python complains on stderr of a signal that came just before.
    """
    if _is_over:
        return
    if frame is not None and frame.f_code.co_name in _LOCKING:
        _retry()
        return
    raise_no_more()
    raise KeyboardInterrupt


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """In a finalizer Python prints what is raised and goes on: the run would not be interrupted at all."""
    global _is_over
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    _is_over = False
    _retry()


def _retry() -> None:
    signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)
