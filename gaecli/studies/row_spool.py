"""Rows of one reading, kept on disk for the readings after it, however they are cut into blocks."""

from __future__ import annotations

import os
import tempfile
from typing import IO, Any

import numpy as np

from gaecli.array_types import Array, FloatArray
from gaecli.errors import DataError
from gaecli.formats.base import OutputColumn
from gaecli.pipeline.column_builder import OUTPUT_DTYPE
from gaecli.rollouts import Placement

#: The sign of a row that holds no number: it equals none.
_NONE = 2


class RowSpool:
    """Written once, stream after stream and row after row, then read as often as wanted."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as this
        #: By the number of the stream.
        self._starts: dict[int, int] = {}

    def begin(self, stream: int) -> None:
        """What is written now is of this stream."""
        self._starts[stream] = self._file.seek(0, os.SEEK_END)

    def go_back(self, stream: int) -> None:
        """What is read now is of this one."""
        self._file.seek(self._starts[stream])

    def write(self, rows: Array) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())

    def read(self, count: int) -> Array:
        rows: Array = np.frombuffer(self._file.read(count * self._dtype.itemsize), self._dtype)
        if len(rows) < count:
            raise DataError(
                "two rules read the same file as different numbers of steps, and are not compared"
            )
        return rows

    def close(self) -> None:
        self._file.close()


class SignSpool(RowSpool):
    """Of the numbers of the first rule, which the others are compared with: a byte per row."""

    def __init__(self) -> None:
        super().__init__(np.int8)

    def write_signs(self, numbers: FloatArray, placement: Placement) -> None:
        signs = np.where(np.isfinite(numbers), np.sign(numbers), _NONE).astype(np.int8)
        self.write(placement.to_rows(signs, _NONE))

    def read_signs(self, placement: Placement) -> Array:
        """[N] of the steps of the next block."""
        return placement.to_steps(self.read(placement.num_rows))


class ColumnSpool:
    """A column as it will be written, until those beside it are known too: five bytes per row."""

    def __init__(self) -> None:
        self._values, self._nulls = RowSpool(OUTPUT_DTYPE), RowSpool(np.bool_)

    def begin(self, stream: int) -> None:
        self._values.begin(stream)
        self._nulls.begin(stream)

    def go_back(self, stream: int) -> None:
        self._values.go_back(stream)
        self._nulls.go_back(stream)

    def write(self, column: OutputColumn) -> None:
        self._values.write(column.values)
        self._nulls.write(
            np.zeros(len(column.values), np.bool_) if column.is_null is None else column.is_null
        )

    def read(self, beside: OutputColumn) -> OutputColumn:
        """The rows of one that is known, in its lists."""
        count = len(beside.values)
        is_null = self._nulls.read(count)
        return OutputColumn(
            self._values.read(count), is_null if is_null.any() else None, beside.offsets, beside.null_lists
        )

    def close(self) -> None:
        self._values.close()
        self._nulls.close()
