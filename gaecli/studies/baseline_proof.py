"""A rule of group baselines that whole groups of a sample follow, held against every cell of the stream.

A first walk finds how large the scores of each group are, and the numbers that the rule makes of them, which says how
far rounding can go; a second one compares. What is kept is a few numbers for each group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from functools import cached_property

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.engines.threads import Threads, default_jobs
from gaecli.errors import DataError
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.opening import open_stream
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.results import Attempt, Deviation
from gaecli.settings import Settings
from gaecli.studies.asked import Asked
from gaecli.studies.baseline_candidates import Rule, decisive
from gaecli.studies.baseline_choices import Choice
from gaecli.studies.baseline_deviations import BaselineDeviations
from gaecli.studies.baseline_trials import (
    BaselineTrial,
    ComputedSizes,
    ScoredColumn,
    held_against,
    looks_at_all,
    noise_of,
)
from gaecli.studies.column import ColumnCells
from gaecli.studies.final_numbers import finisher
from gaecli.studies.parts import rows_of_slots
from gaecli.studies.reading import SettledStream, settled, settled_blocks
from gaecli.studies.scored_streams import ROWS_PER_BLOCK
from gaecli.studies.scores import ScoredBlocks, ScoredCells, written_cells

#: Share of the memory limit for blocks from one look to the next, of each of the two streams.
_STORE_SHARE = 0.08
#: (file, first row, block, what it is told).
_BlockSeen = tuple[int, int, Settled, Carry]


@dataclass(frozen=True, eq=False)
class ProvenTrial:
    """Of all cells."""

    trial: BaselineTrial
    deviations: Sequence[Deviation]
    #: The largest ratio to what rounding may do.
    worst: float
    #: Some group has one trajectory; some trajectory has no score.
    has_singles: bool
    has_unscored: bool

    def speaks_for(self, rule: Rule) -> bool:
        """They differ by nothing but what becomes of groups of one, or of no score, of which there are none."""
        left_out = {"singleton": not self.has_singles, "unscored": not self.has_unscored}
        mine, other = (
            {name: value for name, value in decisive(one.settings).items() if not left_out.get(name)}
            for one in (self.trial.rule, rule)
        )
        return mine == other

    def named(self, other: BaselineTrial) -> ProvenTrial:
        """The same of another rule."""
        mine = self.trial.attempt
        names = ("num_rows", "num_deviating", "max_error", "rms_error", "is_sampled")
        attempt = replace(other.attempt, **{name: getattr(mine, name) for name in names})
        return replace(self, trial=replace(other, attempt=attempt))


@dataclass(frozen=True, eq=False)
class _BlockCells:
    """[C] each."""

    scored: ScoredCells
    column: FloatArray
    #: What the rule writes.
    written: FloatArray

    @property
    def held(self) -> BoolArray:
        return self.scored.is_scored & np.isfinite(self.column)


@dataclass(eq=False)
class _GroupSizes:
    """[G] each, of the cells that are compared; complete before anything is asked of it."""

    num_entering: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    sums: FloatArray = field(default_factory=lambda: np.zeros(0))
    lows: FloatArray = field(default_factory=lambda: np.zeros(0))
    highs: FloatArray = field(default_factory=lambda: np.zeros(0))
    num_cells: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    largest: FloatArray = field(default_factory=lambda: np.zeros(0))
    squares: float = 0.0

    def add(self, cells: _BlockCells) -> None:
        held = cells.held
        groups, scores = cells.scored.groups[held], cells.scored.scores[held]
        enters, computed = cells.scored.enters[held], np.nan_to_num(cells.written[held])
        self._grow(cells.scored.num_groups)
        size = len(self.sums)
        self.num_entering += np.bincount(groups[enters], minlength=size)
        self.sums += np.bincount(groups[enters], weights=scores[enters], minlength=size)
        self.num_cells += np.bincount(groups, minlength=size)
        np.minimum.at(self.lows, groups, scores)
        np.maximum.at(self.highs, groups, scores)
        np.maximum.at(self.largest, groups, np.abs(computed))
        self.squares += float(np.square(computed).sum())

    def _grow(self, count: int) -> None:
        fills = {"lows": np.inf, "highs": -np.inf}
        for name in ("num_entering", "sums", "lows", "highs", "num_cells", "largest"):
            cells = getattr(self, name)
            more = np.full(count - len(cells), fills.get(name, 0), cells.dtype)
            setattr(self, name, np.append(cells, more))

    @cached_property
    def means(self) -> FloatArray:
        return self.sums / np.maximum(self.num_entering, 1)

    @cached_property
    def spreads(self) -> FloatArray:
        """The largest deviation from the mean."""
        return np.maximum(np.maximum(self.highs - self.means, self.means - self.lows), 0.0)

    def column_of(self, cells: _BlockCells, rounding: float) -> ScoredColumn:
        held, scored = cells.held, cells.scored
        groups = scored.groups[held]
        return ScoredColumn(
            scored.scores[held],
            cells.column[held],
            scored.rows[held],
            self.means[groups],
            self.spreads[groups],
            self.num_entering[groups],
            groups,
            scored.enters[held],
            int(np.count_nonzero(scored.is_scored & ~held)),
            held,
            rounding,
        )

    def computed(self, rounding: float) -> ComputedSizes:
        every_group = np.arange(len(self.sums))
        nothing, nowhere = np.zeros(len(every_group)), np.ones(len(every_group), np.bool_)
        of_groups = ScoredColumn(
            *(nothing, nothing, every_group, self.means, self.spreads, self.num_entering),
            *(every_group, nowhere, 0, nowhere, rounding),
        )
        slopes = of_groups.slopes(self.largest)
        slope = _median(slopes[of_groups.is_telling], self.num_cells[of_groups.is_telling])
        whole = float(np.sqrt(self.squares / max(int(self.num_cells.sum()), 1)))
        return ComputedSizes(self.largest, whole, slope)


class BaselineProof:
    """Of the rules of one choice of groups and rewards."""

    def __init__(self, asked: Asked, choice: Choice) -> None:
        self._asked, self._choice = asked, choice
        self._rounding = asked.against.rounding

    @cached_property
    def _scores(self) -> SettledStream:
        return _stream_of(self._asked, self._choice.settings)

    def of_all(self, sampled: Sequence[BaselineTrial]) -> list[ProvenTrial]:
        """Those that make the column first, in the order in which they come."""
        found: list[ProvenTrial] = []
        limit = 1.0
        # What a sample shows as it is comes before what it shows up to scale and shift.
        for trial in sorted(sampled, key=lambda one: looks_at_all(one.rule.settings)):
            alike = next((one for one in found if one.speaks_for(trial.rule)), None)
            found.append(self._of(trial, limit) if alike is None else alike.named(trial))
            if found[-1].trial.attempt.is_reproduced and limit == 1.0:
                limit = noise_of(found[-1].worst)
        places = {id(trial.rule): place for place, trial in enumerate(sampled)}
        return sorted(found, key=lambda one: (one.trial.attempt.num_deviating, places[id(one.trial.rule)]))

    def _of(self, sampled: BaselineTrial, limit: float) -> ProvenTrial:
        """`limit`: so many tolerances are allowed."""
        rule = sampled.rule
        written = _stream_of(self._asked, rule.settings)
        sizes = _GroupSizes()
        has_unscored = False
        for cells, block in self._blocks(written):
            sizes.add(cells)
            has_unscored |= block.unscored is not None and bool(block.unscored.any())
        computed = sizes.computed(self._rounding)
        tally = _RuleTally(rule, limit)
        for cells, _ in self._blocks(written):
            tally.add(cells, sizes.column_of(cells, self._rounding), computed)
        trial = replace(sampled, attempt=tally.attempt(sampled))
        has_singles = bool((sizes.num_entering == 1).any())
        return ProvenTrial(trial, tally.deviations.result(), tally.worst, has_singles, has_unscored)

    def _blocks(self, written: SettledStream) -> Iterator[tuple[_BlockCells, Settled]]:
        has_scores = _has_scores(written.stream.settings, self._choice.settings)
        scores = written if has_scores else self._scores
        scored, finish = ScoredBlocks(scores), finisher(written)
        column = _ColumnOfCells(self._asked, self._choice.is_per_row)
        blocks = settled_blocks(written)
        pairs: Iterable[tuple[_BlockSeen, _BlockSeen]] = (
            ((block, block) for block in blocks)
            if has_scores
            else zip(blocks, settled_blocks(scores), strict=True)
        )
        for block, (file, start, of_scores, _) in pairs:
            cells = scored.of(file, start, of_scores)
            yield _BlockCells(cells, column.of(of_scores), written_cells(finish, *block)), of_scores
        column.check_end(self._asked.path)


class _RuleTally:
    """What became of one rule, block after block."""

    def __init__(self, rule: Rule, limit: float) -> None:
        self._rule, self._limit = rule, limit
        self.deviations = BaselineDeviations()
        self.worst = self._squares = self._largest = 0.0
        self._num_rows = self._num_held = self._num_deviating = 0

    def add(self, cells: _BlockCells, column: ScoredColumn, sizes: ComputedSizes) -> None:
        trial = held_against(self._rule, cells.written, column, sizes)
        self.deviations.add(trial, column)
        self.worst = max(self.worst, trial.worst)
        self._num_rows += trial.attempt.num_rows
        self._num_held += len(trial.ratios)
        self._num_deviating += trial.within(self._limit, column.num_missing).attempt.num_deviating
        self._largest = max(self._largest, trial.attempt.max_error or 0.0)
        self._squares += (trial.attempt.rms_error or 0.0) ** 2 * len(trial.ratios)

    def attempt(self, sampled: BaselineTrial) -> Attempt:
        return replace(
            sampled.attempt,
            num_rows=self._num_rows,
            num_deviating=self._num_deviating,
            max_error=self._largest if self._num_held else None,
            rms_error=(self._squares / self._num_held) ** 0.5 if self._num_held else None,
            is_sampled=False,
        )


class _ColumnOfCells:
    """The column, which has a number for each cell, or one for each row."""

    def __init__(self, asked: Asked, is_per_row: bool) -> None:
        self._against, self._is_per_row = asked.against, is_per_row
        self._cells = ColumnCells(asked.against)
        self._num_cells = self._num_numbers = 0

    def of(self, settled: Settled) -> FloatArray:
        block = settled.block
        num_cells = block.placement.num_rows
        self._num_cells += num_cells
        is_per_row = self._is_per_row and block.list_offsets is not None
        wanted = len(block.list_offsets) - 1 if is_per_row and block.list_offsets is not None else num_cells
        numbers = self._cells.take(wanted)
        self._num_numbers += len(numbers)
        numbers = np.append(numbers, np.full(wanted - len(numbers), np.nan))
        return numbers[rows_of_slots(block, np.arange(num_cells))] if is_per_row else numbers

    def check_end(self, path: str) -> None:
        num_left = self._cells.num_left()
        if not self._is_per_row and (num_left or self._num_numbers < self._num_cells):
            raise DataError(
                f"`{self._against.column}` of `{self._against.path}` has {self._num_numbers + num_left:,} numbers, "
                f"and `{path}` has {self._num_cells:,} steps",
                hint="the column must have one number per step, or per row, in the order of the rows",
            )


def _has_scores(settings: Settings, scores: Settings) -> bool:
    """The numbers of steps before anything is compared are the scores that the settings of those make."""
    names = ("group_columns", "sample_columns", "rewards", "columns", "unscored", "layout")
    is_score = settings.kind.module == scores.kind.module
    return is_score and all(getattr(settings, name) == getattr(scores, name) for name in names)


def _stream_of(asked: Asked, settings: Settings) -> SettledStream:
    opened = open_stream(asked.plan, settings, asked.memory_bytes, block_rows=ROWS_PER_BLOCK)
    threads = Threads(default_jobs()) if opened.num_blocks > 1 else None
    return settled(opened, threads=threads, store_share=_STORE_SHARE)


def _median(numbers: FloatArray, weights: Array) -> float:
    """Of numbers that are there so many times each."""
    if not len(numbers):
        return 0.0
    order = np.argsort(numbers)
    sums = np.cumsum(weights[order])
    return float(numbers[order][np.searchsorted(sums, sums[-1] / 2)])
