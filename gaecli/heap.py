"""How the C library keeps the memory that this process gives back and asks for again.

Blocks come and go: arrays of some megabytes, by the thousand. As it is set up, glibc hands such memory back to the
kernel at once, which clears every page of it before it gives it out anew; and each thread has a heap of its own.
That took a third of the time of `gae check`. Only processes of our own are set up so: a library leaves its host be.

What stays of each block, some ten kilobytes, comes to lie between them, so that an array of the next one does not fit
into any of the holes: of 128 blocks with two threads 170 MiB are free, and blocks take 100. So all that is free is
given back now and then. To be given it again takes some 50 to 100 ms of CPU time.

To be given memory for the first time was a sixth of `gae inspect` and a fifth of `gae check` of 10,000,000 rows: one
fault for each 4 KiB. NumPy asks for large pages where its own arrays are to be; what pyarrow reads lies beside them.
So they are asked for once, for all that a process of some blocks takes.
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
#: What the heap grows by in large pages: less than it keeps at its end, in pieces that come from there.
_LARGE_PIECES, _PIECE_BYTES = 7, 31 << 20
_MADV_HUGEPAGE = 14
#: The C library, where it is set up so.
_set_up: Any = None


def keep_freed_memory() -> None:
    """Before NumPy is at work. What the user has set up is left so; other C libraries have nothing to be set."""
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    global _set_up
    library = _library()
    if library is not None:
        for option, value in _OPTIONS.values():
            library.mallopt(option, value)
        _ask_for_large_pages(library)
        _set_up = library
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read once, as pyarrow is imported


def looked_at(num_rows: int) -> None:
    """At a block of so many; whichever thread says so, and if two do so at a time, a block may not count."""
    global _num_rows
    _num_rows += num_rows
    if _num_rows >= _MOST_ROWS:
        _num_rows = 0
        if _set_up is not None:
            _set_up.malloc_trim(0)
            _ask_for_large_pages(_set_up)


def _ask_for_large_pages(library: Any) -> None:
    """Where the heap grows next. Nothing is written there, so that nothing is taken that is not used."""
    pieces = [library.malloc(_PIECE_BYTES) for _ in range(_LARGE_PIECES)]
    if all(pieces):
        page = os.sysconf("SC_PAGE_SIZE")
        start, stop = min(pieces) // page * page + page, max(pieces) + _PIECE_BYTES
        library.madvise(start, stop - start, _MADV_HUGEPAGE)  # a wish, granted or not
    for piece in pieces:
        library.free(piece)


def _library() -> Any:
    import ctypes  # NumPy has it in any case

    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (elsewhere these numbers mean other things)
        library.malloc.restype = ctypes.c_void_p
        library.malloc.argtypes = [ctypes.c_size_t]
        library.free.argtypes = [ctypes.c_void_p]
        library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        return library
    return None
