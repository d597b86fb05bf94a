"""A temporary directory for what is not a local file: gone with the run, or with the next one.

It lies where `TMPDIR` says. A killed run cannot clean up; its directory is no longer locked then, and
the next run that needs a spool removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from gaecli.errors import FileError
from gaecli.unfinished import forget, remember

PREFIX = "gaecli-spool-"
_LOCK = ".lock"


class Spool:
    """A directory that only this process uses."""

    def __init__(self) -> None:
        self._lock: int | None = None
        try:
            self._make()
        except OSError as error:
            raise FileError(
                f"no temporary directory can be made: {error.strerror}",
                hint="set TMPDIR to a place that can be written to",
            ) from error

    def _make(self) -> None:
        folder = Path(tempfile.gettempdir()).resolve()  # paths below it are compared by their text
        sweep_spools(folder)
        self.path = folder / f"{PREFIX}{os.urandom(8).hex()}"
        remember(self.close)
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):  # not every file system can
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Only now may others take the lock as a sign: an empty one is not yet locked.
            os.write(self._lock, b"locked while in use\n")

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        forget(self.close)


def sweep_spools(directory: Path) -> None:
    """Remove what killed runs of this user left in a directory of temporary files."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX)]
        for path in found:
            _remove_if_unlocked(path)


def _remove_if_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.lstat().st_uid != os.getuid():
            return
        handle = os.open(path / _LOCK, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_size:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)
