"""Labels and weights of blocks: what is asked of all of them first, and the columns that come of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import field

import numpy as np

from gaecli.array_types import Array, BoolArray, FloatArray
from gaecli.formats.base import OutputColumn
from gaecli.label_settings import Labelling, parameter
from gaecli.labels.quantiles import Ask, Counts, QuantileSearch, is_beyond
from gaecli.labels.weights import ProgressScale, advantage_weights, progress_made
from gaecli.moments import Moments
from gaecli.pipeline.column_builder import TEXTS, ColumnBuilder, as_written
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.label_tables import plain
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import Labels
from gaecli.settings import Settings

#: The group of all rows, where none is named.
EVERYTHING: Hashable = ()


@dataclass(frozen=True, eq=False)
class LabelConstants:
    """What a block is told so that its rows can be labelled and weighted."""

    #: By group.
    thresholds: Mapping[Hashable, float] = field(default_factory=dict)
    progress: ProgressScale = field(default_factory=ProgressScale)


@dataclass(frozen=True, eq=False)
class SurveyQuestion:
    """What is asked of all blocks before any of them is labelled."""

    ask: Ask | None
    asks_progress: bool


@dataclass(frozen=True, eq=False)
class SurveyAnswer:
    counts: Counts | None
    progress: Moments


class LabelSearch:
    """`question` is asked of every block, and `take` takes the answers, until there is no question any more.

    `most_pending`: as of `Counter`, where many searches go on at a time.
    """

    def __init__(self, settings: Settings, most_pending: int | None = None) -> None:
        found = settings.labelling
        quantile, threshold = (None, None) if found is None else (found.quantile, found.threshold)
        limit = () if most_pending is None else (most_pending,)
        self._search = None if quantile is None else QuantileSearch(quantile, *limit)
        self._thresholds = {} if threshold is None else {EVERYTHING: threshold}
        self._progress = Moments() if settings.weight == "rabc" else None
        self._has_progress = self._progress is None

    @property
    def question(self) -> SurveyQuestion | None:
        ask = None if self._search is None else self._search.ask
        if ask is None and self._has_progress:
            return None
        return SurveyQuestion(ask, not self._has_progress)

    def take(self, answers: Iterable[SurveyAnswer]) -> None:
        """Those of all blocks to the question, so that there is another one, or none."""
        for one in answers:
            self.add(one)
        self.next()

    def add(self, answer: SurveyAnswer) -> None:
        """That of one block."""
        if answer.counts is not None and self._search is not None:
            self._search.add(answer.counts)
        if self._progress is not None and not self._has_progress:
            self._progress = self._progress.merge(answer.progress)

    def next(self) -> None:
        """All blocks have answered."""
        self._has_progress = True
        if self._search is not None and self._search.ask is not None:
            self._search.next()

    @property
    def constants(self) -> LabelConstants:
        found = self._thresholds if self._search is None else self._search.found
        return LabelConstants(found, ProgressScale.of(self._progress or Moments()))


def answer(
    question: SurveyQuestion, settled: Settled, advantages: FloatArray, carry: Carry, settings: Settings
) -> SurveyAnswer:
    """`advantages`: as they are written, in float64."""
    counts, progress = None, Moments()
    labelling = settings.labelling
    if question.ask is not None and labelling is not None:
        numbers = labelled_numbers(settled, advantages)
        where = _present(settled, numbers)
        if not labelling.forced_count and settings.force_positive is not None:
            where &= ~_forced(settled, settings)
        groups = _groups(settled, settings)
        if groups is None:
            counts = question.ask.of(numbers[where], None, [EVERYTHING])
        else:
            counts = question.ask.of(numbers[where], groups.codes[where], plain(groups.names))
    if question.asks_progress:
        made = _progress_made(settled, carry, settings)
        progress = Moments.of(made[~np.isnan(made) & _counted(settled)])
    return SurveyAnswer(counts, progress)


def labelled_numbers(settled: Settled, advantages: FloatArray) -> Array:
    """[N] what labels are of, as it is written: the first output of the estimator."""
    return as_written(advantages if "advantage" in settled.kind.outputs else settled.returns)


@dataclass(frozen=True)
class LabelCounts:
    """Rows with a label, with a positive one, and with one whatever their advantage."""

    labelled: int = 0
    positive: int = 0
    forced: int = 0


def label_column(
    builder: ColumnBuilder,
    settled: Settled,
    advantages: FloatArray,
    labelling: Labelling,
    constants: LabelConstants,
    settings: Settings,
) -> tuple[OutputColumn, LabelCounts]:
    positive, present, forced = labels_of(settled, advantages, labelling, constants, settings)
    counts = (int(np.count_nonzero(flags)) for flags in (present, present & positive, forced))
    cells = positive if settings.label_type == "bool" else TEXTS[positive.astype(np.int64)]
    return builder.cells(cells, None if present.all() else present), LabelCounts(*counts)


def labels_of(
    settled: Settled,
    advantages: FloatArray,
    labelling: Labelling,
    constants: LabelConstants,
    settings: Settings,
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """[N] each: positive, which have a label, and which are positive whatever their number."""
    numbers = labelled_numbers(settled, advantages)
    thresholds = _thresholds(settled, constants, settings)
    positive = is_beyond(numbers, thresholds, labelling.operator)
    present = _present(settled, numbers)
    forced = np.zeros(len(numbers), np.bool_)
    if settings.force_positive is not None:
        forced = _forced(settled, settings) & _counted(settled)
        positive, present = positive | forced, present | forced
    return positive, present, forced


def weights_of(
    settled: Settled, advantages: FloatArray, carry: Carry, constants: LabelConstants, settings: Settings
) -> tuple[FloatArray, BoolArray]:
    """([N] weights, where there are any)."""
    if settings.weight == "rabc":
        made = _progress_made(settled, carry, settings)
        return constants.progress.weights(made, parameter(settings, "progress_kappa")), _counted(settled)
    return advantage_weights(advantages, settings), _present(settled, advantages)


def _thresholds(settled: Settled, constants: LabelConstants, settings: Settings) -> Array | float:
    """Of each row; NaN, which nothing is beyond, for groups of which no row counts."""
    groups = _groups(settled, settings)
    if groups is None:
        return constants.thresholds.get(EVERYTHING, np.nan)
    found = [constants.thresholds.get(label, np.nan) for label in plain(groups.names)]
    return np.array(found, np.float64)[groups.codes]


def _groups(settled: Settled, settings: Settings) -> Labels | None:
    return None if settings.label_by is None else settled.block.labels[settings.label_by]


def _counted(settled: Settled) -> BoolArray:
    return np.ones(settled.block.num_steps, np.bool_) if settled.counts is None else settled.counts.copy()


def _present(settled: Settled, numbers: Array) -> BoolArray:
    """[N] steps that have an advantage, which is a number."""
    there = np.ones(len(numbers), np.bool_) if settled.estimated is None else settled.estimated
    found: BoolArray = there & ~np.isnan(numbers)
    return found


def _forced(settled: Settled, settings: Settings) -> BoolArray:
    assert settings.force_positive is not None
    flags: BoolArray = settled.block.extras[settings.force_positive] == 1
    return flags


def _progress_made(settled: Settled, carry: Carry, settings: Settings) -> FloatArray:
    assert settings.progress_column is not None
    assert carry.following is not None
    progress = settled.block.extras[settings.progress_column]
    return progress_made(settled.block, progress, carry.following, int(parameter(settings, "progress_chunk")))
