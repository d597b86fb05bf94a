"""One row per trajectory: a response and its score. Nothing tells steps apart, for there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, IndexArray
from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LAYOUTS
from gaecli.layouts.base import Layout
from gaecli.layouts.cells import Cells, Locate
from gaecli.layouts.demands import are_responses
from gaecli.layouts.extras import check_extras, read_extras
from gaecli.layouts.frames import Frame
from gaecli.layouts.list_items import item_locator, repeated
from gaecli.layouts.rewards import RewardRule
from gaecli.layouts.row_order import RowOrder
from gaecli.layouts.tokens import token_column
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings


def recognise(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout | None:
    """For estimators that compare trajectories: one number each, where nothing speaks of steps.

    Lists are a trajectory each, unless groups are told item by item: then they are batches, as ms-swift logs them.
    """
    reward = file.find(roles.names["reward"])
    assert reward is not None
    if not settings.kind.is_scored or (file.structure == "arrays" and len(reward.shape) != 1):
        return None
    if token_column(file, roles, settings) is not None:
        return None
    if reward.is_list and settings.layout != "responses" and not _groups_items(file, roles, settings):
        return None
    if not are_responses(file, roles, settings):
        return None
    return ResponsesLayout(file, roles, settings)


def _groups_items(file: RolloutFile, roles: Roles, settings: Settings) -> bool:
    if file.structure != "table" or roles.get("mask") is not None:
        return False
    infos = [file.find(name) for name in settings.group_columns]
    return any(info is not None and info.is_list and not info.has_whole_cells for info in infos)


def _has_value_per_trajectory(file: RolloutFile, roles: Roles) -> bool:
    """V of single tokens is none of their response."""
    reward, value = file.find(roles.names["reward"]), file.find(roles.names.get("value", ""))
    return reward is not None and value is not None and reward.is_list == value.is_list


def why(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    if layout.like_column is not None and file.structure == "table":
        names = "` and `".join(settings.group_columns)
        return f"`{names}` groups the items of lists, so that each of them is a trajectory"
    return "nothing tells steps apart, so that each row is a trajectory"


class ResponsesLayout:
    """Rows in any order; a trajectory is a row, or an item of its list, which ends with it."""

    kind = LAYOUTS["responses"]
    frame: Frame | None = None
    has_steps = False
    needs_all_rows = False
    crosses_blocks = False

    def __init__(self, file: RolloutFile, roles: Roles, settings: Settings) -> None:
        self.key_roles = roles
        others = [role for role in roles.names if role not in ("reward", "value")]
        others += [] if _has_value_per_trajectory(file, roles) else ["value"]
        self.roles = replace(roles.without(*others), unused=())
        reward = roles.names["reward"]
        info = file.find(reward)
        is_list = info is not None and info.is_list
        self.like_column: str | None = reward if is_list or file.structure == "arrays" else None
        self._path = file.path
        self._drops = settings.on_nan == "drop-episode"
        self._labels = settings.label_columns
        self._groups = settings.group_columns
        self._rewards = RewardRule.of(settings)
        self._extras = check_extras(file, self.roles, settings)
        from gaecli.layouts.evidence.counted_steps import Suspects

        self._suspects = Suspects.of(file, roles, settings)
        beside = [*self._labels, *self._extras, *self._suspects.columns]
        self.row_columns = tuple(dict.fromkeys([*self.roles.row_columns, *beside]))

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        """With a cell per trajectory in each."""
        offsets = columns[self.roles.names["reward"]].offsets
        if offsets is None:
            return columns
        found = dict(columns)
        for name, column in columns.items():
            if column.offsets is None:
                found[name] = repeated(column, offsets)
            elif (differs := np.diff(column.offsets) != np.diff(offsets)).any():
                raise self._unequal(name, start, column.offsets, offsets, differs)
        return found

    def _unequal(
        self, name: str, start: int, offsets: IndexArray, rewards: IndexArray, differs: BoolArray
    ) -> DataError:
        row = int(np.argmax(differs))
        return DataError(
            f"`{name}` has {int(np.diff(offsets)[row])} items at row {start + row} of `{self._path}`, "
            f"`{self.roles.names['reward']}` has {int(np.diff(rewards)[row])}; "
            f"{int(differs.sum()):,} such rows in all",
            hint="every response needs a reward and a group; name another column, or pass `--layout nested` if "
            "a row is one trajectory",
        )

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        names = self.roles.names
        self._suspects.check(columns, self._path)
        reward = columns[names["reward"]]
        columns = self.cells(start, columns)
        count = len(reward.values)
        cells = Cells(self._path, _locator(start, reward.offsets), self._drops)
        rewards, bad, missing = self._rewards.read(columns, names["reward"], cells)
        values, bad_values = cells.values(columns, names.get("value"), count)
        from gaecli.layouts.groups import check_groups, read_labels

        check_groups(columns, self._groups, cells, bad)
        dropped = None
        for part in (bad, bad_values):
            if part is not None:
                dropped = part if dropped is None else dropped | part
        return Block(
            rewards=rewards,
            values=values,
            terminated=np.ones(count, np.bool_),
            truncated=np.zeros(count, np.bool_),
            cuts=np.ones(count, np.bool_),
            next_values=None,
            lanes=NO_LANES,
            placement=Placement(count),
            dropped=dropped,
            stream_ends=np.arange(count),
            labels=read_labels(columns, self._labels, lambda items: items),
            missing_rewards=missing,
            has_values="value" in names,
            extras=read_extras(columns, self._extras, (), cells).numbers,
            list_offsets=reward.offsets,
            null_lists=reward.null_lists,
        )


def _locator(start: int, offsets: IndexArray | None) -> Locate:
    return (lambda row: f"row {start + row}") if offsets is None else item_locator(start, offsets)
