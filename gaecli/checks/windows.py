"""Blocks as windows: steps in the order of time, with what the block before has to do with them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.checks.base import Context, Window, row_label
from gaecli.checks.past import Past
from gaecli.formats.base import Column
from gaecli.layouts.arrange import arrange_by_step
from gaecli.layouts.base import Layout
from gaecli.layouts.keys import as_labels, change_points, labels_at
from gaecli.layouts.steps import steps_of
from gaecli.records import dataclass
from gaecli.rollouts import Block, Placement

#: What is known of a step, and carried from the last one of a lane to the block after.
_CARRIED = (
    "rewards",
    "values",
    "next_values",
    "terminated",
    "truncated",
    "is_bad",
    "steps",
)
#: float32 in many a file, float64 in the next.
_NUMBERS = ("rewards", "values", "next_values")


@dataclass(frozen=True, eq=False)
class _OpenTail:
    """The last step of a lane."""

    cells: Mapping[str, Any]
    identity: Hashable
    row: int
    #: Where it is, and in which file.
    place: tuple[str, str]
    #: 1 for the first of its trajectory.
    age: int
    #: Whether its trajectory went on there, and the reward of the step before.
    came_on: bool
    earlier_reward: float
    #: A row behind it that is no step, at the start of a later block, says that it ends its trajectory.
    ended_late: bool = False


@dataclass(eq=False)
class _Draft:
    """Arrays by name, all of the same length, and the lanes that may have a past."""

    arrays: dict[str, Array]
    #: Of steps, counted from the first row of the block.
    rows_of: Callable[[IndexArray], IndexArray]
    starts: IndexArray
    keys: Sequence[Hashable]
    #: Ids of the first and of the last step of each lane.
    first_ids: Sequence[Hashable]
    last_ids: Sequence[Hashable]
    first_is_start: Sequence[bool]
    #: The ids of other steps than the first and the last. None: a lane has one.
    ids_at: Callable[[IndexArray], Sequence[Hashable]] | None = None

    @property
    def stops(self) -> IndexArray:
        return np.append(self.starts[1:], len(self.arrays["rewards"]))

    @property
    def has_ids(self) -> bool:
        return any(identity not in ((), None) for identity in self.first_ids)

    def take(self, which: IndexArray) -> None:
        """Only these steps, in this order within their lanes; of lanes that have some."""
        firsts, stops = np.searchsorted(which, self.starts), np.searchsorted(which, self.stops)
        lanes = np.flatnonzero(stops > firsts).tolist()
        for name, array in self.arrays.items():
            if name in ("in_lane", "follows"):  # of a step and the one before, whoever that is now
                breaks = np.cumsum(~array)[which]
                self.arrays[name] = np.concatenate(([False], breaks[1:] == breaks[:-1]))
            else:
                self.arrays[name] = array[which]
        rows_of = self.rows_of
        self.rows_of = lambda steps: rows_of(which[steps])
        self.starts = firsts[lanes].astype(np.int64)
        self.keys = [self.keys[lane] for lane in lanes]
        self.first_is_start = [self.first_is_start[lane] for lane in lanes]
        if self.ids_at is None:
            self.first_ids = [self.first_ids[lane] for lane in lanes]
            self.last_ids = [self.last_ids[lane] for lane in lanes]
        else:
            self.first_ids = self.ids_at(which[firsts[lanes]])
            self.last_ids = self.ids_at(which[stops[lanes] - 1])


class Windows:
    """Makes a window of every block of a stream, in order. Remembers the last step of every lane."""

    def __init__(self) -> None:
        self._tails: dict[Hashable, _OpenTail] = {}
        #: Rows of an id stood out of order, within a block or over its borders.
        self.is_unsorted = False

    def window(
        self, context: Context, layout: Layout, start: int, columns: Mapping[str, Column]
    ) -> Window | None:
        """`layout` must not know of steps: it would refuse what the rules are to find."""
        block = layout.block(start, columns)
        if not block.num_steps:
            return None
        columns = layout.cells(start, columns)
        num_unsorted, first_unsorted = 0, None
        if context.layout.row_is == "step":
            draft = _long(context, columns, block)
            falls = _falls(draft) if draft.has_ids else np.zeros(0, np.int64)
            if len(falls):
                num_unsorted, first_unsorted = len(falls), start + int(draft.rows_of(falls[:1])[0])
                draft = _sorted(context, columns, block)
            elif draft.has_ids and block.facts.clock_falls:
                num_unsorted, first_unsorted = block.facts.clock_falls, block.facts.first_clock_fall
        else:
            draft = _dense_or_nested(block)
        if block.is_step is not None:
            self._end_before_padding(draft, block)
            draft.take(np.flatnonzero(block.is_step))
        if not len(draft.arrays["rewards"]):
            return None
        self.is_unsorted |= num_unsorted > 0
        return self._finish(context, draft, columns, start, block, (num_unsorted, first_unsorted))

    def _end_before_padding(self, draft: _Draft, block: Block) -> None:
        """Rows that are no steps, at the starts of lanes, end the trajectories of the steps before them."""
        # Of rows one after the other the block tells both ends, and the draft has one lane.
        paddings = block.lanes.first_padding[: len(draft.keys)].tolist()
        for key, identity, padding in zip(draft.keys, draft.first_ids, paddings, strict=False):
            tail = self._tails.get(key)
            if padding < 0 or tail is None or tail.identity != identity:
                continue
            if not (tail.cells["terminated"] or tail.cells["truncated"]):
                flag = "terminated" if padding else "truncated"
                self._tails[key] = replace(tail, cells={**tail.cells, flag: True}, ended_late=True)

    def _finish(
        self,
        context: Context,
        draft: _Draft,
        columns: Mapping[str, Column],
        start: int,
        block: Block,
        unsorted: tuple[int, int | None],
    ) -> Window:
        stops = draft.stops
        known = [lane for lane, key in enumerate(draft.keys) if key in self._tails]
        carried_at = self._insert(draft, known)
        arrays = draft.arrays
        tails = [self._tails[draft.keys[lane]] for lane in known]
        arrays["goes_on"] = _goes_on(arrays)
        past = Past.of(arrays, carried_at, tails)
        if "next_values" not in arrays:
            arrays["next_values"] = np.broadcast_to(np.nan, len(arrays["rewards"]))
        shift = np.searchsorted(np.array(known), np.arange(len(draft.keys)), side="right")
        ends = [int(stops[lane] + shift[lane]) for lane in range(len(draft.keys))]
        carried = dict(zip(carried_at.tolist(), tails, strict=True))

        def rows_of(steps: IndexArray) -> IndexArray:
            before = np.searchsorted(carried_at, steps)
            rows = np.array([carried[step].row if step in carried else -1 for step in steps.tolist()])
            is_here = rows < 0
            rows[is_here] = start + draft.rows_of((steps - before)[is_here])
            return rows

        place_of = _placer(context, columns, start, block)
        lasts = np.array(ends, np.int64) - 1
        rows, ages = rows_of(lasts).tolist(), past.ages(lasts).tolist()
        earlier_rewards = past.earlier_rewards(lasts).tolist()
        for lane, (key, last) in enumerate(zip(draft.keys, lasts.tolist(), strict=True)):
            self._tails[key] = _OpenTail(
                cells={name: arrays[name][last] for name in _CARRIED if name in arrays},
                identity=draft.last_ids[lane],
                row=rows[lane],
                place=(place_of(rows[lane]), str(context.path)),
                age=ages[lane],
                came_on=bool(past.came_on[last]),
                earlier_reward=earlier_rewards[lane],
            )
        steps = arrays.pop("steps", None)
        if steps is not None and draft.has_ids:
            self.is_unsorted |= bool((arrays["follows"][1:] & (steps[1:] < steps[:-1])).any())
        num_unsorted, first_unsorted = unsorted
        return Window(
            context=context,
            steps=steps,
            past=past,
            has_ids=draft.has_ids,
            num_unsorted=num_unsorted,
            first_unsorted=first_unsorted,
            rows_of=rows_of,
            place_of=place_of,
            carried={step: tail.place for step, tail in carried.items()},
            heads={draft.keys[lane]: step for lane, step in zip(known, carried, strict=True)},
            lanes=list(zip(draft.keys, ends, strict=True)),
            **arrays,
        )

    def _insert(self, draft: _Draft, lanes: Sequence[int]) -> IndexArray:
        """The last step of the block before, in front of each of these lanes. Where those are."""
        tails = [self._tails[draft.keys[lane]] for lane in lanes]
        at = draft.starts[lanes]
        carried_at = at + np.arange(len(lanes))
        arrays = draft.arrays
        if "next_values" not in arrays and not all(np.isnan(tail.cells["next_values"]) for tail in tails):
            arrays["next_values"] = np.full(len(arrays["rewards"]), np.nan)
        for name, array in arrays.items():
            dtype = np.dtype(np.float64) if name in _NUMBERS else array.dtype
            cells = [tail.cells.get(name, False) for tail in tails]
            arrays[name] = _with_carried(array, carried_at, cells, dtype)
        num_steps = len(arrays["rewards"])
        arrays["is_new"], arrays["end_is_new"] = np.ones(num_steps, np.bool_), np.ones(num_steps, np.bool_)
        arrays["lane_starts"] = np.zeros(num_steps, np.bool_)
        arrays["lane_starts"][draft.starts + np.searchsorted(lanes, np.arange(len(draft.keys)))] = True
        is_start = np.array([draft.first_is_start[lane] for lane in lanes], np.bool_)
        same = [tail.identity == draft.first_ids[lane] for tail, lane in zip(tails, lanes, strict=True)]
        arrays["is_new"][carried_at] = arrays["lane_starts"][carried_at] = False
        arrays["end_is_new"][carried_at] = is_start | np.array([tail.ended_late for tail in tails], np.bool_)
        if lanes:  # else these may be arrays of the block
            arrays["in_lane"][carried_at + 1] = True
            arrays["follows"][carried_at + 1] = same
            arrays["terminated"][carried_at] |= is_start
        return carried_at


def _keys(context: Context, columns: Mapping[str, Column]) -> tuple[Column | None, list[Column]]:
    names = context.roles.names
    env = columns[names["env"]].as_ids() if "env" in names else None
    ids = [columns[names["episode"]].as_ids()] if "episode" in names else []
    return env, ids + [columns[name].as_ids() for name in context.roles.key_parts]


def _long(context: Context, columns: Mapping[str, Column], block: Block) -> _Draft:
    """A block of a long table in the lanes in which its rows stand."""
    arrays = _cells(block)
    arrays["in_lane"] = _shifted(block.has_successor()[:-1], block.num_steps)
    steps = _steps(context, columns)
    if steps is not None:
        arrays["steps"] = block.placement.to_steps(steps)
    _, ids = _keys(context, columns)
    lanes, is_start = block.lanes, list(block.lanes.first_is_start)
    if block.stream_ends is None:  # one lane; what the block says are runs of one id at its ends
        return _with_ids(arrays, block.placement, np.zeros(1, np.int64), [()], ids, is_start[:1])
    return _with_ids(arrays, block.placement, lanes.starts, as_labels(lanes.keys), ids, is_start)


def _sorted(context: Context, columns: Mapping[str, Column], block: Block) -> _Draft:
    """The same with the steps of each trajectory in order, as `compute` takes them."""
    env, ids = _keys(context, columns)
    num_rows = block.placement.num_rows
    steps = _steps(context, columns)
    assert steps is not None
    arrangement = arrange_by_step(env, ids, steps, num_rows)
    step_of_row = np.empty(num_rows, np.int64)
    step_of_row[block.placement.to_steps(np.arange(num_rows))] = np.arange(num_rows)
    order = arrangement.placement.to_steps(step_of_row)
    arrays = {name: array[order] for name, array in _cells(block).items()}
    arrays["in_lane"] = _shifted(arrangement.adjacent, num_rows)
    arrays["steps"] = arrangement.placement.to_steps(steps)
    keys = as_labels(arrangement.keys)
    return _with_ids(arrays, arrangement.placement, arrangement.starts, keys, ids, [False] * len(keys))


def _with_ids(
    arrays: dict[str, Array],
    placement: Placement,
    starts: IndexArray,
    keys: Sequence[Hashable],
    ids: Sequence[Column],
    first_is_start: Sequence[bool],
) -> _Draft:
    """What ids say about neighbours, and about both ends of each lane."""
    num_steps = len(arrays["rewards"])
    moved = [_moved(column, placement) for column in ids]
    changes = change_points(moved)
    arrays["follows"] = arrays["in_lane"] & _shifted(None if changes is None else ~changes, num_steps)
    lasts = np.append(starts[1:], num_steps) - 1
    first_ids, last_ids = labels_at(moved, starts), labels_at(moved, lasts)
    if not ids:
        first_ids = last_ids = [()] * len(starts)
    ids_at = (lambda steps: labels_at(moved, steps)) if ids else None
    return _Draft(arrays, placement.rows_of_steps, starts, keys, first_ids, last_ids, first_is_start, ids_at)


def _moved(column: Column, placement: Placement) -> Column:
    is_null = None if column.is_null is None else placement.to_steps(column.is_null)
    return Column(placement.to_steps(column.values), is_null, categories=column.categories)


def _dense_or_nested(block: Block) -> _Draft:
    """Lanes of a dense array may have a past in another file; rows of lists have none."""
    arrays = _cells(block)
    arrays["in_lane"] = _shifted(block.has_successor()[:-1], block.num_steps)
    if not block.lanes.count:
        arrays["in_lane"][1:] &= ~block.cuts[:-1]
    arrays["follows"] = arrays["in_lane"].copy()
    lanes = block.lanes
    return _Draft(
        arrays,
        block.file_rows,
        lanes.starts,
        as_labels(lanes.keys),
        as_labels(lanes.first_ids),
        as_labels(lanes.last_ids),
        lanes.first_is_start.tolist(),
    )


def _cells(block: Block) -> dict[str, Array]:
    absent = np.zeros(block.num_steps, np.bool_)
    given = {} if block.next_values is None else {"next_values": block.next_values}
    masked = {} if block.masked is None else {"is_masked": block.masked}
    return {
        "rewards": block.rewards,
        "values": block.values,
        **given,  # else NaN throughout
        **masked,
        "terminated": block.terminated,
        "truncated": block.truncated,
        "is_bad": absent if block.dropped is None else block.dropped,
    }


def _steps(context: Context, columns: Mapping[str, Column]) -> Array | None:
    """int64 where they count, float64 where they only order."""
    name = context.roles.get("step")
    if name is None or name not in columns or columns[name].is_null is not None:
        return None
    steps = steps_of(columns[name])
    if steps is None:
        return None
    return steps.numbers if steps.counts else steps.numbers.astype(np.float64)


def _shifted(pairs: BoolArray | None, num_steps: int) -> BoolArray:
    """[N - 1] facts about t and t + 1 as [N] facts about t and the step before."""
    shifted = np.ones(num_steps, np.bool_)
    if pairs is not None:
        shifted[1:] = pairs
    shifted[:1] = False
    return shifted


def _falls(draft: _Draft) -> IndexArray:
    """Steps that are lower than the one before in the same trajectory, by its id."""
    steps = draft.arrays.get("steps")
    if steps is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(draft.arrays["follows"][1:] & (steps[1:] < steps[:-1])) + 1


def _goes_on(arrays: Mapping[str, Array]) -> BoolArray:
    """[N] the trajectory of the step before goes on here, by ids and by flags."""
    on: BoolArray = arrays["follows"].copy()
    on[1:] &= ~(arrays["terminated"] | arrays["truncated"])[:-1]
    on[:1] = False
    return on


def _with_carried(array: Array, at: IndexArray, cells: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    """[N + C] these cells at these places, and the [N] of the array in between, in that type."""
    if not len(at):
        return array.astype(dtype, copy=False)
    whole = np.empty(len(array) + len(at), dtype)
    if len(at) == 1:  # of one lane, which has no need of a mask
        whole[: at[0]], whole[at[0] + 1 :] = array[: at[0]], array[at[0] :]
    else:
        is_carried = np.zeros(len(whole), np.bool_)
        is_carried[at] = True
        whole[~is_carried] = array
    whole[at] = cells
    return whole


def _placer(
    context: Context, columns: Mapping[str, Column], start: int, block: Block
) -> Callable[[int], str]:
    def place(row: int) -> str:
        if context.layout.row_is == "cell":
            num_columns = context.file.columns[context.name("reward")].shape[1]
            return str([*divmod(row, num_columns)])
        return row_label(context, columns, start, row - start, block.placement.num_rows)

    return place
