"""stdin as the input where none is named: `cat rollouts.parquet | gae inspect`."""

from __future__ import annotations

import os
import stat
import sys
from array import array

#: After so long without a byte a person should know what is waited for.
_PATIENCE_SECONDS = 2.0


def is_fed() -> bool:
    """Whether stdin is a file or a pipe that holds something; waits for whoever writes into a pipe.

    What cron, services and CI give is none: a terminal, /dev/null, a closed or an empty pipe.
    """
    try:
        handle = sys.stdin.fileno()
        status = os.fstat(handle)
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        return False
    if stat.S_ISREG(status.st_mode):
        return os.lseek(handle, 0, os.SEEK_CUR) < status.st_size
    return stat.S_ISFIFO(status.st_mode) and _waiting_bytes(handle) > 0


def _waiting_bytes(handle: int) -> int:
    """None at the end of the pipe. Nothing is read."""
    import fcntl
    import select
    import termios

    if not select.select([handle], [], [], _PATIENCE_SECONDS)[0]:
        sys.stderr.write("no input is named: waiting for one from stdin\n")
        sys.stderr.flush()
        select.select([handle], [], [])
    count = array("i", [0])
    fcntl.ioctl(handle, termios.FIONREAD, count)
    return count[0]
