"""Which unit, such as the turn of a dialogue, each step belongs to: by its id, or by a flag at its last step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gaecli.choices import UnitIs
from gaecli.columns import Roles
from gaecli.errors import DataError, UsageError
from gaecli.formats.base import Column
from gaecli.layouts.cells import Cells
from gaecli.names import UNIT_READINGS
from gaecli.rollouts import Array, Block, BoolArray, IndexArray, UnitFacts, Units, num_runs


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
        return _numbered(block, _by_ends(flags, inside, trajectory), last, "end", shift=shift)
    ids = _by_ids(move(column.values), inside, trajectory)
    if wanted is None and _may_be_flags(column):
        flags = move(column.values) != 0
        if not np.array_equal(ids, _by_ends(flags, inside, trajectory)):
            raise _which(name, cells, move, flags)
    return _numbered(block, ids, last, "id", shift=shift)


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


def _which(name: str, cells: Cells, move: Callable[[Array], Array], flags: BoolArray) -> UsageError:
    row = int(move(np.arange(len(flags)))[np.argmax(flags)])
    return UsageError(
        f"`{name}` of `{cells.path}` holds nothing but 0 and 1: the first two turns, or flags at the last token of "
        f"each, which makes other units of it; the first 1 is at {cells.locate(row)}",
        hint="pass `--unit-is id` or `--unit-is end`",
    )


def _numbered(block: Block, numbers: IndexArray, last: IndexArray, reading: UnitIs, *, shift: bool) -> Block:
    if shift:
        shifted = np.full_like(numbers, -1)
        shifted[:-1] = numbers[1:]
        shifted[last] = -1
        numbers = shifted
    return replace(block, units=Units(numbers, reading))


def masked_outside(block: Block) -> Block:
    """Steps of no unit count in no statistic and have no advantage, whatever the mask says of them."""
    units = block.units
    if units is None:
        return block
    outside = units.numbers < 0
    block = replace(block, facts=replace(block.facts, units=_facts(block, units.numbers, outside)))
    if not outside.any():
        return block
    return replace(block, masked=outside if block.masked is None else block.masked | outside)


def _facts(block: Block, numbers: IndexArray, outside: BoolArray) -> UnitFacts:
    real = np.ones(block.num_steps, np.bool_) if block.is_step is None else block.is_step
    if block.masked is not None:
        real = real & ~block.masked
    members = np.flatnonzero(real & ~outside)
    trajectories = block.trajectories()[0][members]
    lost = int(np.count_nonzero(block.rewards[real & outside]))
    return UnitFacts(num_runs(numbers[members]), num_runs(trajectories), len(members), lost)
