"""Rows of a column that came in several blocks, as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from gaecli.array_types import BoolArray
from gaecli.formats.base import Column


def joined_rows(columns: Sequence[Column]) -> Column:
    """One after the other: rows of the same column of a file."""
    first = columns[0]
    if len(columns) == 1:
        return first
    values = [
        column.values if column.offsets is None else column.values[column.offsets[0] : column.offsets[-1]]
        for column in columns
    ]
    known: dict[Any, int] | None = None
    if any(column.categories is not None for column in columns):
        known = {}
        for index, column in enumerate(columns):
            labels, codes = column.categories, values[index]
            if labels is None:
                distinct, codes = np.unique(codes, return_inverse=True)
                labels = distinct.tolist()
            own = [known.setdefault(label, len(known)) for label in labels]
            values[index] = np.array(own or [0], np.int64)[codes]
    offsets = None
    if first.offsets is not None:
        lengths = [np.diff(column.offsets) for column in columns if column.offsets is not None]
        offsets = np.concatenate(([0], np.cumsum(np.concatenate(lengths)))).astype(np.int64)
    coded = None
    if any(column.coded is not None for column in columns):
        coded = cache(lambda: joined_rows([column.as_ids() for column in columns]))
    return Column(
        np.concatenate(values),
        _joined_flags([column.is_null for column in columns], [len(cells) for cells in values]),
        offsets,
        _joined_flags(
            [column.null_lists for column in columns],
            [0 if column.offsets is None else len(column.offsets) - 1 for column in columns],
        ),
        None if known is None else list(known),
        coded,
    )


def _joined_flags(flags: Sequence[BoolArray | None], sizes: Sequence[int]) -> BoolArray | None:
    if all(one is None for one in flags):
        return None
    parts = [np.zeros(size, np.bool_) if one is None else one for one, size in zip(flags, sizes, strict=True)]
    return np.concatenate(parts)
