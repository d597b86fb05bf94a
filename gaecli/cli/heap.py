"""How the C library keeps the memory that this process gives back and asks for again.

Blocks come and go: arrays of some megabytes, by the thousand. As it is set up, glibc hands such memory back to the
kernel at once, which clears every page of it before it gives it out anew; and each thread has a heap of its own.
That took a third of the time of `gae check`. Only processes of our own are set up so: a library leaves its host be.
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


def keep_freed_memory() -> None:
    """Before NumPy is at work. What the user has set up is left so; other C libraries have nothing to be set."""
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = _mallopt()
    if mallopt is not None:
        for option, value in _OPTIONS.values():
            mallopt(option, value)
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read once, as pyarrow is imported


def _mallopt() -> Any:
    import ctypes  # NumPy has it in any case

    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 (elsewhere these numbers mean other things)
        return library.mallopt
    return None
