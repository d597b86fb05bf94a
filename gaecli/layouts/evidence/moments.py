"""Columns of dates and times, by what they hold: numbers that say which came first."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gaecli.array_types import Array
from gaecli.formats.base import Column

#: As ISO 8601 has it: other ways of writing do not say which number is the month.
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?)\d{0,3}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
)
_FIRST_TEXTS = 64
_UP_TO_SECONDS = len("2026-01-01T00:00:00")


def moments_in(column: Column) -> Array | None:
    """Of each cell, null or not; None where some are no moments. Where a clock is put back they may be off."""
    if column.coded is not None:
        return column.values if column.values.dtype.kind == "i" else None
    if not column.categories:
        return None
    moments = _moments_of(column.categories)
    return None if moments is None else moments[column.values]


def _moments_of(texts: Sequence[object]) -> Array | None:
    """Whether they are such is told by the first ones: there may be as many as rows."""
    first = texts[:_FIRST_TEXTS]
    found = [_MOMENT.fullmatch(text) if isinstance(text, str) else None for text in first]
    ends = {match.end(1) for match in found if match is not None}
    if None in found or not ends:
        return None
    end = ends.pop() if len(ends) == 1 else _UP_TO_SECONDS  # fractions of 0 are left out by some
    try:
        moments = np.array([str(text)[:end] for text in texts], "datetime64[us]").astype(np.int64)
    except ValueError:
        return None
    return moments
