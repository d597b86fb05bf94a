"""What a path was probably meant to be, where nothing is there."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path

#: Of letters that two names share, as `difflib` counts them.
_ALIKE = 0.7


def nearest(path: Path, suffixes: tuple[str, ...]) -> Path | None:
    """With the first part that is not there spelt as a folder, or a file with one of the suffixes, that is.

    A suffix that two names share makes nothing alike, and another number is another file: `a.parquet` is not taken
    for `b.parquet`, nor `run_21` for `run_12`.
    """
    missing = next((part for part in (*reversed(path.parents), path) if not part.exists()), path)
    if not missing.parent.is_dir():
        return None
    there = [part for part in missing.parent.iterdir() if _may_be(part, missing, missing != path, suffixes)]
    best = max(there, key=lambda part: _likeness(part, missing), default=None)
    if best is None or _likeness(best, missing)[0] < _ALIKE or _digits(best) != _digits(missing):
        return None
    found = best / path.relative_to(missing)
    return found if found.exists() else None


def _may_be(part: Path, missing: Path, is_folder: bool, suffixes: tuple[str, ...]) -> bool:
    """Of its kind: what has a suffix is a file, and what has none may be either."""
    if part.is_dir():
        return is_folder or not missing.suffix
    return not is_folder and part.name.endswith(suffixes)


def _likeness(part: Path, missing: Path) -> tuple[float, float]:
    """Without their suffixes, then with them."""
    pairs = (part.stem, missing.stem), (part.name, missing.name)
    stems, names = (SequenceMatcher(None, *pair).ratio() for pair in pairs)
    return stems, names


def _digits(part: Path) -> list[str]:
    return re.findall(r"\d+", part.stem)
