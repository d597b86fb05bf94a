"""stdout and stderr of the process: never closed, and with words for what goes wrong in writing to them."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

from gaecli.errors import FileError


def prepare_streams() -> None:
    """Before anything is opened, or written."""
    _open_closed_files()
    sys.stdout = _telling(1, "stdout", sys.stdout)
    sys.stderr = _telling(2, "stderr", sys.stderr)


def _open_closed_files() -> None:
    """`gae ... >&-` has no stdout: a file opened next would take its place, and its number."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)


def _telling(handle: int, name: str, stream: TextIO | None) -> TextIO:
    """The same stream over a file whose failures are told, in whichever layer and command they come up."""
    file = io.BufferedWriter(_Output(handle, name))
    if stream is None:
        return io.TextIOWrapper(file, encoding="utf-8")
    is_direct = name == "stderr" or stream.isatty()
    return io.TextIOWrapper(file, stream.encoding, stream.errors, line_buffering=is_direct)


class _Output(io.FileIO):
    def __init__(self, handle: int, name: str) -> None:
        super().__init__(handle, "wb", closefd=False)
        self._title = name

    def write(self, content: object) -> int:
        try:
            return super().write(content)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _not_written(self._title, error) from error


def _not_written(name: str, error: OSError) -> FileError:
    if error.errno == errno.ENOSPC:
        return FileError(f"no space left to write {name}")
    if error.errno == errno.EDQUOT:
        return FileError(f"the disk quota is used up: {name} was not written in full")
    if error.errno == errno.EFBIG:
        return FileError(f"{name} would be larger than a file may be here", hint="see `ulimit -f`")
    return FileError(f"{name} cannot be written: {error.strerror or error}")
