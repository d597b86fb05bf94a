"""Files appear whole or not at all.

A complete new file is written beside its target under a hidden name, synced, and renamed over it.
A kill at any instant leaves the old file or the new one; what it leaves of the new one is removed
by the next run that writes into that directory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
import stat
from pathlib import Path
from typing import NamedTuple

from gaecli.errors import FileError, NoSpaceError
from gaecli.storage.checksums import checksum_path, piece_bytes, write_checksum
from gaecli.unfinished import forget, remember

#: Ignored by LeRobot, `datasets` and Minari, which read whatever else matches their patterns.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp", re.DOTALL)  # names may hold line breaks
#: File systems allow names of 255 bytes; what goes around the target's name takes 22.
_MAX_NAME_BYTES = 220
#: What file systems without hard links say, and those on which this file may have no more of them.
_NO_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
    errno.EINVAL,
)
#: From this size on it takes a while until the memory of an old file is given back.
_LARGE_BYTES = 64 << 20
#: What a process has open besides its new files: inputs, directories, libraries, the terminal.
_OTHER_FILES = 128


class NewFile:
    """A file that will take the place of `target`, or not appear.

    `create` makes it, empty, and locked for as long as this process lives: that tells other runs, which
    sweep the directory, that it is in use. The object is there before the file: whoever holds it can
    discard the file even if `create` is interrupted.
    """

    def __init__(self, target: Path) -> None:
        # The link stays, what it points to is replaced.
        self.target = Path(os.path.realpath(target))
        self.temporary = temporary_beside(self.target)
        self._is_there = True
        self.is_committed = False
        self._handle: int | None = None
        #: A new checksum for Hadoop, on its way as the file is, where the old file has one.
        self._checksum: Path | None = None
        #: A second name of what the new file, and its checksum, take the place of; None: none, or none yet.
        self._kept: Path | None = None
        self._kept_checksum: Path | None = None
        #: `take_back` can make it all as it was.
        self._is_old_kept = False
        remember(self.discard)

    def create(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            self._handle = os.open(self.temporary, flags, 0o666)
            self._usual_mode = stat.S_IMODE(os.fstat(self._handle).st_mode)  # what the umask leaves of 0666
            with contextlib.suppress(OSError):  # not every file system can
                os.fchmod(self._handle, 0o600)
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._handle).st_nlink:
                return
            self._close()  # swept by another run between its first two breaths
            self.temporary = temporary_beside(self.target)

    def seal(self) -> None:
        """Give the complete file the mode and owner of the old one, and see that the disk has all of it."""
        if self._handle is None:
            return  # sealed before it was let go
        self._adopt()
        self._take_over_mode(self._handle)
        self._sync(self._handle)
        old = checksum_path(self.target)
        if (size := piece_bytes(old)) is not None:
            self._checksum = temporary_beside(old)
            write_checksum(self.temporary, self._checksum, like=old, size=size)

    def _sync(self, handle: int) -> None:
        if os.fstat(handle).st_size < _LARGE_BYTES:
            os.fsync(handle)
            return
        from gaecli.storage.cached_pages import pages_given_back

        with pages_given_back(self.target):
            os.fsync(handle)

    def _adopt(self) -> None:
        """Whoever wrote the file may have made it anew, after a first try that failed: what counts is its name."""
        assert self._handle is not None
        there, ours = self.temporary.stat(), os.fstat(self._handle)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            self._close()
            self._handle = os.open(self.temporary, os.O_RDWR | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # not every file system can
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def let_go(self) -> None:
        """Seal the file and close it, where a run has more of them than a process may have open.

        It has no lock of its own any more: those that the run keeps in other files protect it from sweeping.
        """
        self.seal()
        self._close()

    def keep_old(self) -> None:
        """Give the old file a hidden second name, by which `take_back` finds it. `forget_old` comes later.

        It is that of a temporary file, so that a later run sweeps it where this one is killed.
        """
        try:
            self._kept = _second_name(self.target)
            self._kept_checksum = _second_name(checksum_path(self.target))
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            self._is_old_kept = True

    def commit(self) -> None:
        """Rename the sealed file over its target; whoever calls this syncs the directory."""
        if self._checksum is not None:
            checksum = checksum_path(self.target)
            # Gone before the file that it fits is: a file without one is read, one with a wrong one is not.
            checksum.unlink(missing_ok=True)
        with _freed_behind(self.target):
            self.temporary.replace(self.target)
        self._is_there, self.is_committed = False, True
        self._close()
        if self._checksum is not None:
            with contextlib.suppress(OSError):  # the file is there, and is read without it
                self._checksum.replace(checksum)
        forget(self.discard)

    def take_back(self) -> bool:
        """What `keep_old` found is there again, be it a file or nothing; False where that cannot be done."""
        if self.is_committed and not self._is_old_kept:
            return False
        try:
            if self.is_committed:
                _put_back(self._kept, self.target)
                self.is_committed = False
            if self._kept_checksum is not None:
                _put_back(self._kept_checksum, checksum_path(self.target))
        except OSError:
            return False
        return True

    def forget_old(self) -> None:
        for kept in (self._kept, self._kept_checksum):
            if kept is not None:
                with contextlib.suppress(OSError), _freed_behind(kept):  # the next run sweeps it
                    kept.unlink(missing_ok=True)
        self._kept = self._kept_checksum = None

    def discard(self) -> None:
        if self._is_there:
            with contextlib.suppress(OSError):
                self.temporary.unlink(missing_ok=True)
            self._is_there = False
        if self._checksum is not None:  # or of no use any more: it was to be put in its place after the file
            with contextlib.suppress(OSError):
                self._checksum.unlink(missing_ok=True)
        self._close()
        forget(self.discard)

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _take_over_mode(self, handle: int) -> None:
        try:
            old = self.target.stat()
        except FileNotFoundError:
            os.fchmod(handle, self._usual_mode)
            return
        for owner in ((old.st_uid, old.st_gid), (-1, old.st_gid)):  # only root may give files away
            with contextlib.suppress(OSError):
                os.fchown(handle, *owner)
                break
        os.fchmod(handle, stat.S_IMODE(old.st_mode))


def _freed_behind(path: Path) -> contextlib.AbstractContextManager[None]:
    """Meanwhile the file of this name loses it; that of a large one does not keep anybody waiting."""
    with contextlib.suppress(OSError):
        if path.stat().st_size >= _LARGE_BYTES:
            from gaecli.storage.old_file import freed_behind

            return freed_behind(path)
    return contextlib.nullcontext()


def _second_name(path: Path) -> Path | None:
    """A hidden hard link; None where there is no such file."""
    link = temporary_beside(path)
    try:
        os.link(path, link)
    except FileNotFoundError:
        return None
    return link


def _put_back(kept: Path | None, target: Path) -> None:
    if kept is None:
        target.unlink(missing_ok=True)
    else:
        kept.replace(target)


def temporary_beside(path: Path) -> Path:
    """A hidden name that no loader of a data set looks at, and that `sweep` knows."""
    short = os.fsdecode(os.fsencode(path.name)[:_MAX_NAME_BYTES])
    return path.parent / f".{short}.{os.urandom(8).hex()}.tmp"


def is_temporary_name(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def open_files_limit(num_wanted: int) -> int:
    """How many files a run may keep open, after asking for more if it wants more; some are left for reading."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = num_wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return num_wanted if soft == resource.RLIM_INFINITY else max(soft - _OTHER_FILES, 1)


def directory_of(target: Path) -> Path:
    """Where a new file for a target comes to lie; also of a link in a circle, for which `resolve` raises."""
    return Path(os.path.realpath(target)).parent


def sweep(directory: Path) -> None:
    """Remove temporary files that a killed run left in a directory, unless a run is at work there.

    Files in use are locked, but for those of a run that has more of them than it may keep open.
    """
    found = _temporary_paths(directory)
    # One at a time: there may be more of them than a process may have open.
    if all(_is_stale(path) for path in found):
        for path in found:
            _is_stale(path, remove=True)


class TemporaryFile(NamedTuple):
    """What `sweep` removes, once nobody has it."""

    path: Path
    in_use: bool
    num_bytes: int
    modified_ns: int


def temporary_files(directory: Path) -> list[TemporaryFile]:
    """New files of runs that are at work, or were killed."""
    found: list[TemporaryFile] = []
    for path in _temporary_paths(directory):
        with contextlib.suppress(OSError):  # in its place, or gone, since
            status = path.stat(follow_symlinks=False)
            found.append(TemporaryFile(path, not _is_stale(path), status.st_size, status.st_mtime_ns))
    return found


def _temporary_paths(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return [Path(entry.path) for entry in entries if is_temporary_name(entry.name)]
    return []


def _is_stale(path: Path, *, remove: bool = False) -> bool:
    """Whether nobody has the file; removed, if so, before anybody else can look."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


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


def check_writable(path: Path) -> None:
    """Raise where a file may not be replaced, before any work is done for it.

    A rename needs leave of the directory only. A file that is protected is left alone all the same: that is
    what its owner asked for.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise FileError(
            f"`{path}` is not a regular file, so it cannot be replaced by one",
            hint="name a file or a directory with `--output`",
        )
    if not os.access(path, os.W_OK):
        raise FileError(
            f"`{path}` is read-only; the file is as it was",
            hint="give leave with `chmod u+w`, or write elsewhere with `--output`",
        )


def explain(error: OSError, target: Path, state: str = "the file is as it was") -> FileError:
    """An error of the operating system in words that say what to do, and what became of the files."""
    if error.errno == errno.ENOSPC:
        return NoSpaceError(
            f"no space left to write `{target}`; {state}",
            hint=f"free some space, or write elsewhere with `--output`: about {_needed(target)} are needed",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FileError(
            f"no permission to write in `{nearest_folder(target)}`; {state}",
            hint="write elsewhere with `--output`",
        )
    if error.errno == errno.EDQUOT:
        return NoSpaceError(f"the disk quota is used up: `{target}` was not written; {state}")
    if error.errno == errno.EFBIG:
        return FileError(
            f"`{target}` would be larger than a file may be here; {state}",
            hint="see `ulimit -f`, or write elsewhere with `--output`",
        )
    file = next((above for above in target.parents if above.is_file()), None)
    reason = error.strerror or error if file is None else f"`{file}` is a file and no folder"
    return FileError(f"`{target}` cannot be written: {reason}; {state}")


def nearest_folder(target: Path) -> Path:
    """The one that there is: the folders below it do not exist yet."""
    for folder in target.parents:
        with contextlib.suppress(OSError):
            if folder.is_dir():
                return folder
    return target.parent


def _needed(target: Path) -> str:
    try:
        return f"{max(target.stat().st_size * 1.2, 1e6) / 1e6:,.0f} MB"
    except OSError:
        return "as many bytes as the input has, and a fifth more,"


def sync_file(path: Path) -> None:
    """See that the disk, or the server of a shared one, has all of it: whoever goes on with it may be elsewhere."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
