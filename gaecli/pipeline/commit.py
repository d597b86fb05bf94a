"""Files appear whole or not at all.

A complete new file is written beside its target under a hidden name, synced, and renamed over it.
A kill at any instant leaves the old file or the new one; what it leaves of the new one is removed
by the next run that writes into that directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from pathlib import Path

from gaecli.errors import FileError

#: Ignored by LeRobot, `datasets` and Minari, which read whatever else matches their patterns.
_TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{16}\.tmp$")


class NewFile:
    """A file that will take the place of `target`, or not appear."""

    def __init__(self, target: Path) -> None:
        # The link stays, what it points to is replaced.
        self.target = Path(os.path.realpath(target))
        self.temporary = self.target.parent / f".{self.target.name}.{secrets.token_hex(8)}.tmp"
        self._lock: int | None = None

    def lock(self) -> None:
        """Tell other runs that this temporary file is in use; for as long as this process lives."""
        with contextlib.suppress(OSError):
            self._lock = os.open(self.temporary, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def commit(self) -> None:
        """Sync, give it the mode and owner of the old file, rename, sync the directory."""
        self._take_over_mode()
        with self.temporary.open("rb") as file:
            os.fsync(file.fileno())
        self.temporary.replace(self.target)
        self.unlock()
        _sync_directory(self.target.parent)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)
        self.unlock()

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_over_mode(self) -> None:
        try:
            old = self.target.stat()
        except FileNotFoundError:
            self.temporary.chmod(0o666 & ~_umask())
            return
        self.temporary.chmod(stat.S_IMODE(old.st_mode))
        with contextlib.suppress(OSError):  # only root may give files away
            os.chown(self.temporary, old.st_uid, old.st_gid)


def sweep(directory: Path) -> None:
    """Remove temporary files that a killed run left in a directory; those in use are locked."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        stale = [Path(entry.path) for entry in entries if _TEMPORARY.match(entry.name)]
        for path in stale:
            _remove_if_unlocked(path)


def _remove_if_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)


def check_unchanged(path: Path, identity: tuple[int, int, int]) -> None:
    """Raise if the source is not the file that was read."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise FileError(f"`{path}` was removed while it was read; nothing was written") from error
    if (status.st_size, status.st_mtime_ns, status.st_ino) != identity:
        raise FileError(
            f"`{path}` was changed by somebody else while it was read; nothing was written",
            hint="run the command again when nothing else writes to it",
        )


def explain(error: OSError, target: Path) -> FileError:
    """An error of the operating system in words that say what to do."""
    import errno

    if error.errno == errno.ENOSPC:
        return FileError(
            f"no space left to write `{target}`; the file is as it was",
            hint=f"free some space, or write elsewhere with `--output`: about {_needed(target)} are needed",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FileError(
            f"no permission to write in `{target.parent}`; the file is as it was",
            hint="write elsewhere with `--output`",
        )
    if error.errno == errno.EDQUOT:
        return FileError(f"the disk quota is used up: `{target}` was not written; the file is as it was")
    return FileError(f"`{target}` cannot be written: {error.strerror or error}; the file is as it was")


def _needed(target: Path) -> str:
    try:
        return f"{max(target.stat().st_size * 1.2, 1e6) / 1e6:,.0f} MB"
    except OSError:
        return "as many bytes as the input has, and a fifth more,"


def _sync_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
