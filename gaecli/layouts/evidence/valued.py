"""Columns of a few values, one of which may say that a trajectory ends: `status`, `step_type`, flags of 0 and 255."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.errors import GaeError
from gaecli.formats.base import Column, RolloutFile
from gaecli.names import suggests_end

#: A column of more values tells of something else than ends.
MOST_VALUES = 8
#: A longer text is no word for an end.
_MOST_LETTERS = 40
_FIRST_ROWS = 1 << 10
#: Up to here a float64 is written in all its digits.
_WHOLE_FLOATS = 1e15
#: `LAST` of dm_env, and flags in words.
_WORDS_OF_ENDS = frozenset(("last", "true", "yes", "y", "t"))
#: Of texts alone: among numbers 1 may be any kind of step.
_TEXTS_OF_ONE = frozenset(("1", "1.0"))


def value_cells(column: Column) -> Mapping[str, BoolArray] | None:
    """Where each value of a column stands, by its text; None where there are too many. Null is none of them."""
    values, absent = column.values, column.is_null
    if values.dtype.kind not in "iuf" or not _are_few(values.reshape(-1)[:_FIRST_ROWS]):
        return None
    distinct = _distinct(values if absent is None else values[~absent])
    if len(distinct) > MOST_VALUES:
        return None
    labels = [_label(column, value) for value in distinct.tolist()]
    if any(label is None for label in labels):
        return None
    found = {
        label: values == value for label, value in zip(labels, distinct, strict=True) if label is not None
    }
    return found if absent is None else {label: where & ~absent for label, where in found.items()}


def likely_value(file: RolloutFile, name: str, like: str) -> str | None:
    """Of the values in the first rows, the one that may say that a trajectory ends: by its word, or the rarest."""
    try:
        _, _, columns = next(iter(file.blocks(file.units(_FIRST_ROWS, like)[0], [name], _FIRST_ROWS)))
    except (GaeError, StopIteration, IndexError):
        return None
    cells = value_cells(columns[name])
    is_null = columns[name].is_null
    if not cells or len(cells) + (is_null is not None and bool(is_null.any())) < 2:
        return None
    cells = {label: where for label, where in cells.items() if not _stands_in_a_row(where)}
    if not cells:
        return None
    is_text = columns[name].categories is not None
    # Of those that are equally rare the later one: 2 of dm_env's step types.
    return min(
        reversed(list(cells)),
        key=lambda label: (
            0 if is_text and label in _TEXTS_OF_ONE else _rank(label),
            int(np.count_nonzero(cells[label])),
        ),
    )


def _stands_in_a_row(where: BoolArray) -> bool:
    """As what is said of whole episodes does, and of steps on the way."""
    flat = where.reshape(-1)
    return 2 * int(np.count_nonzero(flat[1:] & flat[:-1])) >= max(int(np.count_nonzero(flat)), 1)


def likely_number(values: Array) -> str | None:
    """Of numbers that are not all 0 and 1, the one that may be an end: 1 beside what is less, or the rarest.

    None where some are infinite: that is no code for anything.
    """
    if not np.isfinite(values).all():
        return None
    distinct, counts = np.unique(values, return_counts=True)
    is_one = 1 in distinct and distinct[-1] == 1
    return "1" if is_one else _number_text(distinct[::-1][np.argmin(counts[::-1])].item())


def _number_text(value: float) -> str:
    """As one writes it; whole numbers to the last digit, so that no two have one text."""
    is_whole = isinstance(value, int) or (value % 1 == 0 and abs(value) < _WHOLE_FLOATS)
    return str(int(value)) if is_whole else f"{value:g}"


def says_last(label: str) -> bool:
    """Whether a value is the word for a last step, or says yes."""
    return label.lower() in _WORDS_OF_ENDS


def _rank(label: str) -> int:
    return 0 if says_last(label) else 1 if suggests_end(label) else 2


def _are_few(values: Array) -> bool:
    return len(_distinct(values)) <= MOST_VALUES


def _distinct(values: Array) -> Array:
    if not values.size or values.dtype.kind == "f":
        return np.unique(values[np.isfinite(values)] if values.dtype.kind == "f" else values)
    low, high = int(values.min()), int(values.max())
    if high - low > _FIRST_ROWS:
        return np.unique(values)
    # From the lowest on, which need not be an int64: codes are unsigned now and then.
    above = (
        values.reshape(-1) - values.dtype.type(low)
        if values.dtype.kind == "u"
        else values.astype(np.int64) - low
    )
    counts = np.bincount(above.reshape(-1).astype(np.int64))
    return np.array([low + place for place in np.flatnonzero(counts).tolist()], values.dtype)


def _label(column: Column, value: float) -> str | None:
    if column.categories is None:
        return _number_text(value)
    text = column.categories[int(value)] if value >= 0 else ""
    return text if isinstance(text, str) and len(text) <= _MOST_LETTERS else None
