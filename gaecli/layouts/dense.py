"""Dense arrays: [T, N] with a lane per environment, or [B, T] with a trajectory per row.

They are tables whose lanes are known by their shape. In a time-major array a lane may hold several
trajectories, told apart by flags and ids, and may go on in the next block or file of a stream; a batch-major
row is closed at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, IndexArray, Names
from gaecli.columns import Roles
from gaecli.errors import DataError
from gaecli.formats.base import Column, RolloutFile
from gaecli.layout_kinds import LAYOUTS
from gaecli.layouts.alternates import check_alternates
from gaecli.layouts.arrange import Arrangement, arrange_lanes
from gaecli.layouts.array_columns import ArrayTable, mapped
from gaecli.layouts.cells import Cells, Locate
from gaecli.layouts.ends import Flags
from gaecli.layouts.frames import Frame, FramePart
from gaecli.layouts.keys import change_points, first_duplicate, labels_at
from gaecli.layouts.long import LongLayout, id_comes_back
from gaecli.layouts.masks import MaskRule, mask_facts, masked_steps
from gaecli.layouts.row_order import RowOrder
from gaecli.rollouts import Block, Placement
from gaecli.settings import Settings


class DenseLayout(LongLayout):
    """[T, N] or [B, T] arrays, and [T, N, agents] as [T, N * agents]."""

    def __init__(self, file: RolloutFile, roles: Roles, settings: Settings, frame: Frame) -> None:
        super().__init__(file, roles, settings, RowOrder(), frame)
        self.kind = LAYOUTS["time-major" if frame.is_time_major else "batch-major"]
        self.frame: Frame = frame
        # A single row may be longer than a block.
        self.crosses_blocks = frame.is_time_major or frame.num_lanes == 1
        rule = MaskRule.of(settings)
        self._mask_rule = rule.in_place(settings) if self.crosses_blocks else rule
        # Steps that a mask takes out of a lane leave nothing at its border to go on from.
        is_taken_out = roles.get("mask") is not None and not self._mask_rule.is_in_place
        self.needs_all_rows = self.crosses_blocks and is_taken_out
        self.keeps_lanes = self.crosses_blocks and not is_taken_out

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        table = self._table(start, columns)
        assert table.piece is not None
        shape = table.piece.shape
        return {
            name: mapped(column, lambda cells: cells.reshape(shape)) for name, column in table.columns.items()
        }

    def _table(self, start: int, columns: Mapping[str, Column]) -> ArrayTable:
        assert self._arrays is not None
        return self._arrays.table(start, columns).with_labels([*self._labels, *self._extras])

    def _stops(self, table: ArrayTable) -> tuple[IndexArray | None, int]:
        assert table.piece is not None
        num_lanes = table.piece.num_lanes
        stops = np.arange(1, num_lanes + 1, dtype=np.int64) * table.piece.num_times
        return stops, num_lanes if self.frame.is_time_major else 1

    def _locate(self, start: int, table: ArrayTable) -> Locate:
        assert table.piece is not None
        piece = table.piece
        return lambda row: str(list(piece.index(row)))

    def _check_alternates(self, table: ArrayTable, cells: Cells) -> None:
        """Ids are compared along the lanes: side by side, those of one name may be unique and of another not."""
        assert table.piece is not None
        placement = _placement(table.piece)
        roles = self.roles
        names = [name for role, others in roles.alternates.items() for name in (roles.names[role], *others)]
        moved = {
            name: mapped(table.columns[name], placement.to_steps) for name in names if name in table.columns
        }
        lane_cells = replace(cells, locate=lambda step: cells.locate(placement.row_of_step(step)))
        check_alternates({**table.labels, **moved}, self.roles, lane_cells)

    def _mask(self, table: ArrayTable, cells: Cells) -> tuple[BoolArray | None, BoolArray | None]:
        name, rule = self.roles.get("mask"), self._mask_rule
        if name is None:
            return None, None
        assert table.piece is not None
        placement = _placement(table.piece)
        lanes = np.arange(table.piece.num_lanes + 1, dtype=np.int64) * table.piece.num_times
        mask = rule.shifted(self._steps_of_mask(table, name, placement, cells), lanes)
        return placement.to_rows(mask), placement.to_rows(rule.used(mask, lanes))

    def _steps_of_mask(self, table: ArrayTable, name: str, placement: Placement, cells: Cells) -> BoolArray:
        if name in table.columns:
            steps: BoolArray = placement.to_steps(cells.mask(table.columns[name], name))
            return steps
        from gaecli.layouts.counted_masks import mask_of_counts

        piece = table.piece
        assert piece is not None
        widths = np.full(piece.num_lanes, self.frame.num_times)
        mask = mask_of_counts(
            table.labels[name], name, widths, self._path, lambda lane: f"lane {piece.first_lane + lane}"
        )
        times = slice(piece.first_time, piece.first_time + piece.num_times)
        return mask.reshape(piece.num_lanes, -1)[:, times].reshape(-1)

    def _masked(self, block: Block, mask: BoolArray, used: BoolArray | None, table: ArrayTable) -> Block:
        assert used is not None
        assert table.piece is not None
        in_lanes = block.placement.to_steps
        lanes = np.arange(table.piece.num_lanes + 1, dtype=np.int64) * table.piece.num_times
        ended = block.terminated | block.truncated if self._flags.any else None
        facts = mask_facts(in_lanes(mask), lanes, ended, holds_many=self.frame.is_time_major)
        block = replace(block, facts=replace(block.facts, mask=facts))
        return masked_steps(block, in_lanes(mask), in_lanes(used), self._mask_rule)

    def _arrange(
        self, table: ArrayTable, num_rows: int, steps: Mapping[str, object], flags: Flags
    ) -> Arrangement:
        """By their shape: rows are neither sorted nor taken by key."""
        piece = table.piece
        assert piece is not None
        goes_on = self.frame.is_time_major or not piece.reaches_the_end
        ids = [table.columns[name].as_ids() for name in self._ids if name in table.columns]
        arrangement = arrange_lanes(
            _placement(piece),
            piece.num_lanes,
            self._keys(table, piece),
            ids,
            is_open=self.keeps_lanes and goes_on,
            go_on=self.keeps_lanes,
        )
        if arrangement.is_scattered:
            labels = arrangement.run_labels
            raise id_comes_back(
                first_duplicate(labels if labels is not None else ()), str(self._path), IN_LANES
            )
        return arrangement

    def _keys(self, table: ArrayTable, piece: FramePart) -> Names:
        """What tells the lanes apart: the place of each, and what the file calls it."""
        lanes = np.arange(piece.first_lane, piece.first_lane + piece.num_lanes, dtype=np.int64)
        env = self.roles.get("env")
        names = [name for name in (env, *self._ids) if name is not None and name in table.labels]
        labels = [table.labels[name].as_ids() for name in names]
        if env is not None and env in table.columns:
            labels.append(self._env_of_lanes(table.columns[env].as_ids(), env, piece))
        if not labels:
            return lanes
        return labels_at([Column(lanes), *labels], np.arange(piece.num_lanes))

    def _env_of_lanes(self, envs: Column, name: str, piece: FramePart) -> Column:
        """A lane is one environment, or its steps do not follow one another."""
        placement = _placement(piece)
        moved = mapped(envs, placement.to_steps)
        changes = change_points([moved])
        assert changes is not None
        inner = np.arange(1, len(envs.values)) % piece.num_times != 0
        if (changes & inner).any():
            step = int(np.argmax(changes & inner)) + 1
            raise env_changes(name, self._path, str(list(piece.index(placement.row_of_step(step)))))
        first = np.arange(piece.num_lanes) * piece.num_times
        is_null = None if moved.is_null is None else moved.is_null[first]
        return Column(moved.values[first], is_null, categories=moved.categories)


IN_LANES = (
    "a lane of these arrays holds trajectories one after the other; pass `--episode-column none` to go by the flags "
    "alone, or store a row per step where agents or environments take turns"
)


def env_changes(name: str, path: object, place: str) -> DataError:
    return DataError(
        f"`{name}` of `{path}` changes within a lane, at {place}, so that its steps do not follow one another",
        hint="pass `--env-column none` if it does not name the environment; `--layout long` takes arrays of one lane "
        "as a table, in which environments may take turns",
    )


def _placement(piece: FramePart) -> Placement:
    """Steps in the order of lanes."""
    num_rows = piece.num_times * piece.num_lanes
    is_turned = piece.frame.is_time_major and piece.num_lanes > 1 and piece.num_times > 1
    return Placement(num_rows, dense_shape=(piece.num_times, piece.num_lanes) if is_turned else None)
