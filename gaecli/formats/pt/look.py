"""Which archives are of `torch.save`: of a pickle and of storages, and no arrays of NumPy."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

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
