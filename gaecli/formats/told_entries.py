"""Whole numbers with an entry per trajectory that stand beside the columns: in attributes, in metadata, in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gaecli.array_types import Array

#: A longer text is read by nobody for its lengths of episodes.
_LONGEST_TEXT = 1 << 24


def entries_of(numbers: Any) -> Array | None:
    """[E] whole numbers as they are; of [E, 2] starts and stops of rows that follow one another, the stops."""
    found = np.asarray(numbers)
    if found.dtype.kind not in "iu" or found.ndim not in (1, 2) or len(found) < 2:
        return None
    if found.ndim == 1:
        return found
    if found.shape[1] != 2:
        return None
    starts, stops = found.astype(np.int64).T
    for beyond in (0, 1):  # the last row of each may be named, or the one behind it
        if starts[0] == 0 and (starts[1:] == stops[:-1] + beyond).all():
            stops_behind: Array = stops + beyond
            return stops_behind
    return None


def pairs_in(cells: Array) -> Array:
    """[E, 2] starts and stops of cells of two named numbers, of which the second may be a length by its name."""
    first, second = (cells[name].astype(np.int64) for name in cells.dtype.names or ())
    name = (cells.dtype.names or ("", ""))[1].lower()
    is_length = "len" in name or name in ("size", "count", "num_steps", "n")
    return np.stack([first, first + second if is_length else second], axis=1)


def entries_in(name: str, text: str) -> Mapping[str, Array]:
    """Those in a text of JSON: a list, or lists in an object, by its name and theirs."""
    if len(text) > _LONGEST_TEXT or text[:1] not in ("[", "{"):
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    fields = document.items() if isinstance(document, dict) else [("", document)]
    found = {f"{name}.{field}" if field else name: _whole_numbers(value) for field, value in fields}
    return {path: entries for path, entries in found.items() if entries is not None}


def _whole_numbers(value: object) -> Array | None:
    if not isinstance(value, list) or not value:
        return None
    try:
        return entries_of(np.array(value))
    except (ValueError, OverflowError):  # lists of different lengths
        return None
