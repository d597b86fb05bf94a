"""A stream as group baselines see it: the score, the group and the number of the column at every cell."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.errors import DataError
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.label_tables import LabelTable
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.studies.column import Against
from gaecli.studies.final_numbers import Finisher, Grouping, finisher, grouping_of
from gaecli.studies.parts import first_rows
from gaecli.studies.reading import SettledStream, settled_blocks


@dataclass(frozen=True, eq=False)
class ScoredCells:
    """[C] each, in the order of the file: one per row, item of lists, or cell of an array."""

    #: Of the whole trajectory; NaN where no step is.
    scores: FloatArray
    #: From 0; -1 where no step is.
    groups: IndexArray
    rows: IndexArray
    #: The last cell of a trajectory.
    is_last: BoolArray
    #: Where a trajectory enters mean and spread: at its last cell, and of samples of one rollout at one of them.
    enters: BoolArray
    num_groups: int

    @property
    def num_rows(self) -> int:
        return int(self.rows.max(initial=-1)) + 1

    @property
    def is_scored(self) -> BoolArray:
        return self.groups >= 0


def scored_cells(reading: SettledStream) -> ScoredCells:
    """Of a stream under settings that name an estimator of scores, and what groups them."""
    blocks = ScoredBlocks(reading)
    parts = [blocks.of(file, start, settled) for file, start, settled, _ in settled_blocks(reading)]
    if not parts:
        raise DataError(f"`{reading.stream.plan.paths[0]}` has no rows: there is nothing to verify")
    names = ("scores", "groups", "rows", "is_last", "enters")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return ScoredCells(**columns, num_groups=max(blocks.num_groups, 1))


class ScoredBlocks:
    """The cells of one block after the other, with groups that are numbered over all of them."""

    def __init__(self, reading: SettledStream) -> None:
        self._settings = reading.stream.settings
        self._first_rows = first_rows(reading)
        self._groups, self._rollouts = _Numbered(), _Numbered()
        #: Of each rollout, whether one of its samples has been counted.
        self._is_counted = np.zeros(0, np.bool_)

    @property
    def num_groups(self) -> int:
        return self._groups.count

    def of(self, file: int, start: int, settled: Settled) -> ScoredCells:
        block, place, settings = settled.block, settled.block.placement, self._settings
        groups = self._groups.of(grouping_of(settled, settings.group_columns), block.num_steps)
        scores = settled.advantages.astype(np.float64)
        if settled.unscored is not None:  # compared with none
            groups = np.where(settled.unscored, self._groups.alone(settled.unscored), groups)
        if settled.estimated is not None:
            scores = np.where(settled.estimated, scores, np.nan)
            groups = np.where(settled.estimated, groups, -1)
        ends = settled.entering("trajectories")
        is_last = np.ones(block.num_steps, np.bool_) if ends is None else ends
        rows = self._first_rows[file] + start + block.file_rows(np.arange(block.num_steps))
        cells_last = enters = place.to_rows(is_last, False)
        if settings.sample_columns:
            samples = self._rollouts.of(grouping_of(settled, settings.sample_columns), block.num_steps)
            enters = self._first_of_each(place.to_rows(samples, -1), cells_last)
        return ScoredCells(
            place.to_rows(scores, np.nan),
            place.to_rows(groups, -1),
            place.to_rows(rows, -1),
            cells_last,
            enters,
            self.num_groups,
        )

    def _first_of_each(self, samples: IndexArray, is_last: BoolArray) -> BoolArray:
        """[C] of each rollout the first cell that ends one of its samples."""
        new = np.zeros(self._rollouts.count - len(self._is_counted), np.bool_)
        self._is_counted = np.append(self._is_counted, new)
        chosen = np.flatnonzero(is_last)
        chosen = chosen[~self._is_counted[samples[chosen]]]
        found = np.zeros(len(is_last), np.bool_)
        found[chosen[np.unique(samples[chosen], return_index=True)[1]]] = True
        self._is_counted[samples[chosen]] = True
        return found


class _Numbered:
    """Labels of all blocks, each with a number from 0."""

    def __init__(self) -> None:
        self.count = 0
        self._labels = LabelTable()
        #: Of each label.
        self._numbers = np.zeros(0, np.int64)

    def of(self, grouping: Grouping | None, num_steps: int) -> IndexArray:
        """[N] all of them 0 where nothing is grouped."""
        if grouping is None:
            self.count = max(self.count, 1)
            return np.zeros(num_steps, np.int64)
        rows = self._labels.add(grouping.names)
        num_new = self._labels.count - len(self._numbers)
        self._numbers = np.append(self._numbers, self.count + np.arange(num_new))
        self.count += num_new
        numbers: IndexArray = self._numbers[rows[grouping.codes]]
        return numbers

    def alone(self, chosen: BoolArray) -> IndexArray:
        """[N] a number of its own for each of these steps."""
        numbers: IndexArray = self.count - 1 + np.cumsum(chosen)
        self.count += int(np.count_nonzero(chosen))
        return numbers


def written_numbers(reading: SettledStream) -> FloatArray:
    """[C] what `gae compute` writes of a stream, NaN where nothing."""
    finish = finisher(reading)
    return np.concatenate([written_cells(finish, *block) for block in settled_blocks(reading)])


def written_cells(finish: Finisher, file: int, start: int, settled: Settled, carry: Carry) -> FloatArray:
    """[C] of one block."""
    numbers = finish(file, start, settled, carry).astype(np.float64)
    if settled.estimated is not None:
        numbers = np.where(settled.estimated, numbers, np.nan)
    return settled.block.placement.to_rows(numbers, np.nan)


def cells_of(against: Against, cells: ScoredCells, path: str) -> FloatArray:
    """[C] of the column, which has a number per cell, or one per row for all items of its lists."""
    numbers = against.numbers
    if len(numbers) == len(cells.scores):
        return numbers
    num_rows = cells.num_rows
    if len(numbers) >= num_rows:
        held: FloatArray = np.where(cells.rows >= 0, numbers[np.maximum(cells.rows, 0)], np.nan)
        return held
    raise DataError(
        f"`{against.column}` of `{against.path}` has {len(numbers):,} numbers, and `{path}` has "
        f"{len(cells.scores):,} steps in {num_rows:,} rows",
        hint="the column must have one number per step, or per row, in the order of the rows",
    )
