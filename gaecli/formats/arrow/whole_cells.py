"""Structs, and lists of them, as what they are as a whole: messages of a chat are equal, or they are not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gaecli.formats.arrow.buffers import nulls_of
from gaecli.formats.base import Column
from gaecli.formats.cell_labels import label_of


class CellError(Exception):
    """A cell that Python has no value for: moments of nanoseconds, years beyond 9999."""


def whole_cells(array: pa.Array) -> Column:
    """[n] codes of the cells, whose labels are equal where the cells are."""
    codes = np.full(len(array), -1, np.int64)
    known: dict[str, int] = {}
    try:
        for row, cell in enumerate(array.to_pylist()):
            if cell is not None:
                codes[row] = known.setdefault(label_of(cell), len(known))
    except (ValueError, OverflowError, RecursionError) as error:
        raise CellError(str(error)) from error
    return Column(codes, nulls_of(array), categories=list(known))
