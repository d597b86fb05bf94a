"""stdin and stdout as files: what comes in is spooled, what goes out is delivered when it is complete.

Parquet and NPZ need a seek, which a pipe has not. And a reader of stdout gets all of a result or nothing of it.
"""

from __future__ import annotations

import errno
import shutil
import sys
from pathlib import Path

from gaecli.errors import FileError, UsageError

#: What the user writes for stdin and stdout.
PIPE = "-"
_BLOCK_BYTES = 1 << 20


def check_stdin() -> None:
    """A person at a keyboard types no Parquet file."""
    if sys.stdin is None:
        raise UsageError("`-` reads a rollout file from stdin, which is closed")
    if sys.stdin.isatty():
        raise UsageError(
            "`-` reads a rollout file from stdin, which is a terminal",
            hint="pipe one in: `cat rollouts.parquet | gae compute - -o - > new.parquet`",
        )


def check_stdout() -> None:
    if sys.stdout is None or sys.__stdout__ is None:  # None as the process began: `>&-`
        raise UsageError("`--output -` writes to stdout, which is closed", hint="drop `>&-`, or name a file")
    if sys.stdout.isatty():
        raise UsageError(
            "`--output -` writes a binary file to stdout, which is a terminal",
            hint="redirect it, `> new.parquet`, or pipe it into a program that reads it",
        )


def spool_stdin(path: Path) -> None:
    """All of stdin into a file."""
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, _BLOCK_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise FileError(
                f"no space left in `{path.parent}` to spool stdin", hint="set TMPDIR to a place with more"
            ) from error
        raise FileError(f"stdin cannot be read: {error.strerror or error}") from error


def deliver(path: Path) -> None:
    """A complete file to stdout. Raises `BrokenPipeError` if nobody reads it to its end."""
    stdout = sys.stdout.buffer
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            rest = memoryview(block)
            while rest:  # with PYTHONUNBUFFERED a write may take a part, as when its reader leaves
                rest = rest[stdout.write(rest) :]
    stdout.flush()
