"""Units over the borders of blocks: which of them go on with what the block before had of a unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.layouts.keys import numbered
from gaecli.records import dataclass
from gaecli.rollouts import BoolArray, IndexArray, UnitLanes


@dataclass(frozen=True, eq=False)
class UnitEntries:
    """[lanes] each: of the first unit of the trajectory that enters a lane."""

    #: It is the last unit that the trajectory had before; it is another one.
    same: BoolArray
    other: BoolArray
    #: If what is taken for ids were flags, it would be the other way round.
    doubtful: BoolArray

    def part(self, start: int, stop: int) -> UnitEntries:
        return UnitEntries(self.same[start:stop], self.other[start:stop], self.doubtful[start:stop])


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
    found = UnitEntries(*(np.zeros(len(heads), np.bool_) for _ in range(3)))
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
    return found


def _joined(numbers: Sequence[IndexArray]) -> IndexArray:
    return np.concatenate([np.zeros(0, np.int64), *numbers])
