"""Several sequences in one list, as training packs them: where each begins, by lengths, offsets or positions.

`cu_seqlens` holds 0 and the end of each sequence of a row, `seq_lens` how long each is, `position_ids` begins anew
with each.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.formats.base import Column
from gaecli.names import word_set, words_of

_POSITION_WORDS = word_set("position positions pos")
_LENGTH_WORDS = word_set("cu seq seqs seqlen seqlens packed pack len lens length lengths offset offsets")
_NO_LENGTH_WORDS = word_set("id ids idx index")


def is_position(name: str) -> bool:
    return not _POSITION_WORDS.isdisjoint(words_of(name))


def are_lengths(name: str) -> bool:
    """Lengths, or offsets, of the sequences of a row."""
    words = words_of(name)
    return not _LENGTH_WORDS.isdisjoint(words) and _NO_LENGTH_WORDS.isdisjoint(words)


def sequence_ids(column: Column, name: str, offsets: IndexArray, start: int) -> Column | None:
    """[items] an id for each sequence of each row, which no other row has; None where the column is none of these.

    `offsets`: of the items in their rows. `start`: the first row in the file.
    """
    if column.offsets is None or column.is_null is not None or column.values.dtype.kind not in "iu":
        return None
    begins = positions_begin(column.values, offsets) if is_position(name) else None
    if begins is None and are_lengths(name) and not np.array_equal(np.diff(column.offsets), np.diff(offsets)):
        begins = sequences_begin(column.values, column.offsets, offsets)
    if begins is None:
        return None
    # Of rows as well: blocks of one file share no id.
    first_row = np.int64(start) << 32
    return Column(first_row + np.cumsum(begins, dtype=np.int64))


def sequences_begin(values: IndexArray, lists: IndexArray, offsets: IndexArray) -> BoolArray | None:
    """[items] a sequence begins, by lengths or by offsets from 0 to that of the row; None of other numbers."""
    lengths = np.diff(offsets)
    by_row = [values[begin:end].astype(np.int64) for begin, end in pairwise(lists.tolist())]
    if all(_are_offsets(found, length) for found, length in zip(by_row, lengths, strict=True)):
        starts = [found[:-1] for found in by_row]
    elif all(_are_lengths(found, length) for found, length in zip(by_row, lengths, strict=True)):
        starts = [np.cumsum(found) - found for found in by_row]
    else:
        return None
    begins = np.zeros(int(offsets[-1]) + 1, np.bool_)  # an empty sequence at the end begins behind it
    for row_start, found in zip(offsets[:-1], starts, strict=True):
        begins[row_start + found] = True
    return begins[:-1]


def _are_offsets(found: IndexArray, length: int) -> bool:
    return len(found) > 1 and found[0] == 0 and found[-1] == length and bool((np.diff(found) >= 0).all())


def _are_lengths(found: IndexArray, length: int) -> bool:
    return bool((found >= 0).all()) and int(found.sum()) == length


def positions_begin(values: IndexArray, offsets: IndexArray) -> BoolArray | None:
    """[items] positions begin anew: each is one further, or that of the first of its row; None of other numbers."""
    rows = np.diff(offsets) > 0
    begins = np.zeros(len(values), np.bool_)
    begins[offsets[:-1][rows]] = True
    first = np.repeat(values[offsets[:-1][rows]], np.diff(offsets)[rows])
    before = np.concatenate((values[:1], values[:-1]))
    begins |= values == first
    return begins if (begins | (values == before + 1)).all() else None
