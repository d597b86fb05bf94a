"""Bytes from one file to another at given offsets.

`os.copy_file_range` leaves the copy to the kernel, which shares blocks where the file system can; where it
is not to be had (other systems, across some devices), bytes are read and written.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import BinaryIO, NamedTuple

from gaecli.errors import FileError

_CALL_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
_KERNEL_CANNOT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class Copy(NamedTuple):
    """`length` bytes at `source` of one file go to `target` of the other."""

    source: int
    target: int
    length: int


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
