"""What the cells of a CSV column are: whole numbers, numbers, flags or texts, by all of them and not by the first.

    null    every cell is empty
    bool    every cell is true or false (also True, TRUE, …)
    int64   every cell is a whole number that 64 bits hold
    double  every cell is a number, nan or inf
    string  anything else: dates, codes such as 007, whole numbers beyond 64 bits, numbers beyond float64

An empty cell is null, and so is one of `NULLS` among numbers or flags. In texts an empty cell in quotes is an
empty text.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gaecli.formats.arrow.buffers import values_of

#: What R, pandas, Spark and others write for a missing number.
NULLS = ("", "NA", "N/A", "null", "NULL", "None", "<NA>")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_FEW = 32
_NUMBER = r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_ZERO, _NINE = b"09"


class ColumnFacts:
    """What is known of one column after some of its pieces; in which order they come does not matter."""

    def __init__(self) -> None:
        self._has_texts = self._has_flags = self._has_numbers = self._has_big = False
        self._is_whole, self._has_beyond = True, False
        #: The first text.
        self._sample = ""
        #: (row, cell) of the first text among numbers.
        self._odd: tuple[int, str] | None = None

    def add(self, cells: pa.Array, first_row: int) -> None:
        if self._has_texts or cells.null_count == len(cells):
            return
        if not (self._add_numbers(cells) or self._add_spelled(_cleaned(cells))):
            self._add_texts(cells, first_row)

    @property
    def data_type(self) -> pa.DataType:
        is_mixed = self._has_flags and self._has_numbers
        is_inexact = self._has_numbers and (self._has_big if self._is_whole else self._has_beyond)
        if self._has_texts or is_mixed or is_inexact:
            return pa.string()
        if self._has_flags:
            return pa.bool_()
        if self._has_numbers:
            return pa.int64() if self._is_whole else pa.float64()
        return pa.null()

    @property
    def told_type(self) -> str:
        """As messages name it: of a column that one cell keeps from being numbers, that cell."""
        if self._odd is None:
            return str(self.data_type)
        row, cell = self._odd
        return f"{self.data_type}, as row {row:,} holds `{cell[:40]}`"

    def unusable(self, delimiter: str) -> str | None:
        """Why its cells are texts, where somebody took them for numbers."""
        sample = self._sample
        if delimiter != "," and _DECIMAL_COMMA.fullmatch(sample.strip()):
            return f"its numbers have decimal commas (`{sample}`): write them with points"
        if sample.lstrip().startswith("[") and sample.rstrip().endswith("]"):
            return "its cells are lists written as texts; write one step per row, or lists as Parquet or JSON lines"
        return None

    def _add_numbers(self, cells: pa.Array) -> bool:
        if _has_padded(cells):
            return False
        if self._is_whole and _cast(cells, pa.int64()) is not None:
            self._has_numbers = True
            return True
        numbers = _cast(cells, pa.float64())
        is_beyond = numbers is not None and _has_rounded_to_infinity(cells, numbers)
        is_whole = self._is_whole and _are_whole(cells)
        if not is_whole and (numbers is None or is_beyond):
            return False
        self._has_beyond |= is_beyond
        self._has_big |= is_whole and _cast(_cleaned(cells), pa.int64()) is None
        self._is_whole = is_whole
        self._has_numbers = True
        return True

    def _add_spelled(self, cells: pa.Array) -> bool:
        if cells.null_count == len(cells) or self._add_numbers(cells):
            return True
        if pc.all(pc.is_in(cells.drop_null(), pa.array([*_TRUE, *_FALSE]))).as_py():
            self._has_flags = True
            return True
        return False

    def _add_texts(self, cells: pa.Array, first_row: int) -> None:
        self._has_texts = True
        self._sample = cells.drop_null()[0].as_py()
        is_number = pc.match_substring_regex(_cleaned(cells), _NUMBER)
        others = pc.indices_nonzero(pc.invert(pc.fill_null(is_number, True)))
        if len(others) and (self._has_numbers or pc.any(is_number).as_py()):
            row = others[0].as_py()
            self._odd = first_row + row, cells[row].as_py()


def typed(cells: pa.Array, data_type: pa.DataType) -> pa.Array:
    """Cells that were settled to be of this type. `pa.ArrowInvalid` where they are not any more."""
    if pa.types.is_string(data_type):
        return cells
    if pa.types.is_null(data_type):
        return pa.nulls(len(cells))
    if pa.types.is_boolean(data_type):
        is_true, is_false = (pc.is_in(cells, pa.array(words)) for words in (_TRUE, _FALSE))
        if not pc.all(pc.or_(is_true, is_false), min_count=0).as_py():
            cells = _cleaned(cells)
            is_true = pc.is_in(cells, pa.array(_TRUE))
        return pc.if_else(cells.is_valid(), is_true, pa.scalar(None, pa.bool_()))
    found = _cast(cells, data_type)
    return _cleaned(cells).cast(data_type) if found is None else found


def _cast(cells: pa.Array, data_type: pa.DataType) -> pa.Array | None:
    """None where a cell is no such number. A few are tried first: pyarrow makes a message for each that is not."""
    try:
        cells.slice(0, _FEW).cast(data_type)
        return cells.cast(data_type)
    except pa.ArrowInvalid:
        return None


def _cleaned(cells: pa.Array) -> pa.Array:
    """Without spaces around them and signs that say nothing; words for a missing number are null."""
    cells = pc.ascii_trim_whitespace(cells)
    is_null = pc.is_in(cells, pa.array(NULLS))
    cells = pc.if_else(is_null, pa.scalar(None, pa.string()), cells)
    return pc.replace_substring_regex(cells, r"^\+([0-9.iInN])", r"\1")


def _are_whole(cells: pa.Array) -> bool:
    return all(
        pc.all(pc.match_substring_regex(some, r"^[+-]?[0-9]+$"), min_count=0).as_py()
        for some in (cells.slice(0, _FEW), cells)
    )


def _has_padded(cells: pa.Array) -> bool:
    """Whether a cell begins with a zero that a number would not have: 007, 0x1F."""
    starts, lengths = _starts_and_lengths(cells)
    codes = np.frombuffer(cells.buffers()[2] or b"", np.uint8)
    if not len(codes):
        return False
    last = len(codes) - 1
    first = codes[np.minimum(starts, last)]
    signed = (first == ord("-")) | (first == ord("+"))
    starts = starts + signed
    is_zero = (codes[np.minimum(starts, last)] == _ZERO) & (lengths > 1 + signed)
    behind = codes[np.minimum(starts[is_zero] + 1, last)]
    return bool((((behind >= _ZERO) & (behind <= _NINE)) | ((behind | 0x20) == ord("x"))).any())


def _starts_and_lengths(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(starts, lengths) of the texts in their buffer."""
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    offsets = offsets.astype(np.int64)
    return offsets[:-1], np.diff(offsets)


def _has_rounded_to_infinity(cells: pa.Array, numbers: pa.Array) -> bool:
    """1e400 is a number that float64 does not have."""
    is_infinite = np.isinf(values_of(numbers))
    if not is_infinite.any():
        return False
    written = cells.filter(pa.array(is_infinite))
    return not pc.all(pc.match_substring(written, "inf", ignore_case=True)).as_py()
