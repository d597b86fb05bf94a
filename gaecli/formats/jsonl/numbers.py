"""Whole numbers in JSON that 64 bits do not hold, such as the integer of a UUID.

pyarrow takes them for float64, in which many of them are one and the same: as ids they would join episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa

from gaecli.formats.arrow.buffers import values_of

#: The widest that pyarrow reads JSON into.
_EXACT = pa.decimal256(76, 0)
#: From here on float64 does not hold every whole number.
_FIRST_INEXACT = 2.0**53


def inexact_columns(table: pa.Table) -> set[str]:
    """Columns of float64, or lists of it, that hold whole numbers which float64 may have rounded."""
    return {
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if any(_is_inexact(chunk) for chunk in column.chunks)
    }


def _is_inexact(array: pa.Array) -> bool:
    if pa.types.is_list(array.type):
        return _is_inexact(array.flatten())
    if not pa.types.is_float64(array.type) or not len(array):
        return False
    values = values_of(array)
    return bool((np.abs(values) >= _FIRST_INEXACT).any()) and bool((values == np.floor(values)).all())


def with_exact_columns(
    schema: pa.Schema, names: Iterable[str], parse: Callable[[pa.Schema], Iterable[pa.Table]]
) -> pa.Schema:
    """The schema with those of the columns as decimals that can be read so throughout.

    Args:
        schema: as pyarrow found it.
        names: columns that may be inexact.
        parse: the tables of the file, read with a schema.
    """
    for name in sorted(names):
        field = schema.field(name)
        exact = pa.field(name, _exact_type(field.type))
        if exact.type != field.type and _can_be_read(exact, parse):
            schema = schema.set(schema.get_field_index(name), exact)
    return schema


def _exact_type(data_type: pa.DataType) -> pa.DataType:
    if pa.types.is_list(data_type):
        return pa.list_(_exact_type(data_type.value_type))
    return _EXACT if pa.types.is_float64(data_type) else data_type


def _can_be_read(field: pa.Field, parse: Callable[[pa.Schema], Iterable[pa.Table]]) -> bool:
    """Not if there is a fraction somewhere, or a number of more digits."""
    try:
        for _ in parse(pa.schema([field])):
            pass
    except pa.ArrowInvalid:
        return False
    return True
