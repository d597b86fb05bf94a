"""How the C library keeps the memory that this process gives back and asks for again.

Blocks come and go: arrays of some megabytes, by the thousand. As it is set up, glibc hands such memory back to the
kernel at once, which clears every page of it before it gives it out anew; and each thread has a heap of its own.
That took a third of the time of `gae check`. Only processes of our own are set up so: a library leaves its host be.

What stays of each block, some ten kilobytes, comes to lie between them, so that an array of the next one does not fit
into any of the holes: of 128 blocks with two threads 170 MiB are free, and blocks take 100. So all that is free is
given back now and then. To be given it again takes some 50 to 100 ms of CPU time.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

#: What mallopt(3) calls them, and what they are set to: blocks are smaller than 32 MiB, the most that glibc takes.
_OPTIONS = {
    "M_TRIM_THRESHOLD": (-1, 256 << 20),
    "M_TOP_PAD": (-2, 16 << 20),
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
    "M_ARENA_MAX": (-8, 1),
}
#: Rows of the blocks that are looked at until what is free is given back: two looks at 64 of the largest.
_MOST_ROWS = 1 << 27
_num_rows = 0
#: malloc_trim(3), where the C library is set up so.
_trim: Any = None


def keep_freed_memory() -> None:
    """Before NumPy is at work. What the user has set up is left so; other C libraries have nothing to be set."""
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    global _trim
    library = _library()
    if library is not None:
        for option, value in _OPTIONS.values():
            library.mallopt(option, value)
        _trim = library.malloc_trim
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read once, as pyarrow is imported


def looked_at(num_rows: int) -> None:
    """At a block of so many; whichever thread says so, and if two do so at a time, a block may not count."""
    global _num_rows
    _num_rows += num_rows
    if _num_rows >= _MOST_ROWS:
        _num_rows = 0
        if _trim is not None:
            _trim(0)


def _library() -> Any:
    import ctypes  # NumPy has it in any case

    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (elsewhere these numbers mean other things)
        return library
    return None
