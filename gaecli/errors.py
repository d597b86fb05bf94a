"""Every failure a user can cause, with the exit code it ends in.

One message per error: what happened, where, and in `hint` what to do. The command line prints it
without a stack trace; Python callers catch `GaeError` or one of its kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: `KEY:SECRET@` before the host of a URI; `container@account` of Azure's is no secret, and has no colon.
_USER = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^/:@\s`'\"]*:(?!\d+/)[^@\s`'\"]*@")
#: What signs or opens a URI, in its query.
_SIGNATURE = re.compile(
    r"([?&][A-Za-z0-9_-]*(?:signature|credential|token|secret|password|access[-_]?key|api[-_]?key|\bsig)[A-Za-z0-9_-]*=)"
    r"[^&\s`'\"]+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """The text with keys and signatures in its URIs masked: what is shown ends up in logs.

    `s3://KEY:SECRET@bucket/x` becomes `s3://***@bucket/x`, and `?X-Amz-Signature=…` `?X-Amz-Signature=***`.
    """
    if "://" not in text:
        return text
    return _SIGNATURE.sub(r"\1***", _USER.sub(r"\1***@", text))


class GaeError(Exception):
    """A failure with a message for the user. `exit_code` is what `gae` ends with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = without_secrets(message)
        self.hint = None if hint is None else without_secrets(hint)
        super().__init__(self.message)


class UsageError(GaeError):
    """The command is wrong or leaves open what is meant: a flag decides it."""

    exit_code = 2


class DataError(GaeError):
    """The file was read, and what is in it cannot be computed with."""

    exit_code = 3


class FileError(GaeError):
    """A file cannot be read or written, or is not of the format it claims."""

    exit_code = 4


class NoSpaceError(FileError):
    """The disk, or what may be used of it, is full: other new files have no place there either."""


class NotBegunError(NoSpaceError):
    """A new file was not even tried, as one before it had no room: that of `first`."""

    def __init__(self, message: str, first: str) -> None:
        super().__init__(message)
        self.first = first


class UnknownOutcomeError(FileError):
    """A commit failed and nobody can say whether it was made: what it may refer to has to stay."""


class DeviceError(GaeError):
    """The device asked for is not there."""

    exit_code = 5


class EngineError(GaeError):
    """What carries tasks out is not there, not as it should be, or gave up on one."""

    exit_code = 5


class MissingExtraError(GaeError):
    """An optional dependency is not installed; the hint names the extra."""

    exit_code = 5


def not_one_of(flag: str, given: object, words: Iterable[str]) -> UsageError:
    """`given` is none of the words that the flag takes; near misses are told."""
    import difflib

    words = list(words)
    near = difflib.get_close_matches(str(given).lower().replace("_", "-"), words, n=1, cutoff=0.6)
    return UsageError(
        f"`{flag}` is `{given}`; it must be one of {', '.join(words)}",
        hint=f"did you mean `{near[0]}`?" if near else None,
    )


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line; its kind where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
