"""Structs, and lists of them, as what they are as a whole: messages of a chat are equal, or they are not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gaecli.array_types import IndexArray
from gaecli.formats.arrow.buffers import CellError, nulls_of, primitive_array, values_of
from gaecli.formats.base import Column
from gaecli.formats.cell_labels import codes_of_runs, label_of


def whole_cells(array: pa.Array) -> Column:
    """[n] codes of the cells, whose labels are equal where the cells are."""
    alike = _codes(array)
    distinct, firsts, where = np.unique(alike, return_index=True, return_inverse=True)
    known: dict[str, int] = {}
    codes = np.full(len(distinct), -1, np.int64)
    try:
        # A text for each of those that differ: responses to one prompt repeat it.
        for index, cell in enumerate(array.take(primitive_array(firsts, pa.int64())).to_pylist()):
            if cell is not None:
                codes[index] = known.setdefault(label_of(cell), len(known))
    except (ValueError, OverflowError, RecursionError) as error:
        raise CellError(str(error)) from error
    return Column(codes[where.reshape(-1)], nulls_of(array), categories=list(known))


def _codes(array: pa.Array) -> IndexArray:
    """[n] equal where cells are; cells that a schema has in two ways may differ."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    try:
        if pa.types.is_struct(array.type):
            return _codes_of_structs(array)
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            return _codes_of_lists(array)
        indices = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        # `fill_null`, as all that makes Arrow of Python's numbers, would import pandas.
        return _with_nulls(values_of(indices.indices).astype(np.int64), indices.indices)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return np.arange(len(array))


def _codes_of_structs(array: pa.StructArray) -> IndexArray:
    codes = np.zeros(len(array), np.int64)
    for field in array.flatten():
        part = _codes(field)
        packed = codes * (int(part.max(initial=0)) + 2) + part + 1
        codes = np.unique(packed, return_inverse=True)[1].reshape(-1)
    return _with_nulls(codes, array)


def _codes_of_lists(array: pa.ListArray) -> IndexArray:
    lengths = values_of(pc.list_value_length(array)).astype(np.int64)
    return _with_nulls(codes_of_runs(_codes(array.flatten()), lengths), array)


def _with_nulls(codes: IndexArray, array: pa.Array) -> IndexArray:
    is_null = nulls_of(array)
    return codes if is_null is None else np.where(is_null, -1, codes)
