"""What the kernel has in memory of a large file that is about to be replaced.

Whoever renames another file over it waits until all of that is given back: 0.1 s for a gigabyte. While the new one is
on its way to the disk there is time for it.
"""

from __future__ import annotations

import contextlib
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from gaecli.formats.page_cache import can_be_given_back, give_back


@contextlib.contextmanager
def pages_given_back(path: Path) -> Iterator[None]:
    """Meanwhile. A file that has another name stays, and so does what is known of it."""
    if not _goes(path):
        yield
        return
    thread = threading.Thread(target=_give_back, args=(path,), name="gae-pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _goes(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


def _give_back(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        if can_be_given_back(file.fileno()):
            give_back(file.fileno(), 0, 0)
