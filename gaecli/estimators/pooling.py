"""Steps pooled into units: what adds up, what multiplies, and what is that of the first or the last of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.records import dataclass
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings

PoolingRule = Literal["sum", "product", "first", "last"]
#: A unit is the action of all its steps: the logarithms of their probabilities add up. Other columns are of the last.
_RULES: dict[str, PoolingRule] = {
    "log_prob": "sum",
    "behaviour_log_prob": "sum",
    "ratio": "product",
    "prob": "product",
}


@dataclass(frozen=True, eq=False)
class Pooled:
    """A block whose steps are units."""

    block: Block
    #: Steps that are in a unit and count, unit after unit, and the unit of each.
    members: IndexArray
    unit_of: IndexArray
    #: [K] of each unit how many they are.
    counts: IndexArray


def pool(block: Block, settings: Settings) -> Pooled:
    """`block`: every trajectory ends in it."""
    pooled = added_up(block, settings)
    return replace(pooled, block=rewarded(pooled.block, pooled.counts, settings))


def added_up(block: Block, settings: Settings) -> Pooled:
    """The same with the sums of rewards, whatever `--unit-reward` makes of them."""
    assert block.units is not None
    members = members_of(block)
    numbers = block.units.numbers[members]
    unit_of, first, last = runs_of(numbers)
    ends = _ends_of(block, members[last])
    values = block.values[members][first if settings.unit_value == "first" else last]
    pooled = Block(
        rewards=reduced(block.rewards[members], "sum", first, last),
        values=values,
        terminated=_at_ends(block.terminated, ends),
        truncated=_at_ends(block.truncated, ends),
        cuts=ends >= 0,
        next_values=_next_values(block, ends, values),
        lanes=NO_LANES,
        placement=Placement(len(first)),
        stream_ends=np.flatnonzero(ends >= 0),
        has_values=block.has_values,
        extras={
            name: reduced(column[members], rule_of(name, settings), first, last)
            for name, column in block.extras.items()
        },
    )
    return Pooled(pooled, members, unit_of, last - first + 1)


def members_of(block: Block) -> IndexArray:
    """The steps that are in a unit and count."""
    assert block.units is not None
    counts = block.units.numbers >= 0
    for absent in (None if block.is_step is None else ~block.is_step, block.masked):
        if absent is not None:
            counts = counts & ~absent
    return np.flatnonzero(counts)


def runs_of(numbers: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """(the run of each, the first and the last of each run) of equal numbers."""
    begins = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(numbers)).astype(np.int64)[: len(first)] - 1
    return np.cumsum(begins) - 1, first, last


def rule_of(name: str, settings: Settings) -> PoolingRule:
    """What becomes of a column; Q(s, a) is read where V is."""
    return settings.unit_value if name == "q" else _RULES.get(name, "last")


@np.errstate(over="ignore", invalid="ignore")  # the numbers that are written tell of it
def reduced(numbers: Array, rule: PoolingRule, first: IndexArray, last: IndexArray) -> Array:
    """[K] of runs that stand one after the other and leave nothing out."""
    if rule in ("first", "last"):
        return numbers[first if rule == "first" else last]
    operation = np.add if rule == "sum" else np.multiply
    return operation.reduceat(numbers.astype(np.float64), first) if len(first) else np.zeros(0)


def rewarded(units: Block, counts: IndexArray, settings: Settings) -> Block:
    """Sums of rewards as `--unit-reward` has them."""
    return replace(units, rewards=units.rewards / counts) if settings.unit_reward == "mean" else units


def _ends_of(block: Block, last: IndexArray) -> IndexArray:
    """[K] the last step of the trajectory of each unit that is the last one in it; -1 of others."""
    stops = np.flatnonzero(block.cuts)
    trajectory = np.searchsorted(stops, last)
    is_last = np.append(trajectory[1:] != trajectory[:-1], True)[: len(last)]
    return np.where(is_last, stops[np.minimum(trajectory, len(stops) - 1)] if len(stops) else -1, -1)


def _at_ends(flags: BoolArray, ends: IndexArray) -> BoolArray:
    result: BoolArray = np.where(ends >= 0, flags[ends] if len(flags) else False, False)
    return result


def _next_values(block: Block, ends: IndexArray, values: Array) -> FloatArray | None:
    """V beyond the ends; V of the last unit where a rule took that of the last state."""
    if block.next_values is None:
        return None
    found = np.where(ends >= 0, block.next_values[ends], np.nan)
    if block.filled is not None:
        found = np.where((ends >= 0) & block.filled[ends], values, found)
    result: FloatArray = found
    return result
