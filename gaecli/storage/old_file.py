"""A large file that another one takes the place of, given back to the disk while nobody waits for that.

A `rename` over a file frees its blocks before it returns, if nobody else has it open: 0.3 to 0.4 s for 1.5 GB on a
disk that is told what is free. So it is kept open until its name is gone. Whoever closes it last waits instead, and
that is a thread; or, where this process is about to end, which would wait for its threads, a child that does nothing
but end. Nothing can be left over: the file has no name any more, and a child that is killed closes it just as well.
Whoever started this process sees no child; init waits for it, as for whatever loses its parent.

Until then, for less than a second, there is less room on the disk than there is going to be. Who needs it at once,
such as the next command for the next file, must not run into that: where there is not as much room left as two such
files take, the old one is freed before the command returns, and nothing is different from what it was before.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from gaecli.unfinished import is_waited_for

#: Smaller ones are freed in less time than it takes to start a process.
_LARGE_BYTES = 256 << 20
#: Of the size of the old file, on the disk.
_LEAST_ROOM = 2
_SHELL = "/bin/sh"


@contextlib.contextmanager
def freed_behind(path: Path) -> Iterator[None]:
    """Meanwhile the file of this name loses it."""
    handle = _held(path)
    if handle is None:
        yield
        return
    try:
        yield
    except BaseException:
        os.close(handle)
        raise
    if os.fstat(handle).st_nlink:  # it was given another name, which goes when it is closed
        os.close(handle)
    elif is_waited_for():
        _leave_to_child(handle)
    else:
        threading.Thread(target=os.close, args=(handle,), name="gae-old-file", daemon=True).start()


def _held(path: Path) -> int | None:
    """The file, opened, if its blocks are freed with its name and that can wait."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        status, disk = os.fstat(handle), os.fstatvfs(handle)
        num_bytes = status.st_blocks * 512
        is_last_name = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        # Others are somewhere else, or in memory: servers that know nothing of open files keep them by hidden names.
        is_on_disk = os.major(status.st_dev) != 0
        has_room = disk.f_bavail * disk.f_frsize >= _LEAST_ROOM * num_bytes
        if is_last_name and is_on_disk and num_bytes >= _LARGE_BYTES and has_room:
            return handle
    os.close(handle)
    return None


def _leave_to_child(handle: int) -> None:
    """It has nothing else of ours: whoever reads what we print does not wait for it."""
    streams = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    its_own = 3 if handle != 3 else 4  # unlike ours, one that it keeps
    held = (os.POSIX_SPAWN_DUP2, handle, its_own)
    with contextlib.suppress(OSError):  # without a shell this process is the last one to close it
        os.posix_spawn(_SHELL, [_SHELL, "-c", ":"], {}, file_actions=[*streams, held])
    os.close(handle)
