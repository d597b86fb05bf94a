"""The two looks of `gae report` at a stream: at all of it for what there is to tell, then at what is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.pipeline.apply import Totals, block_totals
from gaecli.pipeline.column_statistics import Tally
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.studies.column import Against, ColumnCells
from gaecli.studies.column_pairs import PairTally
from gaecli.studies.episode_curves import CurveCollector
from gaecli.studies.episode_steps import BlockSteps, StepNumbers
from gaecli.studies.episode_table import EpisodeTable, Of
from gaecli.studies.group_scores import GroupScores
from gaecli.studies.parts import NumberedTrajectories, TrajectoryNumbers, first_rows, numbered_from
from gaecli.studies.reading import SettledStream, settled_blocks
from gaecli.studies.step_sample import StepSample

#: Points of value against return: more of them only lie on top of each other.
MOST_POINTS = 4_000


class StoredCells:
    """A column that is there already, cell by cell beside the steps of blocks, which come in order."""

    def __init__(self, against: Against) -> None:
        self.column = against.column
        self._cells = ColumnCells(against)
        self._num_taken = 0

    def of(self, first_cell: int, num_cells: int, slots: IndexArray) -> FloatArray | None:
        """[N]; None where the column is of other rows."""
        while self._num_taken < first_cell:
            skipped = len(self._cells.take(min(first_cell - self._num_taken, 1 << 20)))
            if not skipped:
                return None
            self._num_taken += skipped
        cells = self._cells.take(num_cells)
        self._num_taken += len(cells)
        return cells[slots] if len(cells) == num_cells else None


@dataclass(frozen=True, eq=False)
class SeenBlock:
    """What a second look needs to know of a block that it sees without those before."""

    first_cell: int
    first_number: int
    num_trajectories: int
    entered: Mapping[int, int]

    def numbers(self) -> IndexArray:
        return numbered_from(self.first_number, self.num_trajectories, self.entered)


@dataclass(eq=False)
class WholeLook:
    """At every block, in order."""

    reading: SettledStream
    steps: StepNumbers
    against: Against | None
    #: Rows that findings are about, counted over all files; in order.
    sought: IndexArray
    table: EpisodeTable = field(default_factory=EpisodeTable)
    totals: Totals = field(default_factory=Totals)
    deltas: Tally = field(default_factory=Tally)
    sample: StepSample = field(default_factory=lambda: StepSample(MOST_POINTS))
    stored: PairTally = field(default_factory=lambda: PairTally(1e-5, 1e-8, 0))
    #: The column is there, and is of these rows.
    has_stored: bool = False
    #: Row -> number of the trajectory that it is of.
    found: dict[int, int] = field(default_factory=dict)
    groups: GroupScores | None = None

    def __post_init__(self) -> None:
        settings = self.reading.stream.settings
        self.first_rows = first_rows(self.reading)
        if settings.group_columns and settings.kind.is_scored:
            self.groups = GroupScores(settings.group_columns)
        self._numbering = TrajectoryNumbers()
        self._num_cells = 0
        #: By (file, first row).
        self.blocks: dict[tuple[int, int], SeenBlock] = {}

    def look(self) -> None:
        cells = None if self.against is None else StoredCells(self.against)
        self.has_stored = cells is not None
        for file, start, settled, carry in settled_blocks(self.reading):
            self._add(file, start, settled, carry, cells if self.has_stored else None)

    def _add(self, file: int, start: int, settled: Settled, carry: Carry, cells: StoredCells | None) -> None:
        block, settings = settled.block, self.reading.stream.settings
        steps = self.steps.of(file, start, settled, carry)
        found = self._numbering.of(block, carry)
        first_row = self.first_rows[file] + start
        lines = self.steps.lines(file, first_row, settled, carry, steps, found)
        if self.groups is not None:
            lines[:, Of.GROUP] = self.groups.add(settled, found.lasts)
        self._locate(first_row, steps, found)
        self.table.add(lines, found.comes_in, found.goes_on)
        finished = steps.series.get("advantage", steps.series.get("return", steps.series["reward"]))
        self.totals.merge(block_totals(settled, finished, settings))
        if "delta" in steps.series:
            self.deltas = self.deltas.merge(Tally.of(steps.series["delta"][steps.estimated]))
        if "value" in steps.series and "return" in steps.series:
            which = np.flatnonzero(steps.estimated)
            self.sample.add(
                first_row + steps.rows[which],
                settled.prepared.values[which].astype(np.float64),
                steps.series["return"][which],
            )
        if cells is not None:
            self._compare(steps, cells.of(self._num_cells, block.placement.num_rows, steps.slots))
        self.blocks[file, start] = SeenBlock(
            self._num_cells, found.first_number, len(found.lasts), found.entered
        )
        self._num_cells += block.placement.num_rows

    def _compare(self, steps: BlockSteps, stored: FloatArray | None) -> None:
        if stored is None:
            self.has_stored = False
            return
        which = steps.estimated
        self.stored.add(stored[which], steps.series["advantage"][which])

    def _locate(self, first_row: int, steps: BlockSteps, found: NumberedTrajectories) -> None:
        if not len(self.sought):
            return
        at = np.flatnonzero(np.isin(steps.rows + first_row, self.sought))
        for step in at.tolist():
            number = int(found.numbers[found.local[step]])
            self.found.setdefault(int(steps.rows[step]) + first_row, number)
            self.table.wanted.add(number)


def second_look(first: WholeLook, wanted: Mapping[int, tuple[int, int]]) -> CurveCollector:
    """At the blocks that have a part of these trajectories: number -> (positions, points to draw at most)."""
    stream, collector = first.reading.stream, CurveCollector(wanted)
    numbers = np.array(sorted(wanted), np.int64)
    with_some = {place for place, seen in first.blocks.items() if np.isin(numbers, seen.numbers()).any()}
    units = {
        (one.address.file, one.address.unit)
        for one in stream.summaries
        if (one.address.file, one.start) in with_some
    }
    some = replace(stream, carries={unit: stream.carries[unit] for unit in sorted(units)})
    cells = StoredCells(first.against) if first.has_stored and first.against is not None else None
    for file, start, settled, carry in settled_blocks(replace(first.reading, stream=some)):
        if (file, start) not in with_some:
            continue
        seen, block = first.blocks[file, start], settled.block
        steps = first.steps.of(file, start, settled, carry)
        local, lasts = block.trajectories()
        none = np.zeros(len(lasts), np.bool_)
        found = NumberedTrajectories(
            seen.numbers(), none, none, local, lasts, seen.first_number, seen.entered
        )
        stored = None if cells is None else cells.of(seen.first_cell, block.placement.num_rows, steps.slots)
        collector.add(first.first_rows[file] + start, steps, stored, found)
    return collector
