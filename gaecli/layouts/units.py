"""Which unit, such as the turn of a dialogue, each step belongs to: by its id, or by a flag at its last step."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray, Names
from gaecli.block_facts import UnitDoubt, UnitFacts
from gaecli.choices import UnitIs
from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.layouts.keys import as_labels, names_at
from gaecli.names import UNIT_READINGS
from gaecli.rollouts import NO_UNIT_LANES, Block, UnitLanes, Units, UnitsAhead, num_runs


def _reading_of(name: str, roles: Roles, wanted: UnitIs | None) -> UnitIs | None:
    """What the column holds, where the user says so, or the preset whose name for it the column has."""
    return wanted or (UNIT_READINGS.get(name) if "unit" in roles.by_preset else None)


def with_units(
    block: Block,
    column: Column,
    roles: Roles,
    wanted: UnitIs | None,
    cells: Cells,
    move: Callable[[Array], Array],
    *,
    shift: bool,
) -> Block:
    """The block with its units, before a mask takes steps out of it.

    Args:
        block: with trajectories as cuts and lanes have them; a unit ends with its trajectory at the latest.
        column: [rows], in the order of `cells`.
        wanted: `--unit-is`.
        move: rows in the order of the steps.
        shift: the unit of a step is that of the step after it, as its mask is.
    """
    name = roles.names["unit"]
    wanted = _reading_of(name, roles, wanted)
    column = column.as_ids()
    trajectory, last = block.trajectories()
    inside = _inside(column, wanted, move)
    if wanted == "end" or (wanted is None and column.values.dtype == np.bool_):
        flags = move(_flags(column, name, cells))
        units = Units(_by_ends(flags, inside, trajectory), "end", _at_borders(block, inside, None, flags))
        return _with(block, units, None, last, inside, shift=shift)
    ids = _by_ids(move(column.values), inside, trajectory)
    doubt, flags = None, np.zeros(len(ids), np.bool_)
    if wanted is None and _may_be_flags(column):
        flags = move(column.values) != 0
        first = cells.locate(int(move(np.arange(len(flags)))[np.argmax(flags)])) if flags.any() else None
        doubt = UnitDoubt(first, not np.array_equal(ids, _by_ends(flags, inside, trajectory)))
    units = Units(ids, "id", _at_borders(block, inside, column, flags))
    return _with(block, units, doubt, last, inside, shift=shift)


def _inside(column: Column, wanted: UnitIs | None, move: Callable[[Array], Array]) -> BoolArray:
    """[N] the step is in some unit: its cell is neither null nor negative, as AReaL has it outside of turns."""
    inside = np.ones(len(column.values), np.bool_)
    if column.is_null is not None:
        inside &= ~column.is_null
    if wanted != "end" and column.categories is None and column.values.dtype.kind in "if":
        inside &= column.values >= 0
    result: BoolArray = move(inside)
    return result


def _flags(column: Column, name: str, cells: Cells) -> BoolArray:
    """[rows] the unit ends here; False where the cell says nothing."""
    values = column.values
    is_odd = (values != 0) & (values != 1) if column.categories is None else np.ones(len(values), np.bool_)
    if column.is_null is not None:
        is_odd &= ~column.is_null
    if is_odd.any():
        row = int(np.argmax(is_odd))
        raise DataError(
            f"`{name}` is {column.label(row)} at {cells.locate(row)} of `{cells.path}`, which is no flag (0 or 1)",
            hint="pass `--unit-is id` if it holds ids",
        )
    result: BoolArray = values != 0
    return result


def _by_ids(ids: Array, inside: BoolArray, trajectory: IndexArray) -> IndexArray:
    """[N] number of the unit: it changes where the id does, or the trajectory; -1 outside."""
    at = np.flatnonzero(inside)
    begins = (ids[at][1:] != ids[at][:-1]) | (trajectory[at][1:] != trajectory[at][:-1])
    return _spread(begins, at, len(ids))


def _by_ends(flags: BoolArray, inside: BoolArray, trajectory: IndexArray) -> IndexArray:
    at = np.flatnonzero(inside)
    begins = flags[at][:-1] | (trajectory[at][1:] != trajectory[at][:-1])
    return _spread(begins, at, len(flags))


def _spread(begins: BoolArray, at: IndexArray, count: int) -> IndexArray:
    numbers = np.full(count, -1, np.int64)
    if len(at):
        numbers[at] = np.concatenate(([0], np.cumsum(begins)))
    return numbers


def _may_be_flags(column: Column) -> bool:
    """Whole numbers that are 0 or 1 wherever they say anything."""
    if column.categories is not None or column.values.dtype.kind not in "iuf":
        return False
    values = column.values if column.is_null is None else column.values[~column.is_null]
    return bool(((values == 0) | (values == 1)).all())


def _at_borders(block: Block, inside: BoolArray, ids: Column | None, flags: BoolArray) -> UnitLanes:
    """What stands at the ends of the lanes. `ids`: None where flags end units."""
    lanes = block.lanes
    if not lanes.count:
        return NO_UNIT_LANES
    at = np.flatnonzero(inside)
    trajectory = block.trajectories()[0]
    places = [np.searchsorted(at, lanes.starts), np.searchsorted(at, lanes.stops) - 1]
    found: list[tuple[BoolArray, Names]] = []
    flagged = np.zeros(lanes.count, np.bool_)
    for place, border in zip(places, (lanes.starts, lanes.stops - 1), strict=True):
        is_there = (place >= 0) & (place < len(at))
        steps = at[np.where(is_there, place, 0)] if len(at) else np.zeros(lanes.count, np.int64)
        has = is_there & (trajectory[steps] == trajectory[border])
        rows = block.placement.rows_of_steps(steps)
        found.append((has, np.zeros(lanes.count, np.int64) if ids is None else names_at([ids], rows)))
        flagged = has & flags[steps]
    (has_heads, heads), (has_tails, tails) = found
    return UnitLanes(has_heads, has_tails, heads, tails, flagged, by_flags=ids is None)


def with_units_of(block: Block, first: Block) -> Block:
    """The block with the units of another one of the same steps, which knows where episodes end.

    Units of two episodes are two, whatever their names, also where nothing else will tell the episodes apart.
    """
    units, lanes = first.units, first.lanes
    if units is None or not block.lanes.count:
        return replace(block, units=units)
    starts, stops = block.lanes.starts, block.lanes.stops
    at_head, at_tail = np.searchsorted(lanes.starts, starts), np.searchsorted(lanes.stops, stops)
    begins, ends = lanes.first_is_start[at_head], first.cuts[stops - 1]
    trajectory, _ = first.trajectories()
    has_tails = units.lanes.has_tails[at_tail]
    # What was there before has ended here, though nothing of the last episode is in a unit.
    ends = ends | (~has_tails & (begins | (trajectory[starts] != trajectory[stops - 1])))
    at_borders = replace(
        units.lanes,
        has_heads=units.lanes.has_heads[at_head],
        has_tails=has_tails | ends,
        heads=_within_episodes(lanes.first_ids, units.lanes.heads, at_head, begins, "begins"),
        tails=_within_episodes(lanes.last_ids, units.lanes.tails, at_tail, ends, "ends"),
        ended=units.lanes.ended[at_tail],
    )
    return replace(block, units=replace(units, lanes=at_borders))


def _within_episodes(
    ids: Names, names: Names, lanes: IndexArray, at_border: BoolArray, what: str
) -> list[Hashable]:
    """The units of these lanes; where an episode begins or ends at the border, no other is the same."""
    ids, names = as_labels(ids), as_labels(names)
    return [
        (ids[lane], names[lane], what if at else None)
        for lane, at in zip(lanes.tolist(), at_border.tolist(), strict=True)
    ]


def _with(
    block: Block, units: Units, doubt: UnitDoubt | None, last: IndexArray, inside: BoolArray, *, shift: bool
) -> Block:
    facts = UnitFacts(0, 0, 0, 0, units.reading, doubt)
    if shift:
        numbers = units.numbers
        shifted = np.full_like(numbers, -1)
        shifted[:-1] = numbers[1:]
        shifted[last] = -1
        units, block = replace(units, numbers=shifted), _with_last_values(block, last)
        if block.lanes.count:
            facts = _counted(block, numbers, numbers < 0, facts)
            units = replace(units, lanes=replace(units.lanes, ahead=_ahead(block, inside, numbers)))
    return replace(block, units=units, facts=replace(block.facts, units=facts))


def _ahead(block: Block, inside: BoolArray, numbers: IndexArray) -> UnitsAhead:
    """`numbers`: the units that the rows themselves are in."""
    lanes, (trajectory, ends) = block.lanes, block.trajectories()
    at = np.flatnonzero(inside)

    def found(places: IndexArray, of: IndexArray) -> tuple[BoolArray, IndexArray]:
        """Whether there is such a row of the same trajectory, and which one."""
        is_there = (places >= 0) & (places < len(at))
        rows = at[np.where(is_there, places, 0)] if len(at) else np.zeros(lanes.count, np.int64)
        return is_there & (trajectory[rows] == trajectory[of]), rows

    first, last = lanes.starts, lanes.stops - 1
    has_more, following = found(np.searchsorted(at, first, side="right"), first)
    has_tail, tail = found(np.searchsorted(at, last, side="right") - 1, last)
    begins = np.append(0, ends[:-1] + 1).astype(np.int64)[trajectory[last]]
    return UnitsAhead(
        first_inside=inside[first],
        has_more=has_more,
        goes_on=inside[first] & has_more & (numbers[following] == numbers[first]),
        tail_has_more=has_tail & (tail > begins),
        tail_numbers=np.where(has_tail, numbers[tail], -1),
        has_reward=_is_pending(block)[last] & (block.rewards[last] != 0) & _counts(block)[last],
    )


def _is_pending(block: Block) -> BoolArray:
    """[N] the last step of a lane whose trajectory may go on."""
    last = block.lanes.stops[block.lanes.open_ends] - 1
    pending = np.zeros(block.num_steps, np.bool_)
    pending[last] = ~block.cuts[last]
    return pending


def with_units_ahead(block: Block, exist: BoolArray, same: BoolArray) -> Block:
    """The block with the units of the last steps of its lanes, which are those of the rows that follow.

    Args:
        exist: [lanes] the row that follows in the trajectory is in a unit.
        same: [lanes] it is the last one that the trajectory had before.
    """
    units = block.units
    if units is None or units.lanes.ahead is None or not exist.any():
        return block
    numbers, last = units.numbers.copy(), block.lanes.stops[exist] - 1
    tails = units.lanes.ahead.tail_numbers
    # New ones need a number that no other unit has; so does one of which no row is here.
    others = block.num_steps + np.arange(len(tails))
    numbers[last] = np.where(same & (tails >= 0), tails, others)[exist]
    masked = None
    if block.masked is not None:
        masked = block.masked.copy()
        masked[last] = False
    return replace(block, units=replace(units, numbers=numbers), masked=masked)


def _with_last_values(block: Block, last: IndexArray) -> Block:
    """The last step of a trajectory is in no unit then: where that was cut by length, its V lies beyond them."""
    final = last[block.truncated[last]]
    next_values = np.full(block.num_steps, np.nan)
    next_values[final] = block.values[final]
    return replace(block, next_values=next_values)


def ended_at_cuts(block: Block) -> Block:
    """The block with units that end with its trajectories, of which there are more now than in the file."""
    if block.units is None:
        return block
    numbers = block.units.numbers
    ended = _by_ids(numbers, numbers >= 0, block.trajectories()[0])
    return replace(block, units=replace(block.units, numbers=ended))


def masked_outside(block: Block) -> Block:
    """Steps of no unit count in no statistic and have no advantage, whatever the mask says of them."""
    units, facts = block.units, block.facts.units
    if units is None or facts is None:
        return block
    outside = units.numbers < 0
    if units.lanes.ahead is None:
        counted = _counted(block, units.numbers, outside, facts)
    else:  # what the rows are in is counted, for what the last steps are in is not known yet
        lost = np.count_nonzero(block.rewards[_counts(block) & outside & ~_is_pending(block)])
        counted = replace(facts, rewards_outside=int(lost))
    block = replace(block, facts=replace(block.facts, units=counted))
    if not outside.any():
        return block
    return replace(block, masked=outside if block.masked is None else block.masked | outside)


def _counts(block: Block) -> BoolArray:
    real = np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step
    return real if block.masked is None else real & ~block.masked


def _counted(block: Block, numbers: IndexArray, outside: BoolArray, facts: UnitFacts) -> UnitFacts:
    real = _counts(block)
    members = np.flatnonzero(real & ~outside)
    trajectories = block.trajectories()[0][members]
    lost = int(np.count_nonzero(block.rewards[real & outside]))
    return replace(
        facts,
        units=num_runs(numbers[members]),
        episodes=num_runs(trajectories),
        steps=len(members),
        rewards_outside=lost,
    )
