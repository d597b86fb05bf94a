"""Rows of a long table into lanes: steps that follow one another in time stand one after the other.

Keys decide. With an environment column every environment is a lane, whatever else there is. With
ids alone (episode, unroll, agent), rows of one id usually stand together; if an id comes back, the
rows are interleaved and every id is a lane. Without keys all rows are one lane, cut by flags.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from gaecli.formats.base import Column
from gaecli.layouts.keys import change_points, codes, labels_at, regular_period, runs
from gaecli.rollouts import Array, BoolArray, IndexArray, Placement


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Lanes of one block. Arrays with n - 1 entries speak of the steps t and t + 1 in lane order."""

    placement: Placement
    starts: IndexArray
    stops: IndexArray
    keys: Sequence[Hashable]
    open_ends: Sequence[bool]
    #: [n - 1] neighbours in time: they stand in the same lane. None: all are.
    adjacent: BoolArray | None
    #: [n - 1] the id changes. None: there are no ids.
    id_changes: BoolArray | None
    #: Key columns that tell trajectories of a lane apart.
    id_columns: Sequence[Column]
    is_interleaved: bool
    #: Ids of the runs of rows, where rows of one id stand together; None where they need not.
    run_labels: Array | Sequence[Hashable] | None = None

    def in_lane_order(self, rows: Array) -> Array:
        return self.placement.to_steps(rows)

    def row(self, step: int) -> int:
        return self.placement.row_of_step(step)

    def ids_at(self, steps: IndexArray) -> Sequence[Hashable]:
        if not self.id_columns:
            return [None] * len(steps)
        rows = np.array([self.row(int(step)) for step in steps], np.int64)
        return labels_at(self.id_columns, rows)

    def same_trajectory(self, num_steps: int) -> BoolArray:
        """[n - 1] by lanes and ids alone, not by flags."""
        same = np.ones(max(num_steps - 1, 0), np.bool_)
        if self.adjacent is not None:
            same &= self.adjacent
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
    return Arrangement(Placement(num_rows), *everything, [()], [True], None, None, (), False)


def arrange_by_step(env: Column | None, ids: Sequence[Column], steps: Array, num_rows: int) -> Arrangement:
    """Lanes for rows that stand in no order: sorted by key, then by step."""
    lane_columns = [env] if env is not None else list(ids)
    lane = codes(lane_columns, num_rows)
    keys = (steps, codes(ids, num_rows), lane) if ids else (steps, lane)
    return _lanes_of(np.lexsort(keys), lane, lane_columns, ids)


def _by_env(env: Column, ids: Sequence[Column], num_rows: int) -> Arrangement:
    env_runs = runs([env], num_rows)
    if not env_runs.reappears:
        keys = labels_at([env], env_runs.starts[:-1])
        return _whole_lanes(Placement(num_rows), env_runs.starts, keys, ids)
    lane = codes([env], num_rows)
    period = regular_period(lane)
    if period is None:
        return _lanes_of(np.argsort(lane, kind="stable"), lane, [env], ids)
    num_times = num_rows // period
    starts = np.arange(period + 1, dtype=np.int64) * num_times
    keys = labels_at([env], np.arange(period))
    return _whole_lanes(Placement(num_rows, dense_shape=(num_times, period)), starts, keys, ids)


def _by_id(ids: Sequence[Column], num_rows: int) -> Arrangement:
    id_runs = runs(ids, num_rows)
    if id_runs.reappears:
        lane = codes(ids, num_rows)
        return _lanes_of(np.argsort(lane, kind="stable"), lane, ids, ids)
    # Only the first and the last run can touch another block; what stands between is whole.
    ends = [0] if id_runs.count == 1 else [0, -1]
    starts, stops = id_runs.starts[:-1][ends], id_runs.starts[1:][ends]
    return Arrangement(
        Placement(num_rows),
        starts,
        stops,
        keys=labels_at(ids, starts),
        open_ends=[False] * (len(ends) - 1) + [True],
        adjacent=None,
        id_changes=change_points(ids),
        id_columns=ids,
        is_interleaved=False,
        run_labels=id_runs.labels(),
    )


def _lanes_of(
    order: IndexArray, lane: Array, lane_columns: Sequence[Column], ids: Sequence[Column]
) -> Arrangement:
    sorted_lane = lane[order]
    starts = np.concatenate(([0], np.flatnonzero(sorted_lane[1:] != sorted_lane[:-1]) + 1, [len(order)]))
    keys = labels_at(lane_columns, order[starts[:-1]])
    placement = Placement(len(order), order=order.astype(np.int64))
    return _whole_lanes(placement, starts.astype(np.int64), keys, ids)


def _whole_lanes(
    placement: Placement, bounds: IndexArray, keys: Sequence[Hashable], ids: Sequence[Column]
) -> Arrangement:
    """An arrangement in which every step stands in a lane, and every lane may go on."""
    adjacent = np.ones(max(placement.num_rows - 1, 0), np.bool_)
    adjacent[bounds[1:-1] - 1] = False
    moved = [_in_lanes(column, placement) for column in ids]
    return Arrangement(
        placement,
        bounds[:-1],
        bounds[1:],
        keys,
        open_ends=[True] * len(keys),
        adjacent=adjacent,
        id_changes=change_points(moved),
        id_columns=ids,
        is_interleaved=True,
    )


def _in_lanes(column: Column, placement: Placement) -> Column:
    is_null = None if column.is_null is None else placement.to_steps(column.is_null)
    return Column(placement.to_steps(column.values), is_null, categories=column.categories)
