"""Rows of another format as arrays, one member per column, of which each is read by itself, twice where it must."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gaecli.array_types import Array
from gaecli.formats.arrow.buffers import nulls_of, values_of
from gaecli.formats.arrow.columns import is_list
from gaecli.formats.npz.members import SUFFIX
from gaecli.formats.npz.writer import array_header
from gaecli.formats.printed import is_text, printed
from gaecli.formats.rows import Rows, UnfitRowsError

#: Texts of an array all take the room of the longest: so much more than they have is no array any more.
_MOST_TEXT_BYTES = 1 << 30
_TIMES = (pa.types.is_timestamp, pa.types.is_duration, pa.types.is_date)


def unfit(data_type: pa.DataType) -> str | None:
    item, depth = data_type, 0
    while is_list(item):
        item, depth = item.value_type, depth + 1
    is_number = pa.types.is_integer(item) or pa.types.is_floating(item) or pa.types.is_boolean(item)
    if is_number or (depth == 0 and (is_text(item) or pa.types.is_null(item))):
        return None
    if depth == 0 and any(is_time(item) for is_time in _TIMES) and getattr(item, "tz", None) is None:
        return None
    return f"has a type that arrays have not ({data_type})"


def write_rows(rows: Rows, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for field in rows.schema:
            if "\0" in field.name:
                raise UnfitRowsError(
                    field.name.replace("\0", "\\0"), "has a NUL character, where names in archives end"
                )
            column = _column(rows, field)
            with archive.open(field.name + SUFFIX, "w", force_zip64=True) as member:
                member.write(array_header((rows.num_rows, *column.shape), column.dtype))
                for array in _arrays(rows, field.name):
                    member.write(np.ascontiguousarray(column.values(array)).tobytes())


class _ArrayColumn:
    """A column as an array: its type and the shape of a cell."""

    def __init__(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape

    def values(self, array: pa.Array) -> Array:
        if self.dtype.kind == "U":
            return np.array([text or "" for text in printed(array)], self.dtype)
        while is_list(array.type):
            array = array.flatten()
        if pa.types.is_null(array.type):
            return np.full(len(array), np.nan, self.dtype)
        is_null = nulls_of(array)
        if self.dtype.kind in "mM":
            numbers = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
            values = values_of(numbers).astype(np.int64).view(self.dtype)
            return values if is_null is None else np.where(is_null, self.dtype.type("NaT"), values)
        values = values_of(array)
        if is_null is None:
            return values
        if self.dtype.kind != "f":
            raise UnfitRowsError(self.name, f"has nulls, and an array of {self.dtype} has none")
        return np.where(is_null, self.dtype.type(np.nan), values)


def _column(rows: Rows, field: pa.Field) -> _ArrayColumn:
    if is_list(field.type):
        shape, item = _shape(rows, field)
        return _ArrayColumn(field.name, np.dtype(item.to_pandas_dtype()), shape)
    if is_text(field.type):
        return _ArrayColumn(field.name, _text_dtype(rows, field.name))
    if pa.types.is_date(field.type):
        return _ArrayColumn(field.name, np.dtype("M8[D]" if pa.types.is_date32(field.type) else "M8[ms]"))
    if pa.types.is_timestamp(field.type) or pa.types.is_duration(field.type):
        kind = "M8" if pa.types.is_timestamp(field.type) else "m8"
        return _ArrayColumn(field.name, np.dtype(f"{kind}[{field.type.unit}]"))
    if pa.types.is_null(field.type):
        return _ArrayColumn(field.name, np.dtype(np.float64))
    return _ArrayColumn(field.name, np.dtype(field.type.to_pandas_dtype()))


def _arrays(rows: Rows, name: str) -> Iterator[pa.Array]:
    for table in rows.tables([name]):
        yield from table.column(0).chunks


def _text_dtype(rows: Rows, name: str) -> np.dtype[Any]:
    longest = total = 1
    for array in _arrays(rows, name):
        texts = [text or "" for text in printed(array)]
        if any(text.endswith("\0") for text in texts):
            raise UnfitRowsError(name, "has texts that end in a NUL character, which those of arrays cannot")
        lengths = [len(text) for text in texts]
        longest, total = max(longest, max(lengths, default=0)), total + sum(lengths)
    if 4 * longest * rows.num_rows > max(_MOST_TEXT_BYTES, 64 * total):
        raise UnfitRowsError(
            name,
            f"has a text of {longest:,} characters, and in an array all texts take the room of the longest",
        )
    return np.dtype(f"U{longest}")


def _shape(rows: Rows, field: pa.Field) -> tuple[tuple[int, ...], pa.DataType]:
    """That of every cell. `UnfitRowsError` where they differ."""
    shape: tuple[int, ...] | None = None
    for array in _arrays(rows, field.name):
        found, inner = [], array
        while is_list(inner.type):
            lengths = set(inner.value_lengths().to_pylist())
            if len(lengths) > 1 or None in lengths:
                raise UnfitRowsError(
                    field.name, "has lists of different lengths, and an array has one for all rows"
                )
            found.append(lengths.pop() if lengths else 0)
            inner = inner.flatten()
        if len(array) and shape not in (None, tuple(found)):
            raise UnfitRowsError(
                field.name, "has lists of different lengths, and an array has one for all rows"
            )
        shape = tuple(found) if len(array) else shape
    item = field.type
    while is_list(item):
        item = item.value_type
    return shape or (0,), item
