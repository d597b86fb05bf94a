"""What the kernel has of a file in memory, and what of it can be given back."""

from __future__ import annotations

import contextlib
import os

#: cachestat(2), from Linux 6.5 on: the number is the same on all machines but Alpha.
_CACHESTAT = 451


def give_back(handle: int, start: int, stop: int) -> None:
    """The pages between these offsets, to the end where `stop` is 0: whoever reads them gets them anew."""
    with contextlib.suppress(OSError):  # it is advice
        os.posix_fadvise(handle, start, max(stop - start, 0), os.POSIX_FADV_DONTNEED)


def can_be_given_back(handle: int) -> bool:
    """All pages of a file that is going to be replaced.

    One that has another name stays. What the disk has not yet it would be given, and not need.
    """
    is_replaced = os.fstat(handle).st_nlink == 1
    return hasattr(os, "posix_fadvise") and is_replaced and not _num_unwritten(handle)


def _num_unwritten(handle: int) -> int:
    """Pages that the disk has not; 0 too where that cannot be told."""
    import ctypes  # NumPy has it in any case

    try:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return 0
    if os.uname().sysname != "Linux":
        return 0
    everything = (ctypes.c_uint64 * 2)(0, 0)
    found = (ctypes.c_uint64 * 5)()  # in memory, dirty, being written, evicted, evicted recently
    failed = syscall(ctypes.c_long(_CACHESTAT), ctypes.c_uint(handle), everything, found, ctypes.c_uint(0))
    return 0 if failed else found[1] + found[2]
