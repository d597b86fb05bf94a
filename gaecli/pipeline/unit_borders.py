"""Units over the borders of blocks: which of them go on with what the block before had of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.layouts.keys import numbered
from gaecli.records import dataclass
from gaecli.rollouts import UnitLanes, UnitsAhead


@dataclass(frozen=True, eq=False)
class UnitEntries:
    """[lanes] each: of the first unit of the trajectory that enters a lane."""

    #: It is the last unit that the trajectory had before; it is another one.
    same: BoolArray
    other: BoolArray
    #: If what is taken for ids were flags, it would be the other way round.
    doubtful: BoolArray
    #: The same of steps, where these are in the unit of the row after them. None: in that of their own row.
    ahead: EntriesAhead | None = None

    def part(self, start: int, stop: int) -> UnitEntries:
        ahead = None if self.ahead is None else self.ahead.part(start, stop)
        return UnitEntries(self.same[start:stop], self.other[start:stop], self.doubtful[start:stop], ahead)

    @property
    def enters(self) -> BoolArray:
        """[lanes] the first step of the trajectory here that is in a unit goes on with the last one before."""
        return self.same if self.ahead is None else self.ahead.enters


@dataclass(frozen=True, eq=False)
class EntriesAhead:
    """[lanes] each."""

    enters: BoolArray
    #: The row that follows the last step is in a unit; it is the last one that the trajectory had before.
    exist: BoolArray
    same: BoolArray
    #: The last step is in no unit, and has a reward.
    lost: BoolArray

    def part(self, start: int, stop: int) -> EntriesAhead:
        return EntriesAhead(**{name: array[start:stop] for name, array in vars(self).items()})


def entries(
    lanes: Sequence[UnitLanes], links: Sequence[tuple[IndexArray, IndexArray]], is_through: BoolArray
) -> UnitEntries:
    """Of the lanes of all blocks. `links`: lanes and those in which they go on, in the order of the blocks."""
    names = numbered([names for one in lanes for names in (one.heads, one.tails)])
    heads, tails = _joined(names[::2]), _joined(names[1::2])
    has_heads, has_tails, ended = (
        np.concatenate([np.zeros(0, np.bool_), *(getattr(one, name) for one in lanes)])
        for name in ("has_heads", "has_tails", "ended")
    )
    by_flags = np.repeat([one.by_flags for one in lanes], [len(one.ended) for one in lanes]).astype(np.bool_)
    found = UnitEntries(*np.zeros((3, len(heads)), np.bool_))
    for before, after in links:
        both = has_tails[before] & has_heads[after]
        is_named = tails[before] == heads[after]
        same = is_named & ~(by_flags[before] & ended[before])
        found.same[after], found.other[after] = both & same, both & ~same
        found.doubtful[after] = both & (is_named == ended[before])
        # Where nothing of the lane is in a unit, what was there before is what the next lane goes on with.
        empty = is_through[after] & ~has_tails[after]
        for array in (has_tails, tails, ended, by_flags):
            array[after[empty]] = array[before[empty]]
    if not any(one.ahead is not None for one in lanes):
        return found
    return replace(found, ahead=_entries_ahead([one.ahead for one in lanes], found, links, is_through))


def _entries_ahead(
    parts: Sequence[UnitsAhead | None],
    rows: UnitEntries,
    links: Sequence[tuple[IndexArray, IndexArray]],
    is_through: BoolArray,
) -> EntriesAhead:
    """Where each step is in the unit of the row after it. The first row of a trajectory is behind no step."""
    known = [one for one in parts if one is not None]
    first_inside, has_more, goes_on, tail_has_more, has_reward = (
        np.concatenate([getattr(one, name) for one in known])
        for name in ("first_inside", "has_more", "goes_on", "tail_has_more", "has_reward")
    )
    exist, same = np.zeros((2, len(is_through)), np.bool_)
    for before, after in links:
        exist[before], same[before] = first_inside[after], rows.same[after]
    #: The trajectory at the end of the lane has had a step in a unit, but for the last step of the lane.
    has_any, enters = tail_has_more, np.zeros(len(is_through), np.bool_)
    for before, after in links:
        has_before = first_inside[after] | has_any[before]
        of_rows = np.where(first_inside[after], goes_on[after], rows.same[after])
        of_last = is_through[after] & exist[after] & same[after]
        enters[after] = has_before & np.where(has_more[after], of_rows, of_last)
        has_any[after] |= is_through[after] & has_before
    return EntriesAhead(enters, exist, same & exist, has_reward & ~exist)


def _joined(numbers: Sequence[IndexArray]) -> IndexArray:
    return np.concatenate([np.zeros(0, np.int64), *numbers])
