"""Long tables: one row per step, trajectories told apart by keys, by flags, or by both."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.block_facts import BlockFacts
from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LAYOUTS
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.arrange import Arrangement, arrange, arrange_by_key, arrange_by_step
from gaecli.layouts.array_columns import ArrayColumns, ArrayTable
from gaecli.layouts.behind import check_behind, values_behind
from gaecli.layouts.cells import Cells, Locate, spread_to_trajectories
from gaecli.layouts.ends import (
    Flags,
    check_starts,
    ends_in_lanes,
    inverted_of,
    read_flags,
)
from gaecli.layouts.evidence.id_holes import id_holes
from gaecli.layouts.evidence.ids import IdTrace, role_of_suspect, suspects, traces
from gaecli.layouts.evidence.lost_rewards import lost_rewards
from gaecli.layouts.extras import ExtraCells, check_extras, read_extras, read_own_roles, zeroed
from gaecli.layouts.facts import Ends, facts_of
from gaecli.layouts.flag_columns import flag_columns
from gaecli.layouts.frames import Frame
from gaecli.layouts.keys import codes, first_duplicate
from gaecli.layouts.lanes import cuts_of, lanes_of, undecided_values
from gaecli.layouts.long_rows import LongRows, LongTrajectories, NextValues
from gaecli.layouts.masks import MaskRule, masked_rows
from gaecli.layouts.next_values import given_values, merge_next_values, values_beyond
from gaecli.layouts.padding import Padding, used_cells
from gaecli.layouts.rewards import RewardRule
from gaecli.layouts.row_order import NeedsKeys, NeedsWholeStream, RowOrder
from gaecli.layouts.steps import (
    Steps,
    check_order,
    check_sortable,
    falls,
    leading,
    read_steps,
    stride_of,
    times_at_ends,
    true_order,
    way_out,
)
from gaecli.rollouts import NO_LANES, Block, Labels
from gaecli.settings import Settings
from gaecli.shell_words import word


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


class LongLayout:
    """One row per step."""

    kind = LAYOUTS["long"]
    frame: Frame | None = None
    has_steps = True
    needs_all_rows = False
    crosses_blocks = True
    #: Columns that order or cut the items of lists, where those are the rows.
    _keyed: Sequence[str] | None = None
    #: Trajectories may go on at the ends of lanes.
    keeps_lanes = True
    like_column: str | None = None

    def __init__(
        self,
        file: RolloutFile,
        roles: Roles,
        settings: Settings,
        taking: RowOrder,
        frame: Frame | None = None,
    ) -> None:
        """`frame`: that of arrays, which become the columns of a table."""
        self.roles = self.key_roles = roles
        self.like_column = None if frame is None else roles.names["reward"]
        self._path = file.path
        self._drops = settings.on_nan == "drop-episode"
        self._unit_is = settings.unit_is
        self._labels = settings.label_columns
        self._groups = settings.group_columns
        self._rewards = RewardRule.of(settings)
        self._extras = check_extras(file, roles, settings)
        self._kind = settings.kind
        self._decays = settings.decay_columns
        self._flags = flag_columns(roles, settings)
        self._mask_rule = MaskRule.of(settings).in_place(settings)
        self._taking = taking
        episode = roles.get("episode")
        self._ids = (*((episode,) if episode is not None else ()), *roles.key_parts)
        # Without ids it may fall wherever an episode begins.
        self._clock = roles.clock if self._ids else None
        self._suspects = suspects(file, roles, settings)
        self._arrays: ArrayColumns | None = None
        if frame is None:
            beside = [*filter(None, [self._clock]), *self._labels, *self._extras]
            used = [*roles.row_columns, *beside, *self._suspects]
            self.row_columns = tuple(dict.fromkeys(used))
        else:
            beside = [*self._labels, *self._extras]
            self._arrays = ArrayColumns(file, roles, self._flags, frame, beside)
            self._flags = self._arrays.told(self._flags, settings)
            self._clock = self._clock if self._arrays.takes(self._clock) else None
            self._suspects = tuple(name for name in self._suspects if self._arrays.takes(name))
            self.row_columns = self._arrays.row_columns

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        """The columns of a block as the rows have them."""
        return self._table(start, columns).columns

    def _table(self, start: int, columns: Mapping[str, Column]) -> ArrayTable:
        if self._arrays is None:
            return ArrayTable(columns)
        labels = [self.roles.get("env"), *self._ids, *self._labels, *self._extras]
        return self._arrays.table(start, columns).with_labels(labels)

    def _check_alternates(self, table: ArrayTable, cells: Cells) -> None:
        check_alternates({**table.labels, **table.columns}, self.roles, cells)

    def _mask(self, table: ArrayTable, cells: Cells) -> tuple[BoolArray | None, BoolArray | None]:
        """(the mask of the rows, the rows whose numbers enter); None: all."""
        mask = masked_rows(table.columns, self.roles, self._mask_rule, cells, keyed=self._keyed)
        return mask, None if self._mask_rule.mode == "keep" else mask

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        table = self._table(start, columns)
        columns, locate = table.columns, self._locate(start, table)
        beside = self.kind.row_is == "step", columns.get(self.roles.get("value") or "")
        cells = Cells(self._path, locate, self._drops, self._flags.inverted, *self._stops(table), *beside)
        self._check_alternates(table, cells)
        mask, kept = self._mask(table, cells)
        rows = self._rows(columns, cells, kept)
        found = self._trajectories(table, rows, cells)
        values = self._next_values(table, found)
        extras = self._read_extras(columns, cells, rows.used)
        dropped = self._dropped([*rows.bad, extras.bad], values.bad, found.arrangement, found.cuts)
        step_ends, stride = self._check_steps(
            columns, rows.steps, found.inside, found.arrangement, found.cells
        )
        block = self._steps(columns, rows, found, values, extras, dropped, step_ends)
        block = replace(block, facts=self._facts(start, columns, rows, found, block.rewards, stride, mask))
        if (unit := self.roles.get("unit")) is not None:
            from gaecli.layouts.units import masked_outside, with_units

            in_lanes, shift = found.arrangement.in_lane_order, self._mask_rule.shift
            block = with_units(block, columns[unit], self.roles, self._unit_is, cells, in_lanes, shift=shift)
        if mask is not None:
            block = self._masked(block, mask, kept, table)
        return block if unit is None else masked_outside(block)

    def _rows(self, columns: Mapping[str, Column], cells: Cells, kept: BoolArray | None) -> LongRows:
        names = self.roles.names
        num_steps = len(columns[names["reward"]].values)
        used = used_cells(columns, self.roles, cells, kept)
        rewarded = kept if self._rewards.arrives else used
        rewards = self._rewards.read(columns, names["reward"], cells, rewarded)
        values, bad_values = cells.values(columns, names.get("value"), num_steps, used)
        own = read_own_roles(columns, self.roles, self._kind, cells, used)
        flags = read_flags(columns, self._flags, cells)
        steps = read_steps(columns, self.roles, cells)
        bad = [rewards.bad, bad_values, own.bad, flags.bad]
        holes = id_holes(columns, self.roles, cells, kept)
        if self._groups:
            from gaecli.layouts.groups import check_groups

            check_groups(columns, self._groups, cells, rewards.bad if used is None else ~used)
        return LongRows(num_steps, used, rewards, values, own, flags, steps, bad, holes)

    def _trajectories(self, table: ArrayTable, rows: LongRows, cells: Cells) -> LongTrajectories:
        columns, behind, num_steps = table.columns, table.behind, rows.num_steps
        arrangement = self._arrange(table, num_steps, rows.steps, rows.flags)
        in_lanes = arrangement.in_lane_order
        lane_cells = replace(cells, locate=lambda step: cells.locate(arrangement.row(step)))
        flags = rows.flags.moved(in_lanes)
        terminated, truncated, starts = ends_in_lanes(
            flags, self._flags, self.roles, behind, arrangement, lane_cells
        )
        same = arrangement.same_trajectory(num_steps)
        padding = Padding.read(columns, self.roles, cells, in_lanes, same, behind)
        if padding is not None:
            terminated, truncated = padding.ends(terminated, truncated)
            same = padding.uncut(same)
        ended = terminated | truncated
        self._check_starts(columns, ended, arrangement, lane_cells)
        cuts = cuts_of(ended, same, arrangement, padding)
        last = behind.steps(in_lanes, num_steps)
        check_behind(behind, self.roles, last, arrangement, lane_cells)
        is_other = table.changes_behind([self.roles.get("env"), *self._ids])
        cuts[last[is_other]] = True
        return LongTrajectories(
            arrangement,
            lane_cells,
            terminated,
            truncated,
            flags["done"],
            starts,
            padding,
            same,
            cuts,
            last,
            is_other,
        )

    def _next_values(self, table: ArrayTable, found: LongTrajectories) -> NextValues:
        arrangement, cells, last = found.arrangement, found.cells, found.last
        num_steps = len(found.cuts)
        given = given_values(
            table.columns, self.roles, arrangement.in_lane_order, found.padding, cells
        ) + values_behind(table.behind, self.roles, last, found.is_other, num_steps, cells)
        at_end = found.cuts.copy()
        at_end[last] = True
        numbers, bad = merge_next_values(given, found.terminated, at_end, cells)
        return NextValues(numbers, bad, values_beyond(given, arrangement.stops - 1))

    def _steps(
        self,
        columns: Mapping[str, Column],
        rows: LongRows,
        found: LongTrajectories,
        values_after: NextValues,
        extras: ExtraCells,
        dropped: BoolArray | None,
        step_ends: tuple[Array, Array] | None,
    ) -> Block:
        arrangement, padding, starts = found.arrangement, found.padding, found.starts
        in_lanes = arrangement.in_lane_order
        rewards, values = in_lanes(rows.rewards.numbers), in_lanes(rows.values)
        next_values, undecided = values_after.numbers, None
        if dropped is not None:
            rewards, values = _zeroed(rewards, dropped), _zeroed(values, dropped)
            next_values = None if next_values is None else _zeroed(next_values, dropped)
        lanes = NO_LANES
        if self.keeps_lanes:
            if starts is not None or padding is not None:
                next_values, undecided = undecided_values(next_values, found.cuts, arrangement)
            lanes = lanes_of(arrangement, starts, padding, step_ends, values_after.beyond, undecided)
        return Block(
            rewards=rewards,
            values=values,
            terminated=found.terminated,
            truncated=found.truncated,
            cuts=found.cuts,
            next_values=next_values,
            lanes=lanes,
            placement=arrangement.placement,
            is_step=found.is_step,
            dropped=dropped,
            stream_ends=None if arrangement.adjacent is None else np.flatnonzero(~arrangement.adjacent),
            labels=self._labels_of(columns, in_lanes),
            missing_rewards=rows.rewards.moved(in_lanes),
            has_values="value" in self.roles.names,
            extras=zeroed({**extras.moved(in_lanes), **rows.own.moved(in_lanes)}, dropped),
        )

    def _facts(
        self,
        start: int,
        columns: Mapping[str, Column],
        rows: LongRows,
        found: LongTrajectories,
        rewards: Array,
        stride: int | None,
        mask: BoolArray | None,
    ) -> BlockFacts:
        """`rewards`: [N] of the steps; `mask`: of the rows. None: all of them are steps."""
        arrangement = found.arrangement
        done = None if self._is_of_states(self._flags.done) else found.done
        is_step = counted = None if mask is None else arrangement.in_lane_order(mask)
        if found.is_step is not None:
            is_step = found.is_step if is_step is None else found.is_step & is_step
        if self._mask_rule.mode == "keep" and not self._mask_rule.drops_rewards:
            counted = None  # every reward is one
        same = found.same
        if self._mask_rule.mode == "cut" and is_step is not None:
            same = same & is_step[1:] & is_step[:-1]  # what is left out goes on with no episode
        ends = Ends(found.ended, done, same, is_step)
        return replace(
            facts_of(start, ends, stride, rewards, arrangement, inverted_of(columns, self._flags)),
            lost=lost_rewards(rewards, counted, found.padding, found.cells.locate, arrangement.placement),
            suspects=self._traces(start, columns, arrangement, found.inside),
            id_holes=rows.id_holes,
        )

    def _read_extras(self, columns: Mapping[str, Column], cells: Cells, used: BoolArray | None) -> ExtraCells:
        if self._mask_rule.keeps_time:
            used = used_cells(columns, self.roles, cells, None)
        return read_extras(columns, self._extras, self._decays, cells, used)

    def _labels_of(
        self, columns: Mapping[str, Column], in_lanes: Callable[[Array], Array]
    ) -> Mapping[str, Labels]:
        if not self._labels:
            return {}
        from gaecli.layouts.groups import read_labels

        return read_labels(columns, self._labels, in_lanes)

    def _stops(self, table: ArrayTable) -> tuple[IndexArray | None, int]:
        """(where trajectories stop, if that is known before any is read; how many stand side by side)."""
        return None, 1

    def _masked(self, block: Block, mask: BoolArray, used: BoolArray | None, table: ArrayTable) -> Block:
        return self._mask_rule.zeroed(block, block.placement.to_steps(mask))

    def _is_of_states(self, name: str | None) -> bool:
        return name is not None and self._arrays is not None and self._arrays.form(name) == "states"

    def _traces(
        self, start: int, columns: Mapping[str, Column], arrangement: Arrangement, inside: BoolArray
    ) -> Mapping[str, IdTrace]:
        count = len(arrangement.starts) if self.keeps_lanes else 0
        lanes = arrangement.starts[:count], arrangement.stops[:count] - 1
        return traces(
            columns,
            self._suspects,
            arrangement.in_lane_order,
            inside,
            lanes,
            lambda step: start + arrangement.row(step),
        )

    def _locate(self, start: int, table: ArrayTable) -> Locate:
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
        self, table: ArrayTable, num_rows: int, steps: Mapping[str, Steps], flags: Flags
    ) -> Arrangement:
        columns, env_name = table.columns, self.roles.get("env")
        env = columns[env_name].as_ids() if env_name is not None else None
        ids = [columns[name].as_ids() for name in self._ids]
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
        found = true_order(columns, steps, flags, arrangement, self.roles, self._clock)
        if found is None:
            return arrangement
        if not self._taking.is_whole:
            raise NeedsWholeStream
        name, order, fallen = found
        keys = codes([*([env] if env is not None else []), *ids], num_rows)
        check_sortable(order, keys, name, self._path)
        return replace(arrange_by_step(env, ids, order.numbers, num_rows), clock_falls=fallen)

    def _check_steps(
        self,
        columns: Mapping[str, Column],
        steps: Mapping[str, Steps],
        same: BoolArray,
        arrangement: Arrangement,
        cells: Cells,
    ) -> tuple[tuple[Array, Array] | None, int | None]:
        """(steps at both ends of each lane, their distance within trajectories)."""
        moved = {name: column.moved(arrangement.in_lane_order) for name, column in steps.items()}
        check_order(moved, same, self.roles, self._path)
        found = leading(moved, same, self.roles)
        if found is None:
            clock = None if steps or self._clock is None else columns[self._clock]
            return (None if clock is None else times_at_ends(clock, arrangement)), None
        stride = stride_of(
            moved[found],
            same,
            found,
            self._path,
            cells.locate,
            lambda: (
                self._tell_apart(self._changing(columns, arrangement, falls(moved[found].numbers, same)))
                or way_out(found, steps[found], moved[found], same, self.roles)
                or self._tell_apart(self._suspects)
            ),
        )
        numbers = moved[found].numbers
        if not moved[found].counts:
            numbers = numbers.astype(np.float64)
        return (numbers[arrangement.starts], numbers[arrangement.stops - 1]), stride

    def _changing(
        self, columns: Mapping[str, Column], arrangement: Arrangement, fallen: BoolArray
    ) -> Sequence[str]:
        """Columns that nothing uses and that are called as ids: those that change wherever a step has `fallen`."""
        cells = {name: arrangement.in_lane_order(columns[name].as_ids().values) for name in self._suspects}
        return [name for name, ids in cells.items() if fallen.any() and (ids[1:] != ids[:-1])[fallen].all()]

    def _tell_apart(self, names: Sequence[str]) -> str:
        if not names:
            return ""
        role = role_of_suspect(names[0], self.roles)
        return f"pass `--{role}-column {word(names[0])}` if it tells them apart; else "

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


def _zeroed(numbers: Array, where: BoolArray) -> Array:
    return np.where(where, numbers.dtype.type(0), numbers)
