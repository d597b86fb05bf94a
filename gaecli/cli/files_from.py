"""Names of inputs from a file or from stdin: `--files-from`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gaecli.errors import UsageError

#: A million names of a hundred characters are 100 MiB.
_MOST_BYTES = 256 << 20


def names_from(files_from: str | None, inputs: Sequence[str]) -> list[str]:
    """The names in a list; NUL stands between them if there is one, else each is a line.

    Names are bytes to the system, and may hold line breaks where NUL stands between them.
    """
    if files_from is None:
        return []
    if not files_from:
        raise UsageError("`--files-from` is an empty name", hint="a variable in the command may not be set")
    if files_from == "-" and "-" in inputs:
        raise UsageError(
            "`-` and `--files-from -` both read stdin", hint="put the list of names into a file of its own"
        )
    names = _split(_read(files_from))
    if not names:
        raise UsageError(f"`--files-from {files_from}` names no input")
    return [os.fsdecode(name) for name in names]


def _read(files_from: str) -> bytes:
    try:
        if files_from == "-":
            if sys.stdin is None:
                raise UsageError("`--files-from -` reads stdin, which is closed")
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(files_from).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"`--files-from {files_from}` cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise UsageError(
            f"`--files-from {files_from}` holds more than {_MOST_BYTES >> 20} MiB: that is no list of names",
            hint="name a text file with one input per line, or several shorter ones in turn",
        )
    return content


def _split(text: bytes) -> list[bytes]:
    if b"\0" in text:
        return re.findall(rb"[^\0]+", text)
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    return [line for line in lines if line.strip()]
