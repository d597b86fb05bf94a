"""Every failure a user can cause, with the exit code it ends in.

One message per error: what happened, where, and in `hint` what to do. The command line prints it
without a stack trace; Python callers catch `GaeError` or one of its kinds.
"""

from __future__ import annotations


class GaeError(Exception):
    """A failure with a message for the user. `exit_code` is what `gae` ends with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GaeError):
    """The command is wrong or leaves open what is meant: a flag decides it."""

    exit_code = 2


class DataError(GaeError):
    """The file was read, and what is in it cannot be computed with."""

    exit_code = 3


class FileError(GaeError):
    """A file cannot be read or written, or is not of the format it claims."""

    exit_code = 4


class DeviceError(GaeError):
    """The device asked for is not there."""

    exit_code = 5


class MissingExtraError(GaeError):
    """An optional dependency is not installed; the hint names the extra."""

    exit_code = 5
