"""A stream as group baselines see it: the score, the group and the number of the column at every cell."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from gaecli.errors import DataError
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import BoolArray, FloatArray, IndexArray
from gaecli.settings import Settings
from gaecli.sources.inputs import StreamPlan
from gaecli.studies.column import Against
from gaecli.studies.final_numbers import Grouping, finisher, grouping_of
from gaecli.studies.reading import read_stream

#: Rows of a block: groups reach over all of them anyway.
_ROWS_PER_BLOCK = 1 << 18


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
    def is_scored(self) -> BoolArray:
        return self.groups >= 0


def scored_cells(plan: StreamPlan, settings: Settings, memory_bytes: int) -> ScoredCells:
    """`settings` name an estimator of scores, and what groups them."""
    reading = read_stream(plan, settings, memory_bytes, block_rows=_ROWS_PER_BLOCK)
    sizes = [sum(unit.num_cells for unit in opened.units) for opened in reading.stream.files]
    groups, rollouts = _Numbered(), _Numbered()
    parts: list[tuple[FloatArray, IndexArray, IndexArray, IndexArray, BoolArray]] = []

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        block, place = settled.block, settled.block.placement
        steps = np.arange(block.num_steps)
        codes = groups.of(grouping_of(settled, settings.group_columns), block.num_steps)
        samples = rollouts.of(grouping_of(settled, settings.sample_columns), block.num_steps)
        scores = settled.advantages.astype(np.float64)
        if settled.unscored is not None:  # compared with none
            codes = np.where(settled.unscored, groups.alone(settled.unscored), codes)
        if settled.estimated is not None:
            scores = np.where(settled.estimated, scores, np.nan)
            codes = np.where(settled.estimated, codes, -1)
        ends = settled.entering("trajectories")
        is_last = np.ones(block.num_steps, np.bool_) if ends is None else ends
        rows = sum(sizes[:file]) + start + block.file_rows(steps)
        parts.append(
            (
                place.to_rows(scores, np.nan),
                place.to_rows(codes, -1),
                place.to_rows(rows, -1),
                place.to_rows(samples, -1),
                place.to_rows(is_last, False),
            )
        )

    for _ in reading.stream.visit(reading.context, look):
        pass
    if not parts:
        raise DataError(f"`{plan.paths[0]}` has no rows: there is nothing to verify")
    scores, codes, rows, samples, is_last = (np.concatenate(column) for column in zip(*parts, strict=True))
    enters = _first_of_each(samples, is_last) if settings.sample_columns else is_last
    return ScoredCells(scores, codes, rows, is_last, enters, max(groups.count, 1))


class _Numbered:
    """Labels of all blocks, each with a number from 0."""

    def __init__(self) -> None:
        self.count = 0
        self._known: dict[Hashable, int] = {}

    def of(self, grouping: Grouping | None, num_steps: int) -> IndexArray:
        """[N] all of them 0 where nothing is grouped."""
        if grouping is None:
            self.count = max(self.count, 1)
            return np.zeros(num_steps, np.int64)
        numbers = np.array([self._number(label) for label in grouping.labels], np.int64)
        result: IndexArray = numbers[grouping.codes]
        return result

    def alone(self, chosen: BoolArray) -> IndexArray:
        """[N] a number of its own for each of these steps."""
        numbers: IndexArray = self.count - 1 + np.cumsum(chosen)
        self.count += int(np.count_nonzero(chosen))
        return numbers

    def _number(self, label: Hashable) -> int:
        if label not in self._known:
            self._known[label] = self.count
            self.count += 1
        return self._known[label]


def _first_of_each(samples: IndexArray, is_last: BoolArray) -> BoolArray:
    chosen = np.flatnonzero(is_last)
    found = np.zeros(len(is_last), np.bool_)
    found[chosen[np.unique(samples[chosen], return_index=True)[1]]] = True
    return found


def written_numbers(plan: StreamPlan, settings: Settings, memory_bytes: int) -> FloatArray:
    """[C] what `gae compute` writes under these settings, NaN where nothing."""
    reading = read_stream(plan, settings, memory_bytes, block_rows=_ROWS_PER_BLOCK)
    finish = finisher(reading)
    parts: list[FloatArray] = []

    def look(file: int, start: int, settled: Settled, carry: Carry) -> None:
        numbers = finish(file, start, settled, carry).astype(np.float64)
        if settled.estimated is not None:
            numbers = np.where(settled.estimated, numbers, np.nan)
        parts.append(settled.block.placement.to_rows(numbers, np.nan))

    for _ in reading.stream.visit(reading.context, look):
        pass
    return np.concatenate(parts)


def cells_of(against: Against, cells: ScoredCells, path: str) -> FloatArray:
    """[C] of the column, which has a number per cell, or one per row for all items of its lists."""
    numbers = against.numbers
    if len(numbers) == len(cells.scores):
        return numbers
    num_rows = int(cells.rows.max(initial=-1)) + 1
    if len(numbers) >= num_rows:
        held: FloatArray = np.where(cells.rows >= 0, numbers[np.maximum(cells.rows, 0)], np.nan)
        return held
    raise DataError(
        f"`{against.column}` of `{against.path}` has {len(numbers):,} numbers, and `{path}` has "
        f"{len(cells.scores):,} steps in {num_rows:,} rows",
        hint="the column must have one number per step, or per row, in the order of the rows",
    )
