"""One row per trajectory: a response and its score. Nothing tells steps apart, for there are none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.columns import Roles
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LAYOUTS
from gaecli.layouts.base import Layout
from gaecli.layouts.cells import Cells
from gaecli.layouts.demands import are_responses
from gaecli.layouts.extras import check_extras, read_extras
from gaecli.layouts.frames import Frame
from gaecli.layouts.groups import GroupColumns
from gaecli.layouts.row_order import RowOrder
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings


def recognise(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout | None:
    """For estimators that compare trajectories: rows with one number each, where nothing speaks of steps."""
    reward = file.find(roles.names["reward"])
    assert reward is not None
    is_flat = not reward.is_list and (file.structure != "arrays" or len(reward.shape) == 1)
    if not settings.kind.is_grouped or not is_flat or not are_responses(file, roles, settings):
        return None
    return ResponsesLayout(file, roles, settings)


def why(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    return "nothing tells steps apart, so that each row is a trajectory"


class ResponsesLayout:
    """Rows in any order; a trajectory is a row, which ends with it."""

    kind = LAYOUTS["responses"]
    frame: Frame | None = None
    has_steps = False
    needs_all_rows = False
    crosses_blocks = False

    def __init__(self, file: RolloutFile, roles: Roles, settings: Settings) -> None:
        self.key_roles = roles
        self.roles = roles.without(*(role for role in roles.names if role not in ("reward", "value")))
        self.like_column: str | None = roles.names["reward"] if file.structure == "arrays" else None
        self._path = file.path
        self._drops = settings.on_nan == "drop-episode"
        self._groups = GroupColumns.of(settings)
        self._extras = check_extras(file, self.roles, settings)
        beside = [*self._groups.names, *self._extras]
        self.row_columns = tuple(dict.fromkeys([*self.roles.row_columns, *beside]))

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        return columns

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        names = self.roles.names
        count = len(columns[names["reward"]].values)
        cells = Cells(self._path, lambda row: f"row {start + row}", self._drops)
        rewards, bad = cells.numbers(columns[names["reward"]], names["reward"], "reward")
        values, bad_values = cells.values(columns, names.get("value"), count)
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
            **self._groups.read(columns, lambda rows: rows),
            has_values="value" in names,
            extras=read_extras(columns, self._extras, cells, lambda rows: rows),
        )
