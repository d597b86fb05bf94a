"""Arrow arrays as NumPy arrays and back, by their buffers.

`Array.to_numpy`, `pa.array` and everything in `pyarrow.compute` would do, but the first two import
pandas where it is installed (half a second), and the last one wraps two hundred functions (a tenth).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gaecli.array_types import Array, BoolArray

_DTYPES = {
    pa.int8(): np.int8,
    pa.int16(): np.int16,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.uint8(): np.uint8,
    pa.uint16(): np.uint16,
    pa.uint32(): np.uint32,
    pa.uint64(): np.uint64,
    pa.float16(): np.float16,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
}


class CellError(Exception):
    """A cell that Python has no value for: moments of nanoseconds, years beyond 9999."""


def values_of(array: pa.Array) -> Array:
    """The values of an array of numbers or flags; 0 and False where it is null."""
    if not len(array):
        return np.zeros(0, np.bool_ if pa.types.is_boolean(array.type) else _DTYPES[array.type])
    if pa.types.is_boolean(array.type):
        values: Array = _bits(array.buffers()[1], array.offset, len(array))
    else:
        values = np.frombuffer(array.buffers()[1], _DTYPES[array.type])
        values = values[array.offset : array.offset + len(array)]
    nulls = nulls_of(array)
    return values if nulls is None else np.where(nulls, values.dtype.type(0), values)


def nulls_of(array: pa.Array) -> BoolArray | None:
    """Where an array is null; None if nowhere."""
    if not array.null_count:
        return None
    return ~_bits(array.buffers()[0], array.offset, len(array))


def primitive_array(values: Array, data_type: pa.DataType, is_null: BoolArray | None = None) -> pa.Array:
    """Of numbers, flags, or texts of ASCII."""
    if values.dtype.kind == "U":
        buffers = [validity_buffer(is_null), *_text_buffers(values)]
    else:
        stored = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
        buffers = [validity_buffer(is_null), pa.py_buffer(np.ascontiguousarray(stored))]
    return pa.Array.from_buffers(data_type, len(values), buffers)


def _text_buffers(values: Array) -> list[pa.Buffer]:
    """Ends and letters. A text of NumPy is a row of letters of four bytes each, filled up with 0."""
    letters = np.ascontiguousarray(values).view(np.uint32).reshape(len(values), -1)
    is_letter = letters != 0
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(np.count_nonzero(is_letter, axis=1), out=offsets[1:])
    return [pa.py_buffer(offsets), pa.py_buffer(letters[is_letter].astype(np.uint8))]


def validity_buffer(is_null: BoolArray | None) -> pa.Buffer | None:
    return None if is_null is None else pa.py_buffer(np.packbits(~is_null, bitorder="little"))


def _bits(buffer: pa.Buffer, offset: int, length: int) -> BoolArray:
    first, last = offset // 8, (offset + length + 7) // 8
    packed = np.frombuffer(buffer, np.uint8)[first:last]
    skipped = offset - 8 * first
    return np.unpackbits(packed, bitorder="little")[skipped : skipped + length].view(np.bool_)
