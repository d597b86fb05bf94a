"""What has to be put away before the process ends: temporary files, uploads, spools.

Whoever makes one puts it away. But an interrupt can come in the middle of that, or in the instant before, where
no `finally` helps. So each is remembered here until it is done, and the command line puts away what is left
when nothing can interrupt it any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

#: In the order in which they were made. A dict: threads add and take at the same time.
_left: dict[Callable[[], None], None] = {}
_word = "nothing was left half-written"
_is_waited_for = False


def remember(put_away: Callable[[], None]) -> None:
    """Before the thing is made. `put_away` may be called at any time, and again after it was cut short."""
    _left[put_away] = None


def forget(put_away: Callable[[], None]) -> None:
    """After the thing is gone, or in its place."""
    _left.pop(put_away, None)


def forget_all() -> None:
    """In a fork: the process that made the things puts them away."""
    _left.clear()


def put_away_what_is_left() -> None:
    """The last one first: uploads come from files in a spool."""
    while _left:
        put_away, _ = _left.popitem()
        with contextlib.suppress(Exception):
            put_away()


def leave_word(word: str) -> None:
    """What an interrupted run has to say of its results."""
    global _word
    _word = word


def last_word() -> str:
    return _word


def end_is_waited_for() -> None:
    """By whoever started this process, which is there for one command: what can wait is left to another one."""
    global _is_waited_for
    _is_waited_for = True


def is_waited_for() -> bool:
    return _is_waited_for
