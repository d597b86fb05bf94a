"""Which archives are of `torch.save`: of a pickle and of storages, and no arrays of NumPy; what is wrong with one."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from gaecli.errors import FileError
from gaecli.formats.base import unreadable

PICKLE = "data.pkl"
_DAMAGE = (OSError, ValueError, struct.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def looks_like_torch(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                return False
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _DAMAGE:
        return False  # the reader of archives tells what is wrong
    return any(name.rpartition("/")[2] == PICKLE for name in names)


def pt_error(path: Path, error: Exception, member: str | None = None) -> FileError:
    """What to raise from it."""
    hint = "the file may be truncated, or hold more than a dict of tensors"
    tensor = None if member is None else f"tensor `{member}`"
    what = str(error).strip() or "it ends too early"
    return unreadable(path, error, "a file of `torch.save`", hint, member=tensor, what=what)
