"""A layout as somebody would add one: flat arrays, trajectory behind trajectory, and how long each of them is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.columns import Roles
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.base import Layout
from gaecli.layouts.cells import Cells
from gaecli.layouts.demands import check_wanted
from gaecli.layouts.extras import check_extras, read_extras
from gaecli.layouts.row_order import RowOrder
from gaecli.rollouts import NO_LANES, Block, Placement
from gaecli.settings import Settings

KIND = LayoutKind(
    name="ragged",
    summary="flat arrays, and the lengths of the trajectories",
    row_is="step",
    module="layouts.toy_layout",
)


def recognise(file: RolloutFile, roles: Roles, settings: Settings, order: RowOrder) -> Layout | None:
    if file.structure != "arrays" or file.find("lengths") is None:
        return None
    check_wanted(settings.layout, (KIND.name,), file, "`lengths` says where its trajectories end")
    return Ragged(file, roles, settings)


def why(file: RolloutFile, layout: Layout, settings: Settings) -> str:
    return "`lengths` says where trajectories end"


class Ragged:
    kind = KIND
    frame = None
    crosses_blocks = True
    needs_all_rows = True
    has_steps = True

    def __init__(self, file: RolloutFile, roles: Roles, settings: Settings) -> None:
        self.roles = self.key_roles = roles
        self.like_column: str | None = roles.names["reward"]
        self._path = file.path
        self._extras = check_extras(file, roles, settings)
        self._decays = settings.decay_columns
        self.row_columns = (*roles.row_columns, *self._extras, "lengths")

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        return {name: column for name, column in columns.items() if name != "lengths"}

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        names = self.roles.names
        cells = Cells(self._path, lambda row: f"row {start + row}", False, {}, None)
        rewards = columns[names["reward"]].values
        last = np.cumsum(columns["lengths"].values) - 1
        cuts = np.zeros(len(rewards), np.bool_)
        cuts[last] = True
        terminated, truncated = (
            cells.flags(columns[names[role]], names[role])[0] for role in ("terminated", "truncated")
        )
        next_values = cells.optional_numbers(columns[names["next_value"]], names["next_value"])
        return Block(
            rewards=rewards,
            values=cells.values(columns, names.get("value"), len(rewards), None)[0],
            terminated=terminated,
            truncated=truncated,
            cuts=cuts | terminated | truncated,
            next_values=np.where(cuts | truncated, next_values, np.nan),
            lanes=NO_LANES,
            placement=Placement(len(rewards)),
            stream_ends=last,
            has_values="value" in names,
            extras=read_extras(columns, self._extras, self._decays, cells).numbers,
        )
