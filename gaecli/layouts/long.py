"""Long tables: one row per step, trajectories told apart by keys, by flags, or by both."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gaecli.columns import Roles, flag_of
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.arrange import Arrangement, arrange, arrange_by_key, arrange_by_step
from gaecli.layouts.array_columns import ArrayColumns, Table
from gaecli.layouts.behind import Behind
from gaecli.layouts.cells import Cells, Locate
from gaecli.layouts.drops import spread_to_trajectories
from gaecli.layouts.ends import Flags, check_final, check_starts, flag_columns, read_flags, split_ends
from gaecli.layouts.facts import Ends, facts_of
from gaecli.layouts.frames import Frame
from gaecli.layouts.groups import group_codes
from gaecli.layouts.keys import as_labels, codes, first_duplicate
from gaecli.layouts.masks import MaskRule, masked_rows
from gaecli.layouts.next_values import merge_next_values, values_beyond
from gaecli.layouts.padding import Padding, used_cells
from gaecli.layouts.steps import are_unique, check_order, counting, falls, read_steps, stride_of
from gaecli.rollouts import NO_LANES, Array, Block, BoolArray, FloatArray, IndexArray, Lanes
from gaecli.settings import Settings


class NeedsWholeStream(Exception):
    """Rows are out of order, so that no block can be looked at alone."""


class NeedsKeys(Exception):
    """Ids come back after others, so that every block has to be taken key by key."""


def id_comes_back(label: Hashable, path: str, hint: str | None = None) -> DataError:
    """Without flags or steps, nothing tells rows that alternate from rows that are mixed up."""
    if isinstance(label, tuple):
        label = label[-1] if len(label) != 1 else label[0]
    name = label[0] if isinstance(label, tuple) and len(label) == 1 else label
    return DataError(
        f"episode id {name!r} of `{path}` comes back after other episodes",
        hint=hint
        or "sort the rows by episode; or name what orders them with `--step-column`, what ends them with "
        "`--done-column`, or the environment with `--env-column`; `--episode-column none` goes by the flags alone",
    )


@dataclass(frozen=True)
class Taking:
    """How the rows of a stream are taken: as they come, key by key, or all of them at once and sorted."""

    is_whole: bool = False
    by_key: bool = False


class LongLayout:
    """One row per step."""

    name = "long"
    needs_all_rows = False
    crosses_blocks = True
    #: Trajectories may go on at the ends of lanes.
    keeps_lanes = True
    like_column: str | None = None

    def __init__(
        self,
        file: RolloutFile,
        roles: Roles,
        settings: Settings,
        taking: Taking,
        frame: Frame | None = None,
    ) -> None:
        """`frame`: that of arrays, which become the columns of a table."""
        self.roles = roles
        self.like_column = roles.names["reward"] if file.format_name == "npz" else None
        self._path = file.path
        self._drops = settings.on_nan == "drop-episode"
        self._group = settings.normalize_by
        self._flags = flag_columns(roles, settings)
        self._mask_rule = MaskRule.of(settings)
        self._taking = taking
        episode = roles.get("episode")
        self._ids = (*((episode,) if episode is not None else ()), *roles.key_parts)
        self.row_columns = tuple(dict.fromkeys([*roles.row_columns, *filter(None, [self._group])]))
        self._arrays: ArrayColumns | None = None
        if frame is not None:
            self._arrays = ArrayColumns(file, roles, self._flags, frame, self._group)
            self._flags = self._arrays.told(self._flags, settings)
            self.row_columns = self._arrays.row_columns

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        """The columns of a block as the rows have them."""
        return self._table(start, columns).columns

    def _table(self, start: int, columns: Mapping[str, Column]) -> Table:
        if self._arrays is None:
            return Table(columns)
        return self._arrays.table(start, columns).with_labels([self.roles.get("env"), *self._ids])

    def _check_alternates(self, table: Table, cells: Cells) -> None:
        check_alternates({**table.labels, **table.columns}, self.roles, cells)

    def _mask(self, table: Table, cells: Cells) -> tuple[BoolArray | None, BoolArray | None]:
        """(the mask of the rows, the rows whose numbers enter); None: all."""
        mask = masked_rows(table.columns, self.roles, self._mask_rule, cells)
        return mask, mask if self._mask_rule.mode == "zero" else None

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        names = self.roles.names
        table = self._table(start, columns)
        columns, behind = table.columns, table.behind
        num_steps = len(columns[names["reward"]].values)
        cells = Cells(self._path, self._locate(start, table), self._drops)
        self._check_alternates(table, cells)
        mask, kept = self._mask(table, cells)
        used = used_cells(columns, self.roles, cells, kept)
        rewards, bad = cells.numbers(columns[names["reward"]], names["reward"], "reward", used)
        values, bad_values = cells.numbers(columns[names["value"]], names["value"], "value", used)
        flags = read_flags(columns, self._flags, cells)
        steps = read_steps(columns, self.roles, cells)
        arrangement = self._arrange(table, num_steps, steps, flags)
        in_lanes = arrangement.in_lane_order
        lane_cells = Cells(self._path, lambda step: cells.locate(arrangement.row(step)), self._drops)

        terminated, truncated, starts = self._ends(flags, behind, arrangement, num_steps, lane_cells)
        same = arrangement.same_trajectory(num_steps)
        padding = Padding.read(columns, self.roles, cells, in_lanes, same, behind)
        if padding is not None:
            terminated, truncated = padding.ends(terminated, truncated)
            same = padding.uncut(same)
        ended = terminated | truncated
        self._check_starts(columns, ended, arrangement, lane_cells)
        cuts = _cuts(ended, same, arrangement, padding)
        last = behind.steps(in_lanes, num_steps)
        self._check_behind(behind, last, arrangement, lane_cells)
        cuts[last[self._changes_behind(table)]] = True
        rewards, values = in_lanes(rewards), in_lanes(values)

        given = self._given_values(table, in_lanes, padding, lane_cells)
        at_end = cuts.copy()
        at_end[last] = True
        next_values, bad_next = merge_next_values(given, terminated, at_end, lane_cells)
        dropped = self._dropped([bad, bad_values, flags.bad], bad_next, arrangement, cuts)
        if dropped is not None:
            rewards, values = _zeroed(rewards, dropped), _zeroed(values, dropped)
            next_values = None if next_values is None else _zeroed(next_values, dropped)
        first_and_last, stride = self._check_steps(steps, same & ~ended[:-1], arrangement, lane_cells)
        groups, labels = group_codes(columns, self._group, in_lanes)
        is_step = None if padding is None else ~padding.rows
        done = None if flags.done is None or self._is_of_states(self._flags.done) else in_lanes(flags.done)
        ends = Ends(ended, done, same, is_step)
        beyond = values_beyond(given, arrangement.stops - 1)
        block = Block(
            rewards=rewards,
            values=values,
            terminated=terminated,
            truncated=truncated,
            cuts=cuts,
            next_values=next_values,
            lanes=_lanes(arrangement, starts, padding, first_and_last, beyond)
            if self.keeps_lanes
            else NO_LANES,
            placement=arrangement.placement,
            is_step=is_step,
            dropped=dropped,
            stream_ends=None if arrangement.adjacent is None else np.flatnonzero(~arrangement.adjacent),
            groups=groups,
            group_labels=labels,
            facts=facts_of(start, ends, stride, rewards, arrangement),
        )
        return block if mask is None else self._masked(block, mask, kept)

    def _masked(self, block: Block, mask: BoolArray, used: BoolArray | None) -> Block:
        return self._mask_rule.zeroed(block, block.placement.to_steps(mask))

    def _is_of_states(self, name: str | None) -> bool:
        return name is not None and self._arrays is not None and self._arrays.form(name) == "states"

    def _locate(self, start: int, table: Table) -> Locate:
        episode, step = self.roles.get("episode"), self.roles.get("step")

        def locate(row: int) -> str:
            parts = [
                f"{role} {table.columns[name].label(row)}"
                for role, name in (("episode", episode), ("step", step))
                if name is not None
            ]
            return f"row {start + row}" + (f" ({', '.join(parts)})" if parts else "")

        return locate

    def _arrange(
        self, table: Table, num_rows: int, steps: Mapping[str, IndexArray], flags: Flags
    ) -> Arrangement:
        columns, env_name = table.columns, self.roles.get("env")
        env = columns[env_name] if env_name is not None else None
        ids = [columns[name] for name in self._ids]
        arrangement = (
            arrange_by_key(env, ids, num_rows) if self._taking.by_key else arrange(env, ids, num_rows)
        )
        if arrangement.is_scattered and not self._taking.by_key:
            if not steps and not self._flags.any:
                labels = arrangement.run_labels
                raise id_comes_back(first_duplicate(labels if labels is not None else ()), str(self._path))
            if not self._taking.is_whole:
                raise NeedsKeys
            arrangement = arrange_by_key(env, ids, num_rows)
        moved = {name: arrangement.in_lane_order(numbers) for name, numbers in steps.items()}
        found = counting(moved, arrangement.same_trajectory(num_rows), self.roles)
        if found is None or not self._is_unordered(found[1], flags, arrangement):
            return arrangement
        if not self._taking.is_whole:
            raise NeedsWholeStream
        return arrange_by_step(env, ids, steps[found[0]], num_rows)

    def _is_unordered(self, steps: IndexArray, flags: Flags, arrangement: Arrangement) -> bool:
        """Rows of a trajectory are out of order, and the steps tell which order it was."""
        same = arrangement.same_trajectory(len(steps))
        if not falls(steps, same):
            return False
        if arrangement.id_columns:
            return True
        # Without ids, a step that falls may be a reset: after an end it is one.
        for flag in (flags.terminated, flags.truncated, flags.done):
            if flag is not None:
                same = same & ~arrangement.in_lane_order(flag)[:-1]
        lanes = np.searchsorted(arrangement.starts, np.arange(len(steps)), side="right")
        return falls(steps, same) and are_unique(steps, codes([Column(lanes)], len(steps)))

    def _check_steps(
        self, steps: Mapping[str, IndexArray], same: BoolArray, arrangement: Arrangement, cells: Cells
    ) -> tuple[tuple[IndexArray, IndexArray] | None, int | None]:
        """(steps at both ends of each lane, their distance within trajectories)."""
        moved = {name: arrangement.in_lane_order(numbers) for name, numbers in steps.items()}
        check_order(moved, same, self.roles, self._path)
        found = counting(moved, same, self.roles)
        if found is None:
            return None, None
        name, numbers = found
        stride = stride_of(numbers, same, name, self._path, cells.locate)
        return (numbers[arrangement.starts], numbers[arrangement.stops - 1]), stride

    def _ends(
        self, flags: Flags, behind: Behind, arrangement: Arrangement, num_steps: int, cells: Cells
    ) -> tuple[BoolArray, BoolArray, BoolArray | None]:
        """(terminated, truncated, starts) in lane order. A start flag ends the step before it."""
        moved = [
            None if flag is None else arrangement.in_lane_order(flag)
            for flag in (flags.terminated, flags.truncated, flags.done)
        ]
        terminated, truncated, done = moved
        starts = None
        last = behind.steps(arrangement.in_lane_order, num_steps)
        final = self._final(behind, last, cells)
        if done is not None and self._flags.done_at == "start":
            starts, done = done, np.zeros(num_steps, np.bool_)
            done[:-1] = starts[1:]
            if arrangement.adjacent is not None:
                done[:-1] &= arrangement.adjacent
        if final is not None and (starts is not None or not self._flags.any):
            done = np.zeros(num_steps, np.bool_) if done is None else done
            done[last] = final
        terminated, truncated = split_ends(terminated, truncated, done, num_steps, self._flags, cells)
        if final is not None:
            name = self.roles.names["final_done"]
            check_final(name, final, (terminated | truncated)[last], last, self._flags, cells)
        return terminated, truncated, starts

    def _final(self, behind: Behind, last: IndexArray, cells: Cells) -> BoolArray | None:
        """[lanes] whether the last step of each ended its episode, where a flag by itself says so."""
        name = self.roles.get("final_done")
        if name is None or name not in behind.columns:
            return None
        lane_cells = replace(cells, locate=lambda lane: cells.locate(int(last[lane])))
        return lane_cells.flags(behind.columns[name], name)[0]

    def _check_starts(
        self, columns: Mapping[str, Column], ended: BoolArray, arrangement: Arrangement, cells: Cells
    ) -> None:
        follows = arrangement.adjacent
        if follows is None:
            follows = np.ones(max(len(ended) - 1, 0), np.bool_)
        changes = arrangement.id_changes
        check_starts(
            columns, self.roles, self._flags, ended, follows, changes, arrangement.in_lane_order, cells
        )

    def _given_values(
        self, table: Table, in_lanes: Callable[[Array], Array], padding: Padding | None, cells: Cells
    ) -> list[tuple[str, Array]]:
        """V(sₜ₊₁) as far as columns, padding rows and what is behind give it, in the order in which they count."""
        columns, behind = table.columns, table.behind
        found = [
            (name, in_lanes(cells.optional_numbers(columns[name], name)))
            for role in ("next_value", "bootstrap_value")
            if (name := self.roles.get(role)) is not None and name in columns
        ]
        value, bootstrap = self.roles.names["value"], self.roles.get("bootstrap_value")
        num_steps = len(columns[value].values)
        if padding is not None:
            values = in_lanes(cells.optional_numbers(columns[value], value))
            found.append((value, padding.next_values(values)))
        last, is_other = behind.steps(in_lanes, num_steps), self._changes_behind(table)
        for name in filter(None, (value, bootstrap)):
            if name in behind.columns:
                given = np.full(num_steps, np.nan)
                numbers = cells.optional_numbers(behind.columns[name], name)
                given[last] = np.where(is_other, np.nan, numbers)
                found.append((name, given))
        return found

    def _check_behind(self, behind: Behind, last: IndexArray, arrangement: Arrangement, cells: Cells) -> None:
        """One value behind all rows is that of the last step of the only lane, or nobody knows whose."""
        if arrangement.is_by_shape:
            return
        for role in ("value", "bootstrap_value", "final_done"):
            name = self.roles.get(role)
            if name is None or name not in behind.columns:
                continue
            num_lanes = len(set(as_labels(arrangement.keys)))
            at_end = np.isin(last, arrangement.stops - 1)
            if num_lanes == 1 and at_end.all():
                continue
            why = (
                f"there are {num_lanes:,} environments"
                if num_lanes > 1
                else "rows are not in the order of time"
            )
            raise DataError(
                f"`{name}` of `{self._path}` has one number for the state behind the last row, "
                f"{cells.locate(int(last[0]))}, but {why}",
                hint="sort the rows, or give the value of the next state of each row with `--next-value-column`; "
                f"`{flag_of(role)} none` does without"
                if role != "value"
                else "drop the last value, or sort the rows",
            )

    def _changes_behind(self, table: Table) -> BoolArray:
        """[lanes] the state behind the last step is of another trajectory, by an id of states."""
        behind = table.behind
        changes = np.zeros(len(behind.rows), np.bool_)
        for name in filter(None, (self.roles.get("env"), *self._ids)):
            if name in behind.columns and name not in table.labels:
                changes |= behind.columns[name].values != table.columns[name].values[behind.rows]
        return changes

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


def _cuts(ended: BoolArray, same: BoolArray, arrangement: Arrangement, padding: Padding | None) -> BoolArray:
    """Flags and changes of id cut. The last step of a lane that may go on is cut by its flag only."""
    cuts = ended.copy()
    cuts[:-1] |= ~same
    last = arrangement.stops - 1
    cuts[last] = ended[last] | ~arrangement.open_ends
    if padding is None:
        return cuts
    cuts[padding.before_end] = True
    return cuts | padding.rows


def _lanes(
    arrangement: Arrangement,
    starts: BoolArray | None,
    padding: Padding | None,
    first_and_last: tuple[IndexArray, IndexArray] | None,
    beyond: FloatArray | None,
) -> Lanes:
    first, last = arrangement.starts, arrangement.stops - 1
    first_ids = arrangement.ids_at(first)
    if padding is not None and padding.starts is not None:
        # What begins an episode is not what the block before goes on with, ids or not.
        begins = padding.starts[first].tolist()
        first_ids = [
            ("begins", name) if is_first else name
            for name, is_first in zip(as_labels(first_ids), begins, strict=True)
        ]
    return Lanes(
        arrangement.starts,
        arrangement.stops,
        arrangement.keys,
        first_ids,
        arrangement.ids_at(last),
        arrangement.open_ends,
        np.zeros(len(first), np.bool_) if starts is None else starts[first],
        np.full(len(first), -1, np.int8) if padding is None else padding.of_first(first),
        beyond,
        None if first_and_last is None else first_and_last[0],
        None if first_and_last is None else first_and_last[1],
    )


def _zeroed(numbers: Array, where: BoolArray) -> Array:
    return np.where(where, numbers.dtype.type(0), numbers)
