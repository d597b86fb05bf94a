"""A mask as a count: so many slots of a trajectory are steps, and what stands behind them is padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.errors import DataError
from gaecli.formats.base import Column


def mask_of_counts(
    column: Column, name: str, widths: IndexArray, path: Path, where: Callable[[int], str]
) -> BoolArray:
    """[sum of widths] True for the first `column[i]` of the `widths[i]` slots of every trajectory i.

    Raises:
        DataError: a count is missing, negative, or larger than there are slots.
    """
    counts = column.values.reshape(-1).astype(np.int64)
    wrong = (counts < 0) | (counts > widths)
    if column.is_null is not None:
        wrong |= column.is_null.reshape(-1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"`{name}` of `{path}` is {column.label(first)} at {where(first)}, where there are {int(widths[first])} "
            f"slots; {int(wrong.sum()):,} such in all",
            hint="a mask of one number per trajectory says how many of its slots are steps; name another column with "
            "`--mask-column`",
        )
    starts = np.repeat(np.cumsum(widths) - widths, widths)
    mask: BoolArray = np.arange(int(widths.sum())) - starts < np.repeat(counts, widths)
    return mask
