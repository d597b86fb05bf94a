"""Nested tables: one row per trajectory, steps in list columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.block_facts import BlockFacts, MaskFacts, RowFacts
from gaecli.columns import Roles, mask_may_count
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LAYOUTS
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.behind import Behind
from gaecli.layouts.cells import Cells, spread_to_trajectories
from gaecli.layouts.counted_masks import mask_of_counts
from gaecli.layouts.ends import inverted_of, split_ends
from gaecli.layouts.evidence.ids import IdTrace, suspects, traces
from gaecli.layouts.evidence.lost_rewards import lost_rewards
from gaecli.layouts.evidence.padded_rows import counted_slots, names_of_counts
from gaecli.layouts.evidence.rows import RowColumns
from gaecli.layouts.extras import check_extras, read_extras, read_own_roles, zeroed
from gaecli.layouts.flag_columns import FLAGS, FlagColumns, flag_columns
from gaecli.layouts.frames import Frame
from gaecli.layouts.list_items import (
    CountedItems,
    ListEnds,
    ends_of_starts,
    has_later,
    has_later_item,
    has_next_item,
    item_locator,
    last_items,
    on_last_items,
    repeated,
    row_locator,
)
from gaecli.layouts.longer import after_last, after_steps, is_one_longer, of_steps
from gaecli.layouts.masks import MaskRule, is_doubtful, mask_facts, masked_steps, which_mask
from gaecli.layouts.next_values import merge_next_values
from gaecli.layouts.padding import Padding
from gaecli.layouts.rewards import RewardRule, Rewards
from gaecli.layouts.tokens import check_functions, check_tokens, spread, spread_functions
from gaecli.rollouts import NO_LANES, Block, Labels, Placement
from gaecli.settings import Settings


class NestedLayout:
    """A trajectory is a row; nothing goes on beyond it."""

    kind = LAYOUTS["nested"]
    frame: Frame | None = None
    has_steps = True
    needs_all_rows = False
    crosses_blocks = False

    def __init__(
        self, file: RolloutFile, roles: Roles, settings: Settings, tokens: str | None = None
    ) -> None:
        """`tokens`: the list that the one reward of a row is spread over; None: rewards are lists."""
        # Episode, env and step do not cut here: the row is the trajectory. They may say that it is none.
        self.key_roles = roles
        self.evidence = RowColumns.of(file, roles, settings) if tokens is None else RowColumns()
        roles = roles.without("episode", "env", "step")
        self.roles = replace(roles, key_parts=())
        self._tokens = tokens
        self._like = roles.names["reward"] if tokens is None else tokens
        self.like_column: str | None = self._like
        self._path = file.path
        used = map(file.find, self.roles.row_columns)
        self._unpacked = {info.name for info in used if info is not None and info.is_unpacked}
        self._has_counts = mask_may_count(file, roles)
        self._counts = names_of_counts(file, roles, settings)
        self._suspects = suspects(file, roles, settings, in_lists=True) if tokens is None else ()
        self._drops = settings.on_nan == "drop-episode"
        self._flags: FlagColumns = flag_columns(roles, settings)
        self._mask_rule = MaskRule.of(settings)
        self._unit_is = settings.unit_is
        self._labels = settings.label_columns
        self._groups = settings.group_columns
        self._rewards = RewardRule.of(settings)
        self._extras = check_extras(file, self.roles, settings, self._like)
        if tokens is not None:
            check_functions(file, settings)
        self._kind = settings.kind
        self._decays = settings.decay_columns
        beside = [self._like, *self._labels, *self._extras]
        used_columns = [
            *self.roles.row_columns,
            *self.evidence.names,
            *self._counts,
            *self._suspects,
            *beside,
        ]
        self.row_columns = tuple(dict.fromkeys(used_columns))

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        return columns

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        names = self.roles.names
        like = columns[self._like]
        offsets = like.offsets
        assert offsets is not None
        if is_doubtful(self.roles):
            self._ask_about(columns[names["not_done"]], offsets)
        locate = item_locator(start, offsets)
        whole = columns.get(names.get("value", ""))
        cells = Cells(self._path, locate, self._drops, self._flags.inverted, offsets[1:], value=whole)
        check_alternates(columns, self.roles, cells)
        items = self._counted_items(columns, offsets, start, cells)
        mask, padding, counted = items.mask, items.padding, items.counted
        beside = self._beside(columns, offsets, start, mask)
        rewarded = items.used if self._rewards.arrives else counted
        rewards, bad, missing = self._read_rewards(columns, beside, offsets, start, cells, mask, rewarded)
        value, beyond = self._values(columns, offsets, start)
        values, bad_values = cells.values(value, names.get("value"), len(rewards), counted)
        own_items = self._own_items(columns, offsets, start)
        own = read_own_roles(own_items, self.roles, self._kind, cells, counted)
        ends = self._trajectories(columns, offsets, start, items, cells)
        given = self._given_values(columns, offsets, start, padding, beyond, cells)
        next_values, bad_next = merge_next_values(given, ends.terminated, ends.cuts, cells)
        kept = items.is_step if self._mask_rule.keeps_time else counted
        extras = read_extras(beside, self._extras, self._decays, cells, kept)
        facts = BlockFacts(
            inverted=inverted_of(columns, self._flags),
            mask=self._mask_facts(mask, offsets, ends),
            rows=self._row_facts(columns, offsets, items, ends, beyond, next_values),
            slots=counted_slots(columns, self._counts, offsets, start),
            suspects=self._traces(columns, offsets, start),
            lost=lost_rewards(
                rewards, mask if self._mask_rule.drops_rewards else items.used, padding, locate
            ),
        )
        dropped = self._dropped([bad, bad_values, bad_next, extras.bad, own.bad, *ends.bad_flags], ends)
        if dropped is not None:
            rewards, values = np.where(dropped, 0, rewards), np.where(dropped, 0, values)
        block = Block(
            rewards=rewards,
            values=values,
            terminated=ends.terminated,
            truncated=ends.truncated,
            cuts=ends.cuts,
            next_values=next_values,
            lanes=NO_LANES,
            placement=Placement(len(rewards)),
            is_step=items.is_step,
            dropped=dropped,
            stream_ends=ends.last,
            labels=self._labels_of(columns, offsets, start),
            missing_rewards=missing,
            has_values="value" in names,
            extras=zeroed({**extras.numbers, **own.numbers}, dropped),
            list_offsets=offsets,
            null_lists=like.null_lists,
            facts=facts,
        )
        return self._masked(block, columns, start, items, cells)

    def _counted_items(
        self, columns: Mapping[str, Column], offsets: IndexArray, start: int, cells: Cells
    ) -> CountedItems:
        mask = used = None
        if (name := self.roles.get("mask")) is not None:
            if self._has_counts and columns[name].offsets is None and name not in self._unpacked:
                widths, path = np.diff(offsets), self._path
                mask = mask_of_counts(columns[name], name, widths, path, lambda row: f"row {start + row}")
            else:
                mask = cells.mask(self._items(columns, name, offsets, start), name)
            mask = self._mask_rule.shifted(mask, offsets)
            used = self._mask_rule.used(mask, offsets)
        padding = self._padding(columns, offsets, start, has_next_item(offsets), cells)
        return CountedItems(mask, used, padding)

    def _trajectories(
        self,
        columns: Mapping[str, Column],
        offsets: IndexArray,
        start: int,
        items: CountedItems,
        cells: Cells,
    ) -> ListEnds:
        last, inner = last_items(offsets), has_next_item(offsets)
        cuts = np.zeros(int(offsets[-1]), np.bool_)
        cuts[last] = True
        bad_flags: list[BoolArray] = []
        terminated, truncated = self._ends(columns, offsets, start, bad_flags, cells)
        if items.padding is not None:
            terminated, truncated = items.padding.ends(terminated, truncated)
            inner = items.padding.uncut(inner)
            cuts[:-1] |= ~inner
        goes_on = inner if items.used is None else inner & has_later(items.used, offsets)[:-1]
        self._check_ends_inside(terminated | truncated, goes_on, cells)
        return ListEnds(terminated, truncated, cuts, last, bad_flags)

    def _mask_facts(self, mask: BoolArray | None, offsets: IndexArray, ends: ListEnds) -> MaskFacts | None:
        if mask is None:
            return None
        return mask_facts(mask, offsets, ends.ended if self._flags.any else None, holds_many=False)

    def _row_facts(
        self,
        columns: Mapping[str, Column],
        offsets: IndexArray,
        items: CountedItems,
        ends: ListEnds,
        beyond: Column | None,
        next_values: Array | None,
    ) -> RowFacts | None:
        ended = ends.ended[ends.last]
        return self.evidence.facts(
            columns,
            offsets,
            ended,
            has_flags_per_row=any(columns[name].offsets is None for name in self._flags.names),
            shows_time=items.mask is not None or items.padding is not None or beyond is not None,
            is_bare=~ended & (True if next_values is None else np.isnan(next_values[ends.last])),
        )

    def _traces(
        self, columns: Mapping[str, Column], offsets: IndexArray, start: int
    ) -> Mapping[str, IdTrace]:
        """Of columns with an item for each step: others say nothing of where a trajectory ends."""
        lengths, none = np.diff(offsets), np.zeros(0, np.int64)
        names = [
            name
            for name in self._suspects
            if (theirs := columns[name].offsets) is not None and np.array_equal(np.diff(theirs), lengths)
        ]
        inside = has_next_item(offsets)
        return traces(
            columns, tuple(names), lambda items: items, inside, (none, none), row_locator(start, offsets)
        )

    def _dropped(self, bad: Sequence[BoolArray | None], ends: ListEnds) -> BoolArray | None:
        if not self._drops:
            return None
        found = [part for part in bad if part is not None]
        return spread_to_trajectories(found, ends.cuts, ends.last + 1)

    def _masked(
        self, block: Block, columns: Mapping[str, Column], start: int, items: CountedItems, cells: Cells
    ) -> Block:
        """With its units, and without what a mask leaves out."""
        unit, offsets = self.roles.get("unit"), block.list_offsets
        if unit is not None and offsets is not None:
            from gaecli.layouts.units import with_units

            column, shift = self._in_steps(columns, unit, offsets, start), self._mask_rule.shift
            block = with_units(
                block, column, self.roles, self._unit_is, cells, lambda steps: steps, shift=shift
            )
        if items.mask is not None and items.used is not None:
            block = masked_steps(block, items.mask, items.used, self._mask_rule)
        if unit is None:
            return block
        from gaecli.layouts.units import masked_outside

        return masked_outside(block)

    def _ask_about(self, masks: Column, offsets: IndexArray) -> None:
        """A list with an item per step is a mask of either kind; one that is longer speaks of ends."""
        if masks.offsets is not None and not is_one_longer(masks, offsets):
            raise which_mask(self.roles.names["not_done"], self._path)

    def _items(self, columns: Mapping[str, Column], name: str, offsets: IndexArray, start: int) -> Column:
        """A list column with the same lengths as the rewards."""
        column = columns[name]
        if column.offsets is None and name in self._unpacked:
            column = replace(column, offsets=np.arange(len(column.values) + 1, dtype=np.int64))
        if column.offsets is None:
            raise DataError(
                f"`{name}` of `{self._path}` has one number per row, but `{self._like}` has lists",
                hint="all step columns of a nested table are lists; name another one with its `--…-column`",
            )
        differs = np.diff(column.offsets) != np.diff(offsets)
        if differs.any():
            row = int(np.argmax(differs))
            raise DataError(
                f"`{name}` has {int(np.diff(column.offsets)[row])} items at row {start + row} of "
                f"`{self._path}`, `{self._like}` has {int(np.diff(offsets)[row])}; "
                f"{int(differs.sum()):,} such rows in all",
                hint="every step needs a reward and a value",
            )
        return column

    def _read_rewards(
        self,
        columns: Mapping[str, Column],
        beside: Mapping[str, Column],
        offsets: IndexArray,
        start: int,
        cells: Cells,
        mask: BoolArray | None,
        counted: BoolArray | None,
    ) -> Rewards:
        """Of the items of a list, or of a row, whose reward is that of its last token."""
        name = self.roles.names["reward"]
        if self._tokens is None:
            return self._rewards.read({name: columns[name], **beside}, name, cells, counted)
        kept = None if self._mask_rule.keeps_time else mask
        check_tokens(columns[name], name, self._tokens, offsets, start, kept, is_scored=self._kind.is_scored)
        of_rows = Cells(self._path, lambda row: f"row {start + row}", self._drops)
        return spread(self._rewards.read(columns, name, of_rows), offsets, mask)

    def _values(
        self, columns: Mapping[str, Column], offsets: IndexArray, start: int
    ) -> tuple[dict[str, Column], Column | None]:
        """(V(sₜ) of every step, V(s_T) of every row where the lists have one value more than rewards).

        The first by the name of the column: there may be none.
        """
        name = self.roles.get("value")
        if name is None:
            return {}, None
        column = columns[name]
        if not is_one_longer(column, offsets):
            return {name: self._items(columns, name, offsets, start)}, None
        return {name: of_steps(column)}, after_last(column)

    def _padding(
        self, columns: Mapping[str, Column], offsets: IndexArray, start: int, inner: BoolArray, cells: Cells
    ) -> Padding | None:
        names = [self.roles.get(role) for role in ("padding", "padding_terminal", "first")]
        lists, behind = {}, {}
        for name in filter(None, names):
            if is_one_longer(columns[name], offsets):
                lists[name] = of_steps(columns[name])
                last = after_last(columns[name])
                behind[name] = Column(last.values[np.diff(offsets) > 0])
            else:
                lists[name] = self._items(columns, name, offsets, start)
        known = Behind(last_items(offsets), behind)
        return Padding.read(lists, self.roles, cells, lambda rows: rows, inner, known)

    def _check_ends_inside(self, ended: BoolArray, goes_on: BoolArray, cells: Cells) -> None:
        """A row is one trajectory, so that an end can only be at its end."""
        inside = ended[:-1] & goes_on
        if inside.any():
            first = int(np.argmax(inside))
            raise DataError(
                f"{', '.join(f'`{name}`' for name in self._flags.names)} of `{self._path}` ends an episode at "
                f"{cells.locate(first)}, but the list goes on; {int(inside.sum()):,} such in all",
                hint="pass `--layout long` if a row holds several episodes, one after the other; if it is one "
                "trajectory, leave the flag out with `--done-column none`; if it is one step of several "
                "environments, write a row for each of them",
            )

    def _ends(
        self,
        columns: Mapping[str, Column],
        offsets: IndexArray,
        start: int,
        bad: list[BoolArray],
        cells: Cells,
    ) -> tuple[BoolArray, BoolArray]:
        """Flags that cannot be read are added to `bad`."""
        found: dict[str, BoolArray | None] = dict.fromkeys(FLAGS)
        for role in found:
            name = getattr(self._flags, role)
            if name is None:
                continue
            is_longer = is_one_longer(columns[name], offsets)
            flags, missing = cells.flags(self._flag_items(columns, name, offsets, start), name)
            bad += [] if missing is None else [missing]
            if role in ("done", "not_done") and self._flags.done_at == "start" and not is_longer:
                flags = ends_of_starts(flags, offsets)
            found[role] = flags
        told = has_later_item(offsets) if self._flags.done_at == "start" else None
        return split_ends(found, int(offsets[-1]), self._flags, cells, told)

    def _flag_items(
        self, columns: Mapping[str, Column], name: str, offsets: IndexArray, start: int
    ) -> Column:
        """A flag of each step, for each row, or of each state: then that which the step leads to has it."""
        column = columns[name]
        if column.offsets is None:
            return on_last_items(column, offsets, fill=self._flags.no_end(column, name))
        if is_one_longer(column, offsets):
            return after_steps(column)
        return self._items(columns, name, offsets, start)

    def _given_values(
        self,
        columns: Mapping[str, Column],
        offsets: IndexArray,
        start: int,
        padding: Padding | None,
        beyond: Column | None,
        cells: Cells,
    ) -> list[tuple[str, Array]]:
        """V(sₜ₊₁) as far as columns, padding rows and a value more than rewards give it, in this order."""
        found = []
        for role in ("next_value", "bootstrap_value"):
            name = self.roles.get(role)
            if name is None:
                continue
            column = columns[name]
            if column.offsets is None:
                column = on_last_items(Column(cells.optional_numbers(column, name)), offsets, fill=np.nan)
            else:
                column = self._items(columns, name, offsets, start)
            found.append((name, cells.optional_numbers(column, name)))
        name = self.roles.get("value")
        if name is None:
            return found
        if padding is not None:
            values = cells.optional_numbers(self._values(columns, offsets, start)[0][name], name)
            found.append((name, padding.next_values(values)))
        if beyond is not None:
            column = on_last_items(Column(cells.optional_numbers(beyond, name)), offsets, fill=np.nan)
            found.append((name, column.values))
        return found

    def _beside(
        self, columns: Mapping[str, Column], offsets: IndexArray, start: int, mask: BoolArray | None
    ) -> dict[str, Column]:
        """Further columns with a number per step: items, or the one of a row in each of its steps.

        The reward of a row is not that of each step: its last one has it.
        """
        if self._tokens is not None:
            functions = tuple(name for name in self._extras if name in self._rewards.weights)
            others = [name for name in self._extras if name not in functions]
            of_items = {name: self._in_steps(columns, name, offsets, start) for name in others}
            return {**spread_functions(columns, functions, offsets, mask), **of_items}
        found = {}
        for name in self._extras:
            if columns[name].offsets is None and name in self._rewards.weights:
                found[name] = on_last_items(columns[name], offsets, fill=0)
            else:
                found[name] = self._in_steps(columns, name, offsets, start)
        return found

    def _in_steps(self, columns: Mapping[str, Column], name: str, offsets: IndexArray, start: int) -> Column:
        """Items, or the cell of a row in each of its steps."""
        if columns[name].offsets is None:
            return repeated(columns[name], offsets)
        return self._items(columns, name, offsets, start)

    def _own_items(self, columns: Mapping[str, Column], offsets: IndexArray, start: int) -> dict[str, Column]:
        """The columns that the estimator alone has a use for: items; Q of a state behind the last step is none."""
        found = {}
        for name in filter(None, map(self.roles.get, self._kind.own_roles)):
            is_longer = is_one_longer(columns[name], offsets)
            found[name] = of_steps(columns[name]) if is_longer else self._items(columns, name, offsets, start)
        return found

    def _labels_of(
        self, columns: Mapping[str, Column], offsets: IndexArray, start: int
    ) -> Mapping[str, Labels]:
        """Of the items, or of the row in each of its items."""
        if not self._labels:
            return {}
        from gaecli.layouts.groups import check_groups, read_labels

        steps = {name: self._in_steps(columns, name, offsets, start) for name in self._labels}
        check_groups(steps, self._groups, Cells(self._path, item_locator(start, offsets)))
        return read_labels(steps, self._labels, lambda steps: steps)
