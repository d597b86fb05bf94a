"""Dense arrays: [T, N] with a lane per environment, or [B, T] with a trajectory per row.

Both become lanes of T steps. In a time-major array a lane may hold several trajectories, told apart
by flags, and may go on in the next block or file of a stream; a batch-major row is closed at its end.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.cells import Cells, Locate
from gaecli.layouts.drops import spread_to_trajectories
from gaecli.layouts.ends import FLAGS, FlagColumns, check_starts, flag_columns, inverted_of, split_ends
from gaecli.layouts.groups import group_codes
from gaecli.layouts.longer import split_off_first, split_off_last
from gaecli.layouts.lost_rewards import lost_rewards
from gaecli.layouts.masks import MaskRule, masked_steps
from gaecli.layouts.next_values import merge_next_values
from gaecli.rollouts import (
    NO_LANES,
    Array,
    Block,
    BlockFacts,
    BoolArray,
    IndexArray,
    Lanes,
    Placement,
)
from gaecli.settings import Settings

Shape = tuple[int, ...]


class DenseLayout:
    """[T, N] (`is_time_major`) or [B, T] arrays."""

    def __init__(
        self,
        file: RolloutFile,
        roles: Roles,
        settings: Settings,
        shape: tuple[int, int],
        *,
        is_time_major: bool,
    ) -> None:
        self.name = "time-major" if is_time_major else "batch-major"
        self.roles = roles
        self.group = settings.normalize_by
        self.like_column: str | None = roles.names["reward"]
        self.path: Path = file.path
        self.shape = shape
        self.crosses_blocks = self.is_time_major = is_time_major
        # Steps that a mask takes out of a lane leave nothing at its border to go on from.
        self.needs_all_rows = is_time_major and roles.get("mask") is not None
        self.drops = settings.on_nan == "drop-episode"
        self.flags: FlagColumns = flag_columns(roles, settings)
        self.mask_rule = MaskRule.of(settings)
        self._file = file
        rows, columns = shape
        self._longer = (rows + 1, columns) if is_time_major else (rows, columns + 1)
        used = dict.fromkeys([*roles.row_columns, *filter(None, [self.group])])
        self.row_columns = tuple(name for name in used if self.shape_of(name) in (shape, self._longer))
        self._lane_columns = tuple(name for name in used if name not in self.row_columns)
        self._check_shapes()

    def _check_shapes(self) -> None:
        """All that is used has the shape of its role. Headers tell, before any array is read."""
        names, flags = self.roles.names, self.flags
        at_start = flags.done if flags.done_at == "start" else None
        per_step = [names.get("next_value"), names.get("mask")]
        for name in filter(None, [names["value"], *flags.names, names.get("done_start")]):
            if not self.is_per_step(name, or_longer=True):
                raise self._wrong_shape(name)
        for name in filter(None, per_step):
            if not self.is_per_step(name):
                raise self._wrong_shape(name)
        final = names.get("final_done") if at_start is not None and self.is_per_step(at_start) else None
        for name in filter(None, [names.get("bootstrap_value"), final]):
            if math.prod(self.shape_of(name)) != self.num_lanes:
                raise self._wrong_shape(name, f"{self.num_lanes} numbers")
        group = self.group
        if group and not self.is_per_step(group) and math.prod(self.shape_of(group)) != self.num_lanes:
            raise self._wrong_shape(group, f"that, or {self.num_lanes} labels")

    @property
    def num_lanes(self) -> int:
        return self.shape[1 if self.is_time_major else 0]

    def shape_of(self, name: str) -> Shape:
        return squeezed(self._file.columns[name].shape)

    def is_per_step(self, name: str, *, or_longer: bool = False) -> bool:
        return self.shape_of(name) == self.shape or (or_longer and self.shape_of(name) == self._longer)

    @cached_property
    def lane_columns(self) -> dict[str, Column]:
        """Arrays with a number per lane. They are small, and every block needs them whole."""
        return {name: self._file.read_whole(name) for name in self._lane_columns}

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        first_row = start // self.shape[1]
        num_rows = len(columns[self.roles.names["reward"]].values)
        num_times = num_rows if self.is_time_major else self.shape[1]
        locate = _locator(first_row, num_times, is_time_major=self.is_time_major)
        num_lanes = self.num_lanes if self.is_time_major else num_rows
        stops = np.arange(1, num_lanes + 1, dtype=np.int64) * num_times
        cells = Cells(self.path, locate, self.drops, self.flags.inverted, stops)
        return _Piece(self, first_row, num_rows, {**columns, **self.lane_columns}, cells).block()

    def _wrong_shape(self, name: str, expected: str | None = None) -> DataError:
        reward = self.roles.names["reward"]
        return DataError(
            f"`{name}` of `{self.path}` has shape {self.shape_of(name)}, but `{reward}` has {self.shape}"
            + (f": expected {expected}" if expected else ""),
            hint="arrays of one rollout must have the same shape; name another one with its `--…-column`",
        )


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some rows of the arrays: steps of all environments, or the whole of some trajectories."""

    layout: DenseLayout
    first_row: int
    num_rows: int
    columns: Mapping[str, Column]
    cells: Cells

    @property
    def num_lanes(self) -> int:
        return self.layout.shape[1] if self.layout.is_time_major else self.num_rows

    @property
    def num_times(self) -> int:
        return self.num_rows if self.layout.is_time_major else self.layout.shape[1]

    @property
    def reaches_the_end(self) -> bool:
        """Its lanes end where the arrays do."""
        return not self.layout.is_time_major or self.first_row + self.num_rows == self.layout.shape[0]

    def block(self) -> Block:
        layout, cells, names = self.layout, self.cells, self.layout.roles.names
        check_alternates(self.columns, layout.roles, cells)
        mask, used = self._mask()
        rewards, bad = cells.numbers(self._per_step(names["reward"]), names["reward"], "reward", used)
        values_column, beyond = self._split_off_last(names["value"])
        values, bad_values = cells.numbers(values_column, names["value"], "value", used)

        bad_flags: list[BoolArray] = []
        terminated, truncated, starts = self._ends(bad_flags)
        ended = terminated | truncated
        self._check_starts(ended)
        cuts = ended.copy()
        last = np.arange(1, self.num_lanes + 1) * self.num_times - 1
        goes_on = layout.is_time_major and mask is None
        if not goes_on:
            cuts[last] = True
        next_values, bad_next = self._next_values(values, terminated, cuts, last, beyond)
        dropped = None
        if layout.drops:
            bad_steps = [part for part in (bad, bad_values, bad_next, *bad_flags) if part is not None]
            dropped = spread_to_trajectories(bad_steps, cuts, last + 1)
            if dropped is not None:
                rewards, values = np.where(dropped, 0, rewards), np.where(dropped, 0, values)
        groups, labels = self._groups()
        is_time_major, num_steps = layout.is_time_major, len(rewards)
        dense_shape = (self.num_times, self.num_lanes) if is_time_major else None
        block = Block(
            groups=groups,
            group_labels=labels,
            rewards=rewards,
            values=values,
            terminated=terminated,
            truncated=truncated,
            cuts=cuts,
            next_values=next_values,
            lanes=self._lanes(starts) if goes_on else NO_LANES,
            placement=Placement(num_steps, dense_shape=dense_shape),
            dropped=dropped,
            stream_ends=last,
            facts=replace(
                self._facts(ended, last, starts), lost=lost_rewards(rewards, used, None, cells.locate)
            ),
        )
        return block if mask is None or used is None else masked_steps(block, mask, used, layout.mask_rule)

    def _facts(self, ended: BoolArray, last: IndexArray, starts: BoolArray | None) -> BlockFacts:
        reads_ends = starts is None and self.layout.flags.done is not None
        return BlockFacts(
            flagged_steps=int(np.count_nonzero(ended)),
            flagged_lane_starts=int(ended[last + 1 - self.num_times].sum()) if reads_ends else 0,
            inverted=inverted_of(self.columns, self.layout.flags),
        )

    def _per_step(self, name: str) -> Column:
        """A [T, N] or [B, T] array as flat steps in lane order."""
        return Column(self._flat(self._dense(name)))

    def _split_off_last(self, name: str) -> tuple[Column, Array | None]:
        """Values may have one time more than the rewards: V(s_T), the bootstrap of each lane."""
        whole, beyond = split_off_last(self._dense(name), self.num_times, self._time_axis)
        return Column(self._flat(whole)), beyond if self.reaches_the_end else None

    @property
    def _time_axis(self) -> int:
        return 0 if self.layout.is_time_major else 1

    def _dense(self, name: str) -> Array:
        values = self.columns[name].values
        return values.reshape(squeezed(values.shape))

    def _flat(self, values: Array) -> Array:
        return np.ascontiguousarray(values.T if self.layout.is_time_major else values).reshape(-1)

    def _per_lane(self, name: str) -> Column:
        """A number for each lane."""
        column = self.columns[name]
        lanes = slice(None)
        if not self.layout.is_time_major:
            lanes = slice(self.first_row, self.first_row + self.num_rows)
        return Column(column.values.reshape(-1)[lanes], categories=column.categories)

    def _ends(self, bad: list[BoolArray]) -> tuple[BoolArray, BoolArray, BoolArray | None]:
        """(terminated, truncated, starts). Steps whose flags cannot be read are added to `bad`."""
        names = self.layout.flags
        found: dict[str, BoolArray | None] = {}
        starts = told = None
        for role in FLAGS:
            name = getattr(names, role)
            if name is None:
                found[role] = None
            elif role in ("done", "not_done") and names.done_at == "start":
                begins, found[role], known = self._start_flag(name)
                told = known if told is None else told & known
                starts = begins if role == "done" else starts
            else:
                found[role] = self._end_flag(name, bad)
        num_steps = self.num_lanes * self.num_times
        return (*split_ends(found, num_steps, names, self.cells, told), starts)

    def _end_flag(self, name: str, bad: list[BoolArray]) -> BoolArray:
        cells = self._dense(name)
        if not self.layout.is_per_step(name):
            cells = split_off_first(cells, self.num_times, self._time_axis)
        flags, missing = self.cells.flags(Column(self._flat(cells)), name)
        bad += [] if missing is None else [missing]
        return flags

    def _start_flag(self, name: str) -> tuple[BoolArray, BoolArray, BoolArray]:
        """(starts, ends, steps of which they tell) from flags that say "this observation is the first".

        end[t] = start[t + 1].
        Whether the last step of a piece is an end, the next piece says, by `Lanes.first_is_start`.
        """
        column, _ = self._split_off_last(name)
        starts = self.cells.flags(column, name)[0].reshape(self.num_lanes, self.num_times)
        ends, told = np.zeros_like(starts), np.ones_like(starts)
        ends[:, :-1] = starts[:, 1:]
        final = self.layout.roles.get("final_done")
        if not self.layout.is_per_step(name):
            ends[:] = self._end_flag(name, []).reshape(ends.shape)
        elif final is not None and self.reaches_the_end:
            ends[:, -1] = self.cells.flags(self._per_lane(final), final)[0]
        else:
            told[:, -1] = False
        return starts.reshape(-1), ends.reshape(-1), told.reshape(-1)

    def _check_starts(self, ended: BoolArray) -> None:
        """Start flags beside end flags have to agree with them."""
        name = self.layout.roles.get("done_start")
        if name is None:
            return
        starts, _ = self._split_off_last(name)
        follows = (np.arange(1, len(ended)) % self.num_times) != 0
        check_starts(
            {name: starts},
            self.layout.roles,
            self.layout.flags,
            ended,
            follows,
            None,
            lambda steps: steps,
            self.cells,
        )

    def _next_values(
        self,
        values: Array,
        terminated: BoolArray,
        cuts: BoolArray,
        last: IndexArray,
        beyond: Array | None,
    ) -> tuple[Array | None, BoolArray | None]:
        roles, cells = self.layout.roles, self.cells
        found = []
        name = roles.get("next_value")
        if name is not None:
            found.append((name, cells.optional_numbers(self._per_step(name), name)))
        finals = [(roles.names["value"], Column(beyond))] if beyond is not None else []
        bootstrap = roles.get("bootstrap_value")
        if bootstrap is not None and self.reaches_the_end:
            finals.append((bootstrap, self._per_lane(bootstrap)))
        at_end = cuts.copy()
        at_end[last] |= self.reaches_the_end
        for final_name, final_values in finals:
            final = np.full(len(values), np.nan)
            final[last] = cells.optional_numbers(final_values, final_name)
            found.append((final_name, final))
        return merge_next_values(found, terminated, at_end, cells)

    def _groups(self) -> tuple[IndexArray | None, Sequence[Hashable]]:
        """One group per step, or per lane."""
        name = self.layout.group
        if name is None:
            return None, ()
        if self.layout.is_per_step(name):
            shape = (self.num_rows, self.layout.shape[1])
            return group_codes(self.columns, name, lambda codes: self._flat(codes.reshape(shape)))
        labels = {name: self._per_lane(name)}
        return group_codes(labels, name, lambda codes: np.repeat(codes, self.num_times))

    def _mask(self) -> tuple[BoolArray | None, BoolArray | None]:
        """(the mask, the cells whose numbers enter)."""
        name, rule = self.layout.roles.get("mask"), self.layout.mask_rule
        if name is None:
            return None, None
        lanes = np.arange(self.num_lanes + 1, dtype=np.int64) * self.num_times
        mask = rule.shifted(self.cells.flags(self._per_step(name), name)[0], lanes)
        return mask, rule.used(mask, lanes)

    def _lanes(self, starts: BoolArray | None) -> Lanes:
        first = np.arange(self.num_lanes, dtype=np.int64) * self.num_times
        count = self.num_lanes
        return Lanes(
            first,
            first + self.num_times,
            keys=np.arange(count, dtype=np.int64),
            first_ids=(None,) * count,
            last_ids=(None,) * count,
            open_ends=np.ones(count, np.bool_),
            first_is_start=np.zeros(count, np.bool_) if starts is None else starts[first],
            first_padding=np.full(count, -1, np.int8),
        )


def _locator(first_row: int, num_times: int, *, is_time_major: bool) -> Locate:
    def locate(step: int) -> str:
        lane, time = divmod(step, num_times)
        return f"[{first_row + time}, {lane}]" if is_time_major else f"[{first_row + lane}, {time}]"

    return locate


def squeezed(shape: Shape) -> Shape:
    """[T, N, 1] and the like as [T, N]."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
