"""Columns in whose order the rows do not stand: numbers of rows, counters of all steps, times.

Rows that were shuffled, drawn or sorted by something else follow one another in the file and not in time. What
numbered them is often still there, under any name: the index of a data frame, the key of a table, a clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.names import word_set, words_of
from gaecli.records import dataclass
from gaecli.shell_words import word
from gaecli.summary import WarningNote

#: Of steps to the next row, so many at least go up, and so many go down.
_EACH_WAY = 0.2
#: Fewer rows may stand in any order.
_FEWEST_ROWS = 10
#: Numbers drawn at random would all differ with this chance.
_CHANCE = 0.005
#: Numbers of a clock, in seconds or less since 1970, are above; others go up evenly, of so many rows.
_SINCE_1970, _FEWEST_EVEN_ROWS = 1e8, 16
#: Of the distances of a clock so many are at most so much longer than the usual one.
_EVEN_SHARE, _EVEN_DISTANCE = 0.95, 2.0
_FIRST_ROWS = 1 << 10
#: Words of numbers that go up by what a row is worth, or by where a program keeps it.
_OTHERS = word_set("rank ranks ranking tree priority priorities price score")


@dataclass(frozen=True)
class ScatterFacts:
    """Of one block: its rows, and the steps from one to the next within what is taken for one trajectory."""

    rows: int
    pairs: int = 0
    rises: int = 0
    falls: int = 0
    #: The numbers are all different; what all their distances are multiples of; the lowest and the highest.
    is_single: bool = True
    unit: int = 0
    low: float = math.inf
    high: float = -math.inf
    is_clock: bool = True
    #: Fewer rows say nothing.
    fewest: int = _FEWEST_ROWS
    #: The numbers at the first and at the last step of every lane.
    firsts: FloatArray | None = None
    lasts: FloatArray | None = None


def scatter_in(
    numbers: Array,
    follow: BoolArray,
    lanes: tuple[IndexArray, IndexArray],
    *,
    is_time: bool,
    holds_dates: bool,
) -> ScatterFacts | None:
    """None where the numbers go one way, or are none of rows.

    `follow`: [N - 1] the next row is taken for the next step.

    `lanes`: the first and the last step of each. `is_time`: the column is called so; `holds_dates`: its cells say
    so themselves.
    """
    if (
        numbers.ndim != 1
        or numbers.dtype.kind not in "iuf"
        or not _go_both_ways(numbers, follow, _FIRST_ROWS)
    ):
        return None
    head = numbers[:_FIRST_ROWS]
    if not (
        _are_distinct(head, holds_dates)
        or ((is_time or holds_dates) and _are_distinct_in_lanes(head, lanes[0]))
    ):
        return None
    in_order = np.sort(numbers)
    if numbers.dtype.kind == "f" and not np.isfinite(in_order[[0, -1]] if len(in_order) else in_order).all():
        return None
    distances = np.diff(in_order)
    is_single = bool((distances > 0).all())
    is_whole = numbers.dtype.kind in "iu"
    is_absolute = holds_dates or (len(in_order) > 0 and bool(in_order[0] >= _SINCE_1970))
    is_clock = holds_dates or (is_time and (is_absolute or _goes_evenly(distances[distances > 0])))
    if not (is_clock or (is_whole and is_single)):
        return None
    rises, falls = _ways(numbers, follow)
    low, high = (float(in_order[0]), float(in_order[-1])) if len(in_order) else (math.inf, -math.inf)
    unit = int(np.gcd.reduce(distances)) if is_whole and len(distances) else 0
    firsts, lasts = (numbers[at].astype(np.float64) for at in lanes)
    pairs = int(np.count_nonzero(follow))
    fewest = _FEWEST_ROWS if is_absolute or not is_clock else _FEWEST_EVEN_ROWS
    return ScatterFacts(
        len(numbers), pairs, rises, falls, is_single, unit, low, high, is_clock, fewest, firsts, lasts
    )


def _ways(numbers: Array, follow: BoolArray) -> tuple[int, int]:
    pairs = (numbers[1:] > numbers[:-1], numbers[1:] < numbers[:-1])
    rises, falls = (int(np.count_nonzero(where & follow)) for where in pairs)
    return rises, falls


def _go_both_ways(numbers: Array, follow: BoolArray, most: int) -> bool:
    """By the first rows; of few rows all blocks together tell."""
    head, pairs = numbers[:most], follow[: max(min(most, len(numbers)) - 1, 0)]
    each_way = _EACH_WAY * int(np.count_nonzero(pairs))
    return len(head) < _FEWEST_ROWS or min(_ways(head, pairs)) >= each_way


def _are_distinct(numbers: Array, holds_dates: bool) -> bool:
    """Clocks of several environments may stand at one time."""
    distinct = len(np.unique(numbers))
    return 2 * distinct >= len(numbers) if holds_dates else distinct == len(numbers)


def _are_distinct_in_lanes(numbers: Array, starts: IndexArray) -> bool:
    """A time that each environment counts by itself."""
    _, codes = np.unique(numbers, return_inverse=True)
    lanes = np.searchsorted(starts, np.arange(len(numbers)), side="right")
    return len(np.unique(lanes * (len(numbers) + 1) + codes)) == len(numbers)


def _goes_evenly(distances: Array) -> bool:
    """A last block of few rows says nothing against it."""
    if len(distances) + 1 < _FEWEST_EVEN_ROWS:
        return True
    usual = float(np.median(distances))
    return bool(np.count_nonzero(distances <= _EVEN_DISTANCE * usual) >= _EVEN_SHARE * len(distances))


def scattered(
    name: str,
    path: str,
    blocks: Sequence[ScatterFacts | None],
    borders: Sequence[tuple[int, int]],
    *,
    is_text: bool,
    silence: str,
) -> WarningNote | None:
    """Of one column in all blocks.

    Args:
        borders: the lanes of all blocks of which one goes on with the other.
        is_text: of dates, which order nothing.
        silence: the flag that says so.
    """
    found = [block for block in blocks if block is not None]
    if not found or len(found) < len(blocks) or not _OTHERS.isdisjoint(words_of(name)):
        return None
    rows, pairs, rises, falls = (
        sum(getattr(block, what) for block in found) for what in ("rows", "pairs", "rises", "falls")
    )
    firsts, lasts = (
        np.concatenate([numbers for block in found if (numbers := getattr(block, side)) is not None])
        for side in ("firsts", "lasts")
    )
    over = [firsts[following] - lasts[lane] for lane, following in borders]
    pairs += len(over)
    rises += sum(step > 0 for step in over)
    falls += sum(step < 0 for step in over)
    if rows < _FEWEST_ROWS or min(rises, falls) < max(_EACH_WAY * pairs, 1):
        return None
    is_clock = all(block.is_clock for block in found) and rows >= max(block.fewest for block in found)
    if not (is_clock or _are_dense(found, rows)):
        return None
    return WarningNote(
        "unused-id",
        f"`{name}`, which no role uses, goes up at {rises:,} and down at {falls:,} of {pairs:,} steps to the next "
        f"row of `{path}`, as if the rows stood in another order than they were recorded in",
        path,
        falls,
        hint=f"{in_order_of(name, is_text=is_text)}; `{silence} none` to leave them",
    )


def in_order_of(name: str, *, is_text: bool) -> str:
    """How rows come into the order of a column; `is_text`: of dates, which order nothing as they are."""
    if is_text:
        return f"write the rows in the order of `{word(name)}`, or it as a timestamp for `--step-column`"
    return f"pass `--step-column {word(name)}` to take them in its order"


def _are_dense(found: Sequence[ScatterFacts], rows: int) -> bool:
    """So many different numbers of so few that they number something: by chance one would have come twice."""
    unit = math.gcd(*(block.unit for block in found)) or 1
    room = (max(block.high for block in found) - min(block.low for block in found)) / unit + 1
    if not all(block.is_single for block in found) or room < rows:
        return False
    # Of the product of 1 - i / room over all rows the logarithm, by the first two terms of its series.
    chance = -rows * (rows - 1) / 2 / room - rows * (rows - 1) * (2 * rows - 1) / 12 / room**2
    return chance < math.log(_CHANCE)
