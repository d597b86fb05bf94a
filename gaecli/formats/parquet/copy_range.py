"""Bytes from one file to another at given offsets, in the background when there are many.

`os.copy_file_range` leaves the copy to the kernel, which shares blocks where the file system can; where it
is not to be had (other systems, across some devices), bytes are read and written.

Where the new file takes the place of the old one, rows are mostly written while others are still read. Then the copy
keeps pace with them: what nobody reads any more of the old file is given back, and in its memory the new bytes find
room. To be given other memory can take ten times as long as to copy, on a virtual machine whose host has to find it.
While nobody gets any further, as all rows are looked at first, or torch is imported, there is time for that.

What stands behind the copies is written by the same thread: two that write into one file wait for each other, and
burn a core meanwhile. A second one sends to the disk what is there, so that neither waits for the disk.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gaecli.errors import FileError

_CALL_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
#: Below this a thread costs more than the copy.
SYNCHRONOUS_BYTES = 1 << 20
_PIECE_BYTES = 16 << 20
#: So much is copied or written before it is sent to the disk, which is busy with it while other work goes on.
_SYNC_BYTES = 64 << 20
#: So much may wait until it is written behind the copies.
_WAITING_BYTES = 32 << 20
#: So far, and by as many row groups, the copy may be ahead of what was read for the last time.
_AHEAD_BYTES = 128 << 20
_AHEAD_GROUPS = 4
#: So long nothing was read for the last time: whoever reads is at something else.
_STALLED_SECONDS = 0.1
#: What is given back begins and ends at multiples of this: the kernel may keep so much as one.
_FOLIO_BYTES = 2 << 20
_KERNEL_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class Copy(NamedTuple):
    """`length` bytes at `source` of one file go to `target` of the other."""

    source: int
    target: int
    length: int


class Copier:
    """Makes the copies at once, or, where they are large, in a thread of its own until `join` or `stop`.

    Args:
        follows: the source is going to be replaced, and `read_to` tells how far it was read for the last time.
        largest_group: the bytes of its largest row group.
    """

    def __init__(
        self,
        source: BinaryIO,
        name: str,
        target: Path,
        copies: Sequence[Copy],
        *,
        follows: bool = False,
        largest_group: int = 0,
    ) -> None:
        self._source = source
        self._name = name
        self._target = target
        self._copies = copies
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        #: Something was read or written by others, or is not going to be any more.
        self._is_due = threading.Event()
        self._is_last = False
        #: What is to be written behind the copies, and where; how much that is, and that it became less.
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._num_waiting = 0
        self._is_written = threading.Condition()
        self._is_over = False
        self._disk: _Disk | None = None
        #: Of the source: nobody reads any more before the one, and before the other nothing is in memory.
        self._read_to = self._given_to = 0
        self._is_stalled = False
        self._most_ahead = max(_AHEAD_BYTES, _AHEAD_GROUPS * largest_group)
        self._follows = False
        if sum(copy.length for copy in copies) < SYNCHRONOUS_BYTES:
            with target.open("r+b", buffering=0) as file:
                for copy in copies:
                    self._copy(file, copy)
        else:
            if follows:
                from gaecli.formats.page_cache import can_be_given_back

                self._follows = can_be_given_back(source.fileno())
            # A daemon, so that an interrupted command does not wait for the rest of a large file.
            self._thread = threading.Thread(target=self._run, name="parquet-copy", daemon=True)
            self._disk = _Disk(target)
            self._thread.start()

    @property
    def is_at_work(self) -> bool:
        """The copies are made by a thread of its own."""
        return self._thread is not None

    def check(self) -> None:
        """Raise at once what went wrong so far."""
        if self._error is not None:
            raise self._error
        if self._disk is not None:
            self._disk.check()

    def wrote(self, num_bytes: int) -> None:
        """So much was written to the target, by whomever: it is sent to the disk before long."""
        if self._disk is not None:
            self._disk.wrote(num_bytes)

    def put(self, block: bytes, offset: int) -> None:
        """Write it behind the copies, before long. Raises what went wrong with what was put there before."""
        self._wait_until_left(_WAITING_BYTES)
        with self._is_written:
            self._waiting.append((block, offset))
            self._num_waiting += len(block)
        self._is_due.set()

    def put_all(self) -> None:
        """Wait until all of that is written."""
        self._wait_until_left(0)

    def _wait_until_left(self, num_bytes: int) -> None:
        with self._is_written:
            self._is_written.wait_for(lambda: self._is_over or self._num_waiting <= num_bytes)
        self.check()

    def read_to(self, offset: int) -> None:
        """Nobody reads the source any more before that."""
        self._read_to = offset
        self._is_stalled = False
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
        if self._disk is not None:
            self._disk.join()

    def _run(self) -> None:
        try:
            with self._target.open("r+b", buffering=0) as target:
                self._copy_all(target)
                while not self._is_last:
                    self._wait(target)
                    self._give_back(self._read_to)
                self._write(target)
        except BaseException as error:  # handed on to whoever joins
            self._error = error
        finally:
            with self._is_written:
                self._is_over = True
                self._is_written.notify()

    def _copy_all(self, target: BinaryIO) -> None:
        for piece in self._pieces():
            self._write(target)
            while self._is_too_early(piece):
                self._wait(target, _STALLED_SECONDS)
            if self._stopped.is_set():
                return
            self._copy(target, piece)
            self._give_back(piece.source + piece.length)
            self.wrote(piece.length)
        if self._disk is not None:
            self._disk.sync()

    def _pieces(self) -> Iterator[Copy]:
        for copy in self._copies:
            for start in range(0, copy.length, _PIECE_BYTES):
                length = min(copy.length - start, _PIECE_BYTES)
                yield Copy(copy.source + start, copy.target + start, length)

    def _copy(self, target: BinaryIO, copy: Copy) -> None:
        copy_range(self._source, target, copy, self._name, self._stopped)

    def _is_too_early(self, piece: Copy) -> bool:
        if not self._follows or self._is_stalled or self._is_last or self._stopped.is_set():
            return False
        return piece.source - self._read_to > self._most_ahead

    def _wait(self, target: BinaryIO, seconds: float | None = None) -> None:
        """For something to do, and do it."""
        self._is_stalled = not self._is_due.wait(seconds)
        self._is_due.clear()
        self._write(target)

    def _write(self, target: BinaryIO) -> None:
        """What waits for it."""
        while self._waiting and not self._stopped.is_set():
            block, offset = self._waiting[0]
            write_at(target, block, offset)
            self.wrote(len(block))
            with self._is_written:
                self._waiting.popleft()
                self._num_waiting -= len(block)
                self._is_written.notify()

    def _give_back(self, copied_to: int) -> None:
        """Of what was copied and is not read any more."""
        stop = min(copied_to, self._read_to) // _FOLIO_BYTES * _FOLIO_BYTES
        if self._follows and stop > self._given_to:
            from gaecli.formats.page_cache import give_back

            give_back(self._source.fileno(), self._given_to, stop)
            self._given_to = stop


class _Disk:
    """Sends to the disk what is there of a file, in a thread of its own until `join`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_written = 0
        self._is_due = threading.Event()
        self._is_over = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def wrote(self, num_bytes: int) -> None:
        self._num_written += num_bytes
        if self._num_written >= _SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        """Begin with it."""
        self._num_written = 0
        self._is_due.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="parquet-sync", daemon=True)
            self._thread.start()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        self._is_over = True
        self._is_due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._path.open("r+b", buffering=0) as file:
                while not self._is_over:
                    self._is_due.wait()
                    self._is_due.clear()
                    if not self._is_over:
                        os.fsync(file.fileno())
        except BaseException as error:  # handed on to whoever joins
            self._error = error


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
