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
import time
from collections.abc import Iterator
from pathlib import Path

from gaecli.errors import FileError
from gaecli.unfinished import forget, remember

PREFIX = "gaecli-spool-"
_LOCK = ".lock"
#: In a spool: what its process has begun elsewhere, as files.
NOTES = ".begun"
#: Nobody waits longer for somebody who deals with notes.
_KEPT_SECONDS = 8 * 24 * 3600


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


def abandoned_spools(directory: Path) -> list[Path]:
    """Those of processes of this user that were killed, and that have left notes."""
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(PREFIX) and (path / NOTES).is_dir():
                with contextlib.suppress(OSError), _abandoned(path) as is_abandoned:
                    if is_abandoned:
                        found.append(path)
    return found


@contextlib.contextmanager
def _abandoned(path: Path) -> Iterator[bool]:
    """Whether the process whose spool this is has ended, and was one of this user; nobody else can look meanwhile."""
    if path.lstat().st_uid != os.getuid():
        yield False
        return
    handle = os.open(path / _LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield bool(os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _remove_if_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError), _abandoned(path) as is_abandoned:
        if not is_abandoned:
            return
        if not _has_notes(path / NOTES):
            shutil.rmtree(path, ignore_errors=True)
            return
        for entry in path.iterdir():  # but for what tells of the rest
            if entry.name not in (_LOCK, NOTES):
                shutil.rmtree(entry, ignore_errors=True)


def _has_notes(folder: Path) -> bool:
    is_recent = folder.is_dir() and time.time() - folder.stat().st_mtime < _KEPT_SECONDS
    return is_recent and any(folder.iterdir())
