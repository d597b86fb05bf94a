"""Whether next values inside trajectories are V of the next row, and if not, of what else.

A next value says which row came next. Where rows were shuffled, stand in reverse order or take turns, it is V of
another row, or goes with V of its own row alone. Where all but a few are V of the next row to the last digit, another
trajectory begins behind those few. Values of a target network are other numbers than V of the next row,
and go with it all the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.records import dataclass
from gaecli.rollouts import Block

#: Of so many first steps of a block pairs are looked at; the rows that they are V of are sought in so many.
_FIRST_STEPS, _SEARCHED_STEPS = 1 << 12, 1 << 16
#: Numbers so close are one V, by how far V usually goes from row to row.
_SAME_VALUE = 0.02
#: Of pairs, so many with V of the next row are a chain.
FEWEST_CHAINED = 0.1
#: Of numbers, so many have to be there once alone for one to say which row it is of.
_MOSTLY_SINGLE = 0.5


@dataclass(frozen=True)
class ChainFacts:
    """Of the first steps of a block that another step of the same trajectory follows, and that have a next value."""

    pairs: int
    #: Their next value is V of the next row, or close to it. Nothing else is looked at where these are many.
    chained: int
    #: Of these, those that are V of the next row to the last digit.
    exact: int = 0
    #: All next values are this number.
    level: float | None = None
    #: Next values that are V of one other row, and how many rows behind it most of these are.
    elsewhere: int = 0
    distance: int | None = None
    #: Rank correlation of next values with V of their own row, and of the next row.
    with_own: float = 0.0
    with_next: float = 0.0

    @property
    def is_broken(self) -> bool:
        """Hardly any next value is V of the next row."""
        return self.chained <= FEWEST_CHAINED * self.pairs

    @property
    def is_whole(self) -> bool:
        return self.chained == self.pairs


def chain_facts(block: Block) -> ChainFacts | None:
    """Of a block with values and next values; None where there is nothing to look at, or V is one number."""
    assert block.next_values is not None
    at = np.flatnonzero(_inside(block))
    given = block.next_values[at].astype(np.float64)
    own, following = block.values[at].astype(np.float64), block.values[at + 1].astype(np.float64)
    usable = np.isfinite(given) & np.isfinite(own) & np.isfinite(following)
    at, given, own, following = at[usable], given[usable], own[usable], following[usable]
    if not len(at):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        # One of the columns may be stored in float32, the other one not.
        is_exact = given.astype(np.float32) == following.astype(np.float32)
        distances = np.abs(given - following)
        # The median: rows that stand in no order have ends, and jumps, inside.
        usual = np.sort(np.abs(following - own))[len(own) // 2]
        # Of V that hardly moves both rows are near.
        is_near = (distances <= _SAME_VALUE * usual) & (distances <= np.abs(given - own))
    chained = int(np.count_nonzero(is_near | is_exact))
    facts = ChainFacts(len(at), chained, int(np.count_nonzero(is_exact)))
    if not facts.is_broken:
        return facts
    if (own == own[0]).all():
        return None
    if len(at) > 1 and (given == given[0]).all():
        return replace(facts, level=float(given[0]) + 0.0)
    elsewhere, distance = _found_elsewhere(block.values[:_SEARCHED_STEPS], at, given)
    with_own, with_next = (_rank_correlation(given, values) for values in (own, following))
    return replace(facts, elsewhere=elsewhere, distance=distance, with_own=with_own, with_next=with_next)


def _inside(block: Block) -> BoolArray:
    """Of the first steps, those that the next one of the same trajectory follows."""
    count = max(min(block.num_steps - 1, _FIRST_STEPS), 0)
    inside = ~(block.cuts[:count] | block.terminated[:count])
    for ends in (block.stream_ends, block.lanes.stops - 1):
        if ends is not None:
            inside[ends[ends < count]] = False
    for kept in (block.is_step, *(None if out is None else ~out for out in (block.dropped, block.masked))):
        if kept is not None:
            inside &= kept[:count] & kept[1 : count + 1]
    return inside


def _found_elsewhere(values: Array, at: Array, given: FloatArray) -> tuple[int, int | None]:
    """How many of `given`, of rows `at`, are V of one row alone that is not the next one; so far behind are most."""
    distinct, first, counts = np.unique(values.astype(np.float32), return_index=True, return_counts=True)
    is_single = counts == 1
    if np.count_nonzero(is_single) < _MOSTLY_SINGLE * len(values):
        return 0, None
    wanted = given.astype(np.float32)
    places = np.searchsorted(distinct, wanted).clip(max=len(distinct) - 1)
    found = (distinct[places] == wanted) & is_single[places]
    distances = (first[places] - at)[found]
    distances = distances[distances != 1]
    if not len(distances):
        return 0, None
    each, times = np.unique(distances, return_counts=True)
    most = int(np.argmax(times))
    return len(distances), int(each[most]) if 2 * times[most] > len(distances) else None


def _rank_correlation(numbers: FloatArray, others: FloatArray) -> float:
    ranks = [_ranks(side) for side in (numbers, others)]
    spreads = [np.sqrt(np.square(side).sum()) for side in ranks]
    return float(ranks[0] @ ranks[1] / (spreads[0] * spreads[1])) if all(spreads) else 0.0


def _ranks(numbers: FloatArray) -> FloatArray:
    """Less their mean; equal numbers share theirs."""
    _, codes, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - counts / 2.0)[codes]
    ranks -= ranks.mean()
    return ranks
