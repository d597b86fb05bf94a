"""Numbers for names of whatever kind, so that arrays of them can be compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from gaecli.layouts.keys import as_labels
from gaecli.rollouts import IndexArray, Names


def numbered(names: Sequence[Names]) -> list[IndexArray]:
    """A number for every name, equal where the names are."""
    if all(isinstance(part, np.ndarray) or not any(name is not None for name in part) for part in names):
        return _integers(names)
    known: dict[Hashable, int] = {}
    return [
        np.fromiter((known.setdefault(name, len(known)) for name in as_labels(part)), np.int64, len(part))
        for part in names
    ]


def _integers(names: Sequence[Names]) -> list[IndexArray]:
    """The same where all are integers or None, whose number is 0; without an object for any of them."""
    integers = [part for part in names if isinstance(part, np.ndarray)]
    _, numbers = np.unique(np.concatenate([np.zeros(0, np.int64), *integers]), return_inverse=True)
    parts = iter(np.split(numbers + 1, np.cumsum([len(part) for part in integers])))
    return [next(parts) if isinstance(part, np.ndarray) else np.zeros(len(part), np.int64) for part in names]
