"""Long tables: one row per step, trajectories told apart by keys, by flags, or by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.arrange import Arrangement, arrange, arrange_by_step
from gaecli.layouts.cells import Cells, Locate
from gaecli.layouts.drops import spread_to_trajectories
from gaecli.layouts.ends import Flags, flag_columns, read_flags, split_ends
from gaecli.layouts.groups import group_codes
from gaecli.layouts.next_values import merge_next_values
from gaecli.layouts.steps import agree_on_order, as_integers, falls, stride_of
from gaecli.rollouts import Array, Block, BlockFacts, BoolArray, IndexArray, Lanes
from gaecli.settings import Settings


class NeedsWholeStream(Exception):
    """Rows are out of order, so that no block can be looked at alone."""


class LongLayout:
    """One row per step."""

    name = "long"
    crosses_blocks = True
    like_column: str | None = None

    def __init__(
        self, file: RolloutFile, roles: Roles, settings: Settings, *, is_whole: bool = False
    ) -> None:
        self.roles = roles
        self.like_column = roles.names["reward"] if file.format_name == "npz" else None
        self._path = file.path
        self._drops = settings.on_nan == "drop-episode"
        self._group = settings.normalize_by
        self._flags = flag_columns(roles, settings)
        self._is_whole = is_whole
        episode = roles.get("episode")
        self._ids = (*((episode,) if episode is not None else ()), *roles.key_parts)
        self.row_columns = tuple(dict.fromkeys([*roles.row_columns, *filter(None, [self._group])]))

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        rewards_column = columns[self.roles.names["reward"]]
        num_steps = len(rewards_column.values)
        cells = Cells(self._path, self._locate(start, columns), self._drops)
        check_alternates(columns, self.roles, cells)
        rewards, bad = cells.numbers(rewards_column, self.roles.names["reward"], "reward")
        values, bad_values = cells.numbers(
            columns[self.roles.names["value"]], self.roles.names["value"], "value"
        )
        flags = read_flags(columns, self._flags, cells)
        arrangement = self._arrange(columns, num_steps, flags, cells)
        in_lanes = arrangement.in_lane_order
        lane_cells = Cells(self._path, lambda step: cells.locate(arrangement.row(step)), self._drops)

        terminated, truncated, starts = self._ends(flags, arrangement, num_steps, lane_cells)
        ended = terminated | truncated
        same = arrangement.same_trajectory(num_steps)
        cuts = _cuts(ended, same, arrangement)
        rewards, values = in_lanes(rewards), in_lanes(values)

        next_values, bad_next = self._next_values(columns, arrangement, terminated, cuts, lane_cells)
        dropped = self._dropped([bad, bad_values, flags.bad], bad_next, arrangement, cuts)
        if dropped is not None:
            rewards, values = _zeroed(rewards, dropped), _zeroed(values, dropped)
            next_values = None if next_values is None else _zeroed(next_values, dropped)
        steps = self._steps(columns, arrangement)
        stride = self._check_steps(columns, steps, same & ~ended[:-1], arrangement, lane_cells)
        groups, labels = group_codes(columns, self._group, in_lanes)
        return Block(
            rewards=rewards,
            values=values,
            terminated=terminated,
            truncated=truncated,
            cuts=cuts,
            next_values=next_values,
            lanes=_lanes(arrangement, starts, steps),
            placement=arrangement.placement,
            dropped=dropped,
            stream_ends=None if arrangement.adjacent is None else np.flatnonzero(~arrangement.adjacent),
            groups=groups,
            group_labels=labels,
            facts=self._facts(start, flags, ended, starts, same, stride, rewards, arrangement),
        )

    def _locate(self, start: int, columns: Mapping[str, Column]) -> Locate:
        episode, step = self.roles.get("episode"), self.roles.get("step")

        def locate(row: int) -> str:
            parts = [
                f"{role} {columns[name].label(row)}"
                for role, name in (("episode", episode), ("step", step))
                if name is not None
            ]
            return f"row {start + row}" + (f" ({', '.join(parts)})" if parts else "")

        return locate

    def _arrange(
        self, columns: Mapping[str, Column], num_rows: int, flags: Flags, cells: Cells
    ) -> Arrangement:
        env_name = self.roles.get("env")
        env = columns[env_name] if env_name is not None else None
        ids = [columns[name] for name in self._ids]
        arrangement = arrange(env, ids, num_rows)
        steps = self._steps(columns, arrangement)
        if steps is None or not self._is_unordered(steps, flags, arrangement, num_rows, cells):
            return arrangement
        if not self._is_whole:
            raise NeedsWholeStream
        name = self.roles.names["step"]
        return arrange_by_step(env, ids, as_integers(columns[name].values), num_rows)

    def _is_unordered(
        self, steps: IndexArray, flags: Flags, arrangement: Arrangement, num_rows: int, cells: Cells
    ) -> bool:
        """Rows of one id are out of order. Without ids, a step that falls is a reset without a flag."""
        if not arrangement.id_columns:
            return False
        same = arrangement.same_trajectory(num_rows)
        return falls(steps, same) or (arrangement.is_interleaved and self._has_scattered_ids(arrangement))

    def _has_scattered_ids(self, arrangement: Arrangement) -> bool:
        if arrangement.id_changes is None or arrangement.adjacent is None:
            return False
        first = np.flatnonzero(np.concatenate(([True], arrangement.id_changes | ~arrangement.adjacent)))
        lanes = np.searchsorted(arrangement.starts, first, side="right").tolist()
        labels = list(zip(lanes, arrangement.ids_at(first), strict=True))
        return len(set(labels)) < len(labels)

    def _steps(self, columns: Mapping[str, Column], arrangement: Arrangement) -> IndexArray | None:
        name = self.roles.get("step")
        if name is None or columns[name].is_null is not None:
            return None
        return arrangement.in_lane_order(as_integers(columns[name].values))

    def _check_steps(
        self,
        columns: Mapping[str, Column],
        steps: IndexArray | None,
        same: BoolArray,
        arrangement: Arrangement,
        cells: Cells,
    ) -> int | None:
        if steps is None:
            return None
        name = self.roles.names["step"]
        for other in self.roles.alternates.get("step", ()):
            others = arrangement.in_lane_order(as_integers(columns[other].values))
            if not agree_on_order(steps, others, same):
                raise DataError(
                    f"`{name}` and `{other}` of `{self._path}` order the rows differently",
                    hint=f"say which one counts the steps: `--step-column {name}` or `--step-column {other}`",
                )
        return stride_of(steps, same, name, self._path, cells.locate)

    def _ends(
        self, flags: Flags, arrangement: Arrangement, num_steps: int, cells: Cells
    ) -> tuple[BoolArray, BoolArray, BoolArray | None]:
        """(terminated, truncated, starts) in lane order. A start flag ends the step before it."""
        moved = [
            None if flag is None else arrangement.in_lane_order(flag)
            for flag in (flags.terminated, flags.truncated, flags.done)
        ]
        terminated, truncated, done = moved
        starts = None
        if done is not None and self._flags.done_at == "start":
            starts, done = done, np.zeros(num_steps, np.bool_)
            done[:-1] = starts[1:]
            if arrangement.adjacent is not None:
                done[:-1] &= arrangement.adjacent
        terminated, truncated = split_ends(terminated, truncated, done, num_steps, self._flags, cells)
        return terminated, truncated, starts

    def _next_values(
        self,
        columns: Mapping[str, Column],
        arrangement: Arrangement,
        terminated: BoolArray,
        cuts: BoolArray,
        cells: Cells,
    ) -> tuple[Array | None, BoolArray | None]:
        found = [
            (name, arrangement.in_lane_order(cells.optional_numbers(columns[name], name)))
            for role in ("next_value", "bootstrap_value")
            if (name := self.roles.get(role)) is not None
        ]
        return merge_next_values(found, terminated, cuts, cells)

    def _dropped(
        self,
        bad_rows: Sequence[BoolArray | None],
        bad_steps: BoolArray | None,
        arrangement: Arrangement,
        cuts: BoolArray,
    ) -> BoolArray | None:
        if not self._drops:
            return None
        bad = [arrangement.in_lane_order(rows) for rows in bad_rows if rows is not None]
        if bad_steps is not None:
            bad.append(bad_steps)
        return spread_to_trajectories(bad, cuts, arrangement.stops)

    def _facts(
        self,
        start: int,
        flags: Flags,
        ended: BoolArray,
        starts: BoolArray | None,
        same: BoolArray,
        stride: int | None,
        rewards: Array,
        arrangement: Arrangement,
    ) -> BlockFacts:
        has_ids = bool(arrangement.id_columns)
        inside = np.flatnonzero(ended[:-1] & same) if has_ids else np.zeros(0, np.int64)
        first_rows = np.flatnonzero(arrangement.id_changes) + 1 if arrangement.id_changes is not None else ()
        done = None if flags.done is None else arrangement.in_lane_order(flags.done)
        follows = ended[:-1] if arrangement.adjacent is None else ended[:-1] & arrangement.adjacent
        after = np.flatnonzero(follows) + 1
        lane_starts = arrangement.starts
        return BlockFacts(
            id_starts=len(first_rows),
            flagged_id_starts=0 if done is None or not len(first_rows) else int(done[first_rows].sum()),
            flags_inside=len(inside),
            first_flag_inside=start + arrangement.row(int(inside[0])) if len(inside) else None,
            flagged_steps=0 if done is None else int(np.count_nonzero(done)),
            flagged_lane_starts=0 if done is None else int(done[lane_starts].sum()),
            step_stride=stride,
            run_labels=arrangement.run_labels,
            zero_after_end=int(np.count_nonzero(rewards[after] == 0)),
            followed_ends=len(after),
        )


def _cuts(ended: BoolArray, same: BoolArray, arrangement: Arrangement) -> BoolArray:
    """Flags and changes of id cut. The last step of a lane that may go on is cut by its flag only."""
    cuts = ended.copy()
    cuts[:-1] |= ~same
    last = arrangement.stops[np.array(arrangement.open_ends, np.bool_)] - 1
    cuts[last] = ended[last]
    return cuts


def _lanes(arrangement: Arrangement, starts: BoolArray | None, steps: IndexArray | None) -> Lanes:
    first, last = arrangement.starts, arrangement.stops - 1
    return Lanes(
        arrangement.starts,
        arrangement.stops,
        arrangement.keys,
        arrangement.ids_at(first),
        arrangement.ids_at(last),
        arrangement.open_ends,
        [False] * len(first) if starts is None else starts[first].tolist(),
        [None] * len(first),
        None if steps is None else steps[first].tolist(),
        None if steps is None else steps[last].tolist(),
    )


def _zeroed(numbers: Array, where: BoolArray) -> Array:
    return np.where(where, numbers.dtype.type(0), numbers)
