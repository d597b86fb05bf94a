"""Texts in HDF5, which tell rows apart: of fixed length, or of any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gaecli.formats.base import Column

#: Read at a time. A text of fixed length may be long; another is not longer than the file, but rows may share it.
_PIECE_BYTES, _LEAST_ROWS, _MOST_ROWS = 1 << 28, 16, 1 << 16


def is_text(dtype: Any) -> bool:
    import h5py

    return h5py.check_string_dtype(dtype) is not None


def coded(dataset: Any, places: Iterable[slice]) -> Column:
    """Codes of the cells at these places, one after the other."""
    known: dict[bytes, int] = {}
    codes: list[int] = []
    longest = dataset.dtype.itemsize if dataset.dtype.kind == "S" else dataset.file.id.get_filesize()
    num_rows = min(max(_PIECE_BYTES // longest, _LEAST_ROWS), _MOST_ROWS)
    for place in places:
        for start in range(place.start, place.stop, num_rows):
            cells = dataset[start : min(start + num_rows, place.stop)].reshape(-1).tolist()
            codes += [known.setdefault(cell, len(known)) for cell in cells]
    labels = [cell.decode("utf-8", "surrogateescape") for cell in known]
    return Column(np.array(codes, np.int64), categories=labels)
