"""Rows of a long table into lanes: steps that follow one another in time stand one after the other.

Keys decide. With an environment column every environment is a lane. With ids alone (episode, unroll,
agent), rows of one id usually stand together, and all rows are one lane in which the id changes. Where
an id comes back (within its environment, if there are any), the rows are interleaved: they are
scattered, and every key is a lane. All blocks of a stream must be taken in the same way, or what is
open in one finds no continuation in the next. Without keys all rows are one lane, cut by flags.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray, Names
from gaecli.formats.base import Column
from gaecli.layouts.keys import (
    as_labels,
    cells_of_times,
    change_points,
    codes,
    come_back_soon,
    has_duplicates,
    names_at,
    regular_period,
    runs,
)
from gaecli.records import dataclass
from gaecli.rollouts import Placement


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Lanes of one block. Arrays with n - 1 entries speak of the steps t and t + 1 in lane order."""

    placement: Placement
    starts: IndexArray
    stops: IndexArray
    keys: Names
    open_ends: BoolArray
    #: [n - 1] neighbours in time: they stand in the same lane. None: all are.
    adjacent: BoolArray | None
    #: [n - 1] the id changes. None: there are no ids.
    id_changes: BoolArray | None
    #: Key columns that tell trajectories of a lane apart.
    id_columns: Sequence[Column]
    #: Ids come back after others: the rows have to be taken by key.
    is_scattered: bool = False
    #: Ids of the runs of rows, where rows of one id stand together; None where they need not.
    run_labels: Array | Sequence[Hashable] | None = None
    #: The lanes are those of an array: rows cannot be taken in another way.
    is_by_shape: bool = False
    #: Rows that the clock of the file put into another order.
    clock_falls: Sequence[int] = ()

    def in_lane_order(self, rows: Array) -> Array:
        return self.placement.to_steps(rows)

    def row(self, step: int) -> int:
        return self.placement.row_of_step(step)

    def ids_at(self, steps: IndexArray) -> Names:
        return names_at(self.id_columns, self.placement.rows_of_steps(steps))

    def same_trajectory(self, num_steps: int) -> BoolArray:
        """[n - 1] by lanes and ids alone, not by flags."""
        same = np.ones(max(num_steps - 1, 0), np.bool_) if self.adjacent is None else self.adjacent.copy()
        if self.id_changes is not None:
            same &= ~self.id_changes
        return same


def arrange(env: Column | None, ids: Sequence[Column], num_rows: int) -> Arrangement:
    """Lanes for rows in file order."""
    if env is not None:
        return _by_env(env, ids, num_rows)
    if ids:
        return _by_id(ids, num_rows)
    everything = np.array([0], np.int64), np.array([num_rows], np.int64)
    return Arrangement(Placement(num_rows), *everything, [()], np.ones(1, np.bool_), None, None, ())


def arrange_by_key(env: Column | None, ids: Sequence[Column], num_rows: int) -> Arrangement:
    """A lane for every key, wherever its rows stand; in file order within the lane."""
    columns = [*([env] if env is not None else []), *ids]
    lane = codes(columns, num_rows)
    return _lanes_of(np.argsort(lane, kind="stable"), lane, columns, ids, ids_may_return=True)


def arrange_by_step(env: Column | None, ids: Sequence[Column], steps: Array, num_rows: int) -> Arrangement:
    """Lanes for rows that stand in no order: sorted by key, then by step."""
    lane_columns = [env] if env is not None else list(ids)
    lane = codes(lane_columns, num_rows)
    keys = (steps, codes(ids, num_rows), lane) if ids else (steps, lane)
    return _lanes_of(np.lexsort(keys), lane, lane_columns, ids)


def arrange_lanes(
    placement: Placement,
    num_lanes: int,
    keys: Names,
    ids: Sequence[Column],
    *,
    is_open: bool,
    go_on: bool,
) -> Arrangement:
    """Lanes of equal length that the shape of an array gives.

    `is_open`: trajectories may go on behind this block. `go_on`: lanes go on over the borders of blocks.
    """
    bounds = np.arange(num_lanes + 1, dtype=np.int64) * (placement.num_rows // max(num_lanes, 1))
    arrangement = _whole_lanes(placement, bounds, keys, ids)
    return replace(
        arrangement,
        open_ends=np.full(num_lanes, is_open),
        run_labels=arrangement.run_labels if go_on or arrangement.is_scattered else None,
        is_by_shape=True,
    )


def _by_env(env: Column, ids: Sequence[Column], num_rows: int) -> Arrangement:
    period, cells = regular_period(env), None
    if period is None:
        env_runs = None if come_back_soon(env) else runs([env], num_rows)
        if env_runs is not None and not env_runs.reappears:
            keys = names_at([env], env_runs.starts[:-1])
            return _whole_lanes(Placement(num_rows), env_runs.starts, keys, ids)
        lane = codes([env], num_rows)
        cells = cells_of_times(lane)
        if cells is None:
            return _lanes_of(np.argsort(lane, kind="stable"), lane, [env], ids)
        period = int(lane.max()) + 1
    num_times, num_longer = divmod(num_rows, period)
    lanes = np.arange(period + 1, dtype=np.int64)
    starts = lanes * num_times + np.minimum(lanes, num_longer)
    placement = Placement(num_rows, dense_shape=(num_times, period), cells=cells)
    keys = names_at([env], placement.rows_of_steps(starts[:-1]))
    return _whole_lanes(placement, starts, keys, ids)


def _by_id(ids: Sequence[Column], num_rows: int) -> Arrangement:
    id_runs = runs(ids, num_rows)
    # Only the first and the last run can touch another block; what stands between is whole. Both are of
    # the one lane that all rows stand in: a start flag at the head of the next block ends what is open here.
    ends = [0] if id_runs.count == 1 else [0, -1]
    starts, stops = id_runs.starts[:-1][ends], id_runs.starts[1:][ends]
    return Arrangement(
        Placement(num_rows),
        starts,
        stops,
        keys=[()] * len(ends),
        open_ends=np.arange(len(ends)) == len(ends) - 1,
        adjacent=None,
        id_changes=id_runs.changes,
        id_columns=ids,
        is_scattered=id_runs.reappears,
        run_labels=id_runs.labels(),
    )


def _lanes_of(
    order: IndexArray,
    lane: Array,
    lane_columns: Sequence[Column],
    ids: Sequence[Column],
    *,
    ids_may_return: bool = False,
) -> Arrangement:
    sorted_lane = lane.take(order)
    starts = np.concatenate(([0], np.flatnonzero(sorted_lane[1:] != sorted_lane[:-1]) + 1, [len(order)]))
    keys = names_at(lane_columns, order[starts[:-1]])
    placement = Placement(len(order), order=order.astype(np.int64, copy=False))
    return _whole_lanes(placement, starts.astype(np.int64), keys, ids, ids_may_return=ids_may_return)


def _whole_lanes(
    placement: Placement,
    bounds: IndexArray,
    keys: Names,
    ids: Sequence[Column],
    *,
    ids_may_return: bool = False,
) -> Arrangement:
    """An arrangement in which every step stands in a lane, and every lane may go on."""
    adjacent = np.ones(max(placement.num_rows - 1, 0), np.bool_)
    adjacent[bounds[1:-1] - 1] = False
    moved = [_in_lanes(column, placement) for column in ids]
    arrangement = Arrangement(
        placement,
        bounds[:-1],
        bounds[1:],
        keys,
        open_ends=np.ones(len(keys), np.bool_),
        adjacent=adjacent,
        id_changes=change_points(moved),
        id_columns=ids,
    )
    if not ids or ids_may_return:
        return arrangement
    labels = _run_labels(arrangement)
    return replace(arrangement, run_labels=labels, is_scattered=has_duplicates(labels))


def _run_labels(arrangement: Arrangement) -> list[Hashable]:
    """(lane, id) of every run of rows with one id."""
    assert arrangement.id_changes is not None
    assert arrangement.adjacent is not None
    first = np.flatnonzero(np.concatenate(([True], arrangement.id_changes | ~arrangement.adjacent)))
    lanes = np.searchsorted(arrangement.starts, first, side="right") - 1
    keys = as_labels(arrangement.keys)
    return list(
        zip((keys[lane] for lane in lanes.tolist()), as_labels(arrangement.ids_at(first)), strict=True)
    )


def _in_lanes(column: Column, placement: Placement) -> Column:
    is_null = None if column.is_null is None else placement.to_steps(column.is_null)
    return Column(placement.to_steps(column.values), is_null, categories=column.categories)
