"""Lists with ids, agents or steps beside the rewards: a row is a batch, which may hold several trajectories.

RLlib's old `SampleBatch` is written so. The items are taken for the rows of a long table, cut and ordered by
their keys; the row is one of them, so that nothing goes on from one row into the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import IndexArray
from gaecli.block_facts import PieceFacts
from gaecli.columns import Roles
from gaecli.formats.base import Column, RolloutFile
from gaecli.layouts.arrange import Arrangement
from gaecli.layouts.array_columns import ArrayTable
from gaecli.layouts.cells import Locate
from gaecli.layouts.ends import Flags
from gaecli.layouts.evidence.rows import RowColumns
from gaecli.layouts.keys import labels_at
from gaecli.layouts.list_items import on_last_items, repeated
from gaecli.layouts.long import LongLayout
from gaecli.layouts.longer import is_one_longer, of_steps
from gaecli.layouts.nested import NestedLayout
from gaecli.layouts.packed_lists import sequence_ids
from gaecli.layouts.row_order import RowOrder
from gaecli.layouts.steps import Steps
from gaecli.rollouts import Block
from gaecli.settings import Settings

#: Columns of the items that no file has: the row that each stands in, and V beyond the last of a row.
_ROW, _BEYOND = "\0row", "\0beyond"
_KEY_ROLES = ("episode", "env", "step")


def keys_in_lists(file: RolloutFile, roles: Roles) -> Roles:
    """The roles with those keys only that have an item per step."""

    def is_list(name: str | None) -> bool:
        info = file.find(name) if name is not None else None
        return info is not None and info.is_list and info.unusable is None

    found = roles.without(*(role for role in _KEY_ROLES if not is_list(roles.get(role))))
    alternates = {
        role: tuple(name for name in names if role not in _KEY_ROLES or is_list(name))
        for role, names in found.alternates.items()
    }
    parts = tuple(name for name in roles.key_parts if is_list(name))
    return replace(found, alternates=alternates, key_parts=parts)


def has_keys(keyed: Roles) -> bool:
    return bool(keyed.key_parts) or any(keyed.get(role) for role in _KEY_ROLES)


class KeyedListsLayout(NestedLayout):
    """A row may hold several trajectories, and their steps in any order; nothing goes on beyond it."""

    def __init__(self, file: RolloutFile, roles: Roles, keyed: Roles, settings: Settings) -> None:
        super().__init__(file, roles, settings)
        self.roles = keyed
        if keyed.get("episode") is not None:
            self.evidence = RowColumns()
        elif keyed.get("step") is not None:
            self.evidence = replace(self.evidence, steps=())
        self._parts = tuple(filter(None, [keyed.get("episode"), keyed.get("env"), *keyed.key_parts]))
        self._repeats = keyed.get("episode") is not None or keyed.get("env") is not None
        self._has_bootstrap = keyed.get("bootstrap_value") is not None
        self._table = _Items(file, _roles_of_items(keyed), settings)
        used = [name for name in self._table.row_columns if name not in (_ROW, _BEYOND)]
        self.row_columns = tuple(dict.fromkeys([*used, *self.evidence.names]))

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        reward = columns[self.roles.names["reward"]]
        offsets = reward.offsets
        assert offsets is not None
        if not len(reward.values):
            return super().block(start, columns)
        rows = np.repeat(np.arange(start, start + len(offsets) - 1, dtype=np.int64), np.diff(offsets))
        items = self._flat(columns, offsets, start)
        block = self._table.block(0, {**items, _ROW: Column(rows)})
        facts = block.facts
        evidence = self.evidence.facts(
            columns,
            offsets,
            np.zeros(0, np.bool_),
            has_flags_per_row=False,
            shows_time=True,
            is_bare=np.zeros(0, np.bool_),
        )
        return replace(
            block,
            list_offsets=offsets,
            null_lists=reward.null_lists,
            stream_ends=np.flatnonzero(block.cuts),
            facts=replace(
                facts,
                run_labels=None,
                first_flag_inside=_row_at(rows, facts.first_flag_inside),
                rows=evidence,
                pieces=self._pieces(block, items, offsets, rows),
            ),
        )

    def _flat(self, columns: Mapping[str, Column], offsets: IndexArray, start: int) -> dict[str, Column]:
        """The cells of every step: items, and what stands once for a row moved to its last item."""
        per_row = {name for role in ("next_value", "bootstrap_value") if (name := self.roles.get(role))}
        value, beyond = self._values(columns, offsets, start)
        items = dict(value)
        for name in self._table.row_columns:
            if name in (_ROW, _BEYOND) or name in items:
                continue
            column = columns[name]
            ids = None if name != self.roles.get("episode") else sequence_ids(column, name, offsets, start)
            if ids is not None:
                items[name] = ids
            elif name in self._flags.names:
                items[name] = self._flag_items(columns, name, offsets, start)
            elif name in per_row and column.offsets is None:
                items[name] = on_last_items(column, offsets, fill=0, else_null=True)
            elif name in self._rewards.weights and column.offsets is None:
                items[name] = on_last_items(column, offsets, fill=0)
            elif name in (*self._labels, self.roles.get("unit"), *self._extras) and column.offsets is None:
                items[name] = repeated(column.as_ids() if name in self._labels else column, offsets)
            elif is_one_longer(column, offsets):
                items[name] = of_steps(column)
            else:
                items[name] = self._items(columns, name, offsets, start)
        if not self._has_bootstrap:
            absent = Column(np.full(len(offsets) - 1, np.nan)) if beyond is None else beyond
            items[_BEYOND] = on_last_items(absent, offsets, fill=0, else_null=True)
        return items

    def _pieces(
        self, block: Block, items: Mapping[str, Column], offsets: IndexArray, rows: IndexArray
    ) -> PieceFacts:
        """Trajectories in the order of their rows."""
        last = np.flatnonzero(block.cuts)
        at = block.placement.rows_of_steps(last)
        order = np.lexsort((at, rows[at]))
        ended = (block.terminated | block.truncated)[last]
        labels: Sequence[object] = ()
        if self._repeats:
            labels = labels_at([items[name].as_ids() for name in self._parts], at[order])
        return PieceFacts(
            names=self._parts,
            labels=labels,
            rows=rows[at[order]],
            ended=ended[order],
            are_single=bool(len(last) == block.num_steps and (np.diff(offsets) > 1).any()),
        )


class _Items(LongLayout):
    """The items of all rows, one after the other."""

    crosses_blocks = False
    keeps_lanes = False

    def __init__(self, file: RolloutFile, roles: Roles, settings: Settings) -> None:
        super().__init__(file, roles, settings, RowOrder(is_whole=True))
        self._suspects = ()
        keys = (roles.get(role) for role in ("episode", "step"))
        parts = [name for name in roles.key_parts if name != _ROW]
        self._keyed = [*parts, *(name for name in keys if name is not None)]
        self.row_columns = tuple(dict.fromkeys([*roles.row_columns, *self._labels, *self._extras]))

    def _arrange(
        self, table: ArrayTable, num_rows: int, steps: Mapping[str, Steps], flags: Flags
    ) -> Arrangement:
        arrangement = super()._arrange(table, num_rows, steps, flags)
        return replace(arrangement, open_ends=np.zeros_like(arrangement.open_ends))

    def _locate(self, start: int, table: ArrayTable) -> Locate:
        rows = table.columns[_ROW].values

        def locate(item: int) -> str:
            return f"row {rows[item]}, item {item - int(np.searchsorted(rows, rows[item]))}"

        return locate


def _roles_of_items(keyed: Roles) -> Roles:
    """Environments are parts of the key here: within a row they are no lanes of their own that go on."""
    env = keyed.get("env")
    parts = (_ROW, *((env,) if env is not None else ()), *keyed.key_parts)
    found = replace(keyed.without("env"), key_parts=parts, clock=None)
    if found.get("bootstrap_value") is not None:
        return found
    return replace(found, names={**found.names, "bootstrap_value": _BEYOND})


def _row_at(rows: IndexArray, item: int | None) -> int | None:
    return None if item is None else int(rows[item])
