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
    found = [_MOMENT.fullmatch(text) if isinstance(text, str) else None for text in texts[:_FIRST_TEXTS]]
    ends = {match.end(1) for match in found if match is not None}
    if None in found or not ends:
        return None
    written = [str(text) for text in texts]
    if len(ends) == 1 and len(set(map(len, written))) == 1:
        end = ends.pop()
        moments = [text[:end] for text in written]
    else:  # a fraction of 0 is left out by some
        moments = [match[1] for match in map(_MOMENT.fullmatch, written) if match is not None]
    if len(moments) < len(written):
        return None
    try:
        return np.array(moments, "datetime64[us]").astype(np.int64)
    except ValueError:
        return None
