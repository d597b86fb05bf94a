"""What gaecli knows of its columns in a file of JSON lines or CSV: a hidden file beside it.

These formats have no place for metadata: a field for it would be a column for everybody who reads the file. The name
begins with a dot so that no loader takes it for data (`datasets` reads every `.json` of a folder). It may be left
behind, or lie beside another file of the same name: it is believed for what its digests fit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gaecli.formats.stored import parse_document

_MOST_BYTES = 16 << 20
_MOST_NAME_BYTES = 255


def record_path(path: Path) -> Path | None:
    """Where it is for a file, or for what a link leads to; None where the name would be too long."""
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    name = f".{real.name}.gae.json"
    return real.with_name(name) if len(os.fsencode(name)) <= _MOST_NAME_BYTES else None


def read_record(path: Path) -> dict[str, Any] | None:
    """The document beside a file; None where there is none, or something else of its name."""
    place = record_path(path)
    if place is None:
        return None
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            return None
        with open(handle, "rb", closefd=False) as file:
            return parse_document(file.read(_MOST_BYTES).decode())
    except (OSError, ValueError):
        return None
    finally:
        os.close(handle)


def believed(
    document: dict[str, Any],
    payload_of: Callable[[list[str]], str],
    digests_of: Callable[[list[str]], Mapping[str, str]],
) -> dict[str, Any] | None:
    """As much of a record as is of this file.

    All of it where all but gaecli's columns is as it was, whoever edited those. Else the columns whose cells are
    those that were written: another file of the same name, with such columns of somebody else's, has none.
    """
    earlier = document.get("earlier")
    entries = [document, *(earlier if isinstance(earlier, list) else [])]
    digests, payload = document.get("digests"), document.get("payload")
    if not isinstance(digests, dict) or not isinstance(payload, str):
        return None
    names = sorted({*digests, *(name for entry in entries for name in _names(entry))})
    if payload_of(names) == payload.partition(" edited: ")[0]:
        return document
    found = digests_of(names)
    kept = [
        {**entry, "columns": [name for name in _names(entry) if found.get(name, "") == digests.get(name)]}
        for entry in entries
        if isinstance(entry, dict)
    ]
    if not any(entry["columns"] for entry in kept):
        return None
    return {**kept[0], "earlier": kept[1:]} if kept[1:] else kept[0]


def _names(entry: Any) -> list[str]:
    names = entry.get("columns") if isinstance(entry, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
