"""Bytes from one file to another at given offsets, in the background when there are many.

`os.copy_file_range` leaves the copy to the kernel, which shares blocks where the file system can; where it
is not to be had (other systems, across some devices), bytes are read and written.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gaecli.errors import FileError

#: Below this a thread costs more than the copy.
SYNCHRONOUS_BYTES = 1 << 20
_CALL_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
#: So much is copied before it is sent to the disk, which is busy with it while other work goes on; and so much is
#: written by others.
_SYNC_BYTES = 256 << 20
_WRITTEN_BYTES = 32 << 20
_KERNEL_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class Copy(NamedTuple):
    """`length` bytes at `source` of one file go to `target` of the other."""

    source: int
    target: int
    length: int


class Copier:
    """Makes the copies at once, or, where they are large, in a thread of its own until `join` or `stop`.

    The thread also sends to the disk what others write to the target meanwhile, so that little is left at the end.
    """

    def __init__(self, source: BinaryIO, name: str, target: Path, copies: Sequence[Copy]) -> None:
        self._source = source
        self._name = name
        self._target = target
        self._copies = copies
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        #: Bytes of others that the disk may not have yet; set: it is time for them, or nothing more comes.
        self._num_unsynced = 0
        self._is_due = threading.Event()
        self._is_last = False
        if sum(copy.length for copy in copies) < SYNCHRONOUS_BYTES:
            self._copy()
        else:
            # A daemon, so that an interrupted command does not wait for the rest of a large file.
            self._thread = threading.Thread(target=self._run, name="parquet-copy", daemon=True)
            self._thread.start()

    def check(self) -> None:
        """Raise at once what went wrong so far."""
        if self._error is not None:
            raise self._error

    def wrote(self, num_bytes: int) -> None:
        """So much was written to the target by somebody else."""
        self._num_unsynced += num_bytes
        if self._num_unsynced >= _WRITTEN_BYTES:
            self._num_unsynced = 0
            self._is_due.set()

    def join(self) -> None:
        """Wait for the copies; raises what went wrong with them."""
        self._end()
        self.check()

    def stop(self) -> None:
        """Give up what is not yet copied and wait until the files are let go."""
        self._stopped.set()
        self._end()

    def _end(self) -> None:
        self._is_last = True
        self._is_due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._copy(os.fsync)
            with self._target.open("rb", buffering=0) as target:
                while not self._is_last:
                    self._is_due.wait()
                    self._is_due.clear()
                    if not self._is_last:
                        os.fsync(target.fileno())
        except BaseException as error:  # handed on to whoever joins
            self._error = error

    def _copy(self, sync: Callable[[int], None] = lambda handle: None) -> None:
        with self._target.open("r+b", buffering=0) as target:
            for copy in self._copies:
                for start in range(0, copy.length, _SYNC_BYTES):
                    length = min(copy.length - start, _SYNC_BYTES)
                    part = Copy(copy.source + start, copy.target + start, length)
                    copy_range(self._source, target, part, self._name, self._stopped)
                    if not self._stopped.is_set():
                        sync(target.fileno())


def copy_range(
    source: BinaryIO, target: BinaryIO, copy: Copy, name: str, stopped: threading.Event | None = None
) -> None:
    """Copy one range between two unbuffered files, in calls small enough to be stopped between them."""
    kernel_copies = hasattr(os, "copy_file_range")
    done = 0
    while done < copy.length and not (stopped is not None and stopped.is_set()):
        count = 0
        if kernel_copies:
            length = min(copy.length - done, _CALL_BYTES)
            count = _kernel_copy(source, target, Copy(copy.source + done, copy.target + done, length))
            # 0 means the end of the file, or a file system that pretends: reading will tell.
            kernel_copies = count > 0
        if not count:
            source.seek(copy.source + done)
            block = source.read(min(copy.length - done, _BLOCK_BYTES))
            if not block:
                raise changed(name)
            write_at(target, block, copy.target + done)
            count = len(block)
        done += count


def write_at(target: BinaryIO, block: bytes, offset: int) -> None:
    """Write all of `block`; an unbuffered file may take it in parts."""
    target.seek(offset)
    rest = memoryview(block)
    while rest:
        rest = rest[target.write(rest) :]


def _kernel_copy(source: BinaryIO, target: BinaryIO, copy: Copy) -> int:
    try:
        return os.copy_file_range(source.fileno(), target.fileno(), copy.length, copy.source, copy.target)
    except OSError as error:
        if error.errno in _KERNEL_CANNOT:
            return 0
        raise


def identity(file: BinaryIO) -> tuple[int, int]:
    """Differs once the open file was written to."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def changed(name: str) -> FileError:
    """The error for a file that did not stay what it was while it was read."""
    return FileError(f"`{name}` was changed while it was read", hint="run again once nothing writes to it")
