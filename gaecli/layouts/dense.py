"""Dense arrays: [T, N] with a lane per environment, or [B, T] with a trajectory per row.

Both become lanes of T steps. In a time-major array a lane may hold several trajectories, told apart
by flags, and may go on in the next file of a stream; a batch-major row is closed at its end.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.cells import Cells
from gaecli.layouts.drops import spread_to_trajectories
from gaecli.layouts.ends import FlagColumns, check_starts, flag_columns, split_ends
from gaecli.layouts.groups import group_codes
from gaecli.layouts.masks import MaskRule, masked_steps
from gaecli.layouts.next_values import merge_next_values
from gaecli.rollouts import NO_LANES, Array, Block, BlockFacts, BoolArray, IndexArray, Lanes, Placement
from gaecli.settings import Settings


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
        self._group = settings.normalize_by
        self.row_columns = tuple(dict.fromkeys([*roles.row_columns, *filter(None, [self._group])]))
        self.like_column: str | None = roles.names["reward"]
        self._path = file.path
        self._shape = shape
        self.crosses_blocks = is_time_major
        self._is_time_major = is_time_major
        self._drops = settings.on_nan == "drop-episode"
        self._flags: FlagColumns = flag_columns(roles, settings)
        self._mask_rule = MaskRule.of(settings)

    @property
    def _num_lanes(self) -> int:
        return self._shape[1] if self._is_time_major else self._shape[0]

    @property
    def _num_times(self) -> int:
        return self._shape[0] if self._is_time_major else self._shape[1]

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        cells = Cells(self._path, self._locate, self._drops)
        names = self.roles.names
        check_alternates(columns, self.roles, cells)
        mask, used = self._mask(columns, cells)
        rewards, bad = cells.numbers(
            self._per_step(columns, names["reward"]), names["reward"], "reward", used
        )
        values_column, beyond = self._split_off_last(columns, names["value"])
        values, bad_values = cells.numbers(values_column, names["value"], "value", used)

        bad_flags: list[BoolArray] = []
        terminated, truncated, starts = self._ends(columns, bad_flags, cells)
        ended = terminated | truncated
        self._check_starts(columns, ended, cells)
        cuts = ended.copy()
        last = np.arange(1, self._num_lanes + 1) * self._num_times - 1
        goes_on = self._is_time_major and mask is None
        if not goes_on:
            cuts[last] = True
        next_values, bad_next = self._next_values(columns, values, terminated, cuts, last, beyond, cells)
        dropped = None
        if self._drops:
            bad_steps = [part for part in (bad, bad_values, bad_next, *bad_flags) if part is not None]
            dropped = spread_to_trajectories(bad_steps, cuts, last + 1)
            if dropped is not None:
                rewards, values = np.where(dropped, 0, rewards), np.where(dropped, 0, values)
        done_on_start = starts is not None
        groups, labels = self._groups(columns)
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
            placement=Placement(len(rewards), dense_shape=self._shape)
            if self._is_time_major
            else Placement(len(rewards)),
            dropped=dropped,
            stream_ends=last,
            facts=BlockFacts(
                flagged_steps=int(np.count_nonzero(ended)),
                flagged_lane_starts=0
                if done_on_start or self._flags.done is None
                else int(ended[last + 1 - self._num_times].sum()),
            ),
        )
        return block if mask is None or used is None else masked_steps(block, mask, used, self._mask_rule)

    def _locate(self, step: int) -> str:
        lane, time = divmod(step, self._num_times)
        return f"[{time}, {lane}]" if self._is_time_major else f"[{lane}, {time}]"

    def _per_step(self, columns: Mapping[str, Column], name: str) -> Column:
        """A [T, N] or [B, T] array as flat steps in lane order."""
        values = squeezed(columns[name].values)
        if values.shape != self._shape:
            raise self._wrong_shape(name, values.shape)
        return Column(self._flat(values))

    def _split_off_last(self, columns: Mapping[str, Column], name: str) -> tuple[Column, Array | None]:
        """Values may have one time more than the rewards: V(s_T), the bootstrap of each lane."""
        values = squeezed(columns[name].values)
        if values.shape == self._shape:
            return Column(self._flat(values)), None
        longer = self._longer_shape
        if values.shape != longer:
            raise self._wrong_shape(name, values.shape)
        if self._is_time_major:
            return Column(self._flat(values[:-1])), values[-1]
        return Column(self._flat(values[:, :-1])), values[:, -1]

    @property
    def _longer_shape(self) -> tuple[int, int]:
        rows, columns = self._shape
        return (rows + 1, columns) if self._is_time_major else (rows, columns + 1)

    def _flat(self, values: Array) -> Array:
        return np.ascontiguousarray(values.T if self._is_time_major else values).reshape(-1)

    def _ends(
        self, columns: Mapping[str, Column], bad: list[BoolArray], cells: Cells
    ) -> tuple[BoolArray, BoolArray, BoolArray | None]:
        """(terminated, truncated, starts). Steps whose flags cannot be read are added to `bad`."""
        flags = self._flags
        terminated = self._end_flag(columns, flags.terminated, bad, cells)
        truncated = self._end_flag(columns, flags.truncated, bad, cells)
        starts = None
        if flags.done is None or flags.done_at == "end":
            done = self._end_flag(columns, flags.done, bad, cells)
        else:
            starts, done = self._start_flag(columns, flags.done, cells)
        num_steps = self._num_lanes * self._num_times
        return (*split_ends(terminated, truncated, done, num_steps, flags, cells), starts)

    def _end_flag(
        self, columns: Mapping[str, Column], name: str | None, bad: list[BoolArray], cells: Cells
    ) -> BoolArray | None:
        if name is None:
            return None
        flags, missing = cells.flags(self._per_step(columns, name), name)
        bad += [] if missing is None else [missing]
        return flags

    def _groups(self, columns: Mapping[str, Column]) -> tuple[IndexArray | None, Sequence[Hashable]]:
        """One group per step, or per lane."""
        if self._group is None:
            return None, ()
        shape = squeezed(columns[self._group].values).shape
        if shape == self._shape:
            return group_codes(columns, self._group, lambda codes: self._flat(codes.reshape(shape)))
        if math.prod(shape) != self._num_lanes:
            raise self._wrong_shape(self._group, shape, f"that, or {self._num_lanes} labels")
        return group_codes(columns, self._group, lambda codes: np.repeat(codes, self._num_times))

    def _start_flag(
        self, columns: Mapping[str, Column], name: str, cells: Cells
    ) -> tuple[BoolArray, BoolArray]:
        """(starts, ends) from flags that say "this observation is the first": end[t] = start[t + 1]."""
        column, beyond = self._split_off_last(columns, name)
        starts = cells.flags(column, name)[0].reshape(self._num_lanes, self._num_times)
        ends = np.zeros_like(starts)
        ends[:, :-1] = starts[:, 1:]
        final = self.roles.get("final_done")
        if beyond is not None:
            ends[:, -1] = cells.flags(Column(beyond), name)[0]
        elif final is not None:
            ends[:, -1] = cells.flags(Column(self._per_lane(columns, final)), final)[0]
        return starts.reshape(-1), ends.reshape(-1)

    def _check_starts(self, columns: Mapping[str, Column], ended: BoolArray, cells: Cells) -> None:
        """Start flags beside end flags have to agree with them."""
        name = self.roles.get("done_start")
        if name is None:
            return
        starts, _ = self._split_off_last(columns, name)
        follows = (np.arange(1, len(ended)) % self._num_times) != 0
        check_starts(
            {name: starts}, self.roles, self._flags, ended, follows, None, lambda steps: steps, cells
        )

    def _per_lane(self, columns: Mapping[str, Column], name: str) -> Array:
        values = columns[name].values.reshape(-1)
        if len(values) != self._num_lanes:
            raise self._wrong_shape(name, columns[name].values.shape, f"{self._num_lanes} numbers")
        return values

    def _next_values(
        self,
        columns: Mapping[str, Column],
        values: Array,
        terminated: BoolArray,
        cuts: BoolArray,
        last: Array,
        beyond: Array | None,
        cells: Cells,
    ) -> tuple[Array | None, BoolArray | None]:
        found = []
        name = self.roles.get("next_value")
        if name is not None:
            found.append((name, cells.optional_numbers(self._per_step(columns, name), name)))
        finals = [(self.roles.names["value"], beyond)] if beyond is not None else []
        bootstrap = self.roles.get("bootstrap_value")
        if bootstrap is not None:
            finals.append((bootstrap, self._per_lane(columns, bootstrap)))
        at_end = cuts.copy()
        at_end[last] = True
        for final_name, final_values in finals:
            final = np.full(len(values), np.nan)
            final[last] = cells.optional_numbers(Column(final_values), final_name)
            found.append((final_name, final))
        return merge_next_values(found, terminated, at_end, cells)

    def _mask(self, columns: Mapping[str, Column], cells: Cells) -> tuple[BoolArray | None, BoolArray | None]:
        """(the mask, the cells whose numbers enter)."""
        name = self.roles.get("mask")
        if name is None:
            return None, None
        lanes = np.arange(self._num_lanes + 1, dtype=np.int64) * self._num_times
        mask = self._mask_rule.shifted(cells.flags(self._per_step(columns, name), name)[0], lanes)
        return mask, self._mask_rule.used(mask, lanes)

    def _lanes(self, starts: BoolArray | None) -> Lanes:
        first = np.arange(self._num_lanes, dtype=np.int64) * self._num_times
        count = self._num_lanes
        return Lanes(
            first,
            first + self._num_times,
            keys=list(range(count)),
            first_ids=[None] * count,
            last_ids=[None] * count,
            open_ends=[True] * count,
            first_is_start=[False] * count if starts is None else starts[first].tolist(),
            first_padding=[None] * count,
        )

    def _wrong_shape(self, name: str, shape: tuple[int, ...], expected: str | None = None) -> DataError:
        reward = self.roles.names["reward"]
        return DataError(
            f"`{name}` of `{self._path}` has shape {shape}, but `{reward}` has {self._shape}"
            + (f": expected {expected}" if expected else ""),
            hint="arrays of one rollout must have the same shape; name another one with its `--…-column`",
        )


def squeezed(values: Array) -> Array:
    """[T, N, 1] and the like as [T, N]."""
    while values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    return values
