"""What `gae compute` writes: the estimates of a stream once group baselines and normalisations are through.

The studies know of groups and their constants by this module alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray, Names
from gaecli.estimators.stages import stages_of
from gaecli.pipeline.block_stages import BlockStages, Staged, StageTerm, by_columns, merged_tables
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.label_tables import Constants, plain
from gaecli.pipeline.opening import FilePlace
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.studies.reading import SettledStream


@dataclass(frozen=True, eq=False)
class Finisher:
    """Of one stream, once all there is to measure is measured."""

    settings: Settings
    number: int
    #: None: nothing is compared.
    constants: Constants | None

    def __call__(self, file: int, start: int, settled: Settled, carry: Carry) -> FloatArray:
        """[N] the numbers of the first column that is written."""
        staged = self.staged(file, settled, carry)
        if staged is not None:
            return staged.advantages
        return settled.advantages if settled.kind.outputs[0] == "advantage" else settled.returns

    def staged(self, file: int, settled: Settled, carry: Carry) -> Staged | None:
        """None where nothing is compared."""
        return None if self.constants is None else self._stages(file, settled, carry).applied(self.constants)

    def terms(self, file: int, settled: Settled, carry: Carry, step: int) -> list[StageTerm]:
        """What the number of one step adds up from."""
        return (
            [] if self.constants is None else self._stages(file, settled, carry).terms(self.constants, step)
        )

    @property
    def normalizes(self) -> bool:
        """After a baseline, if there is one."""
        return self.constants is not None and not stages_of(self.settings)[-1].is_baseline

    def _stages(self, file: int, settled: Settled, carry: Carry) -> BlockStages:
        return BlockStages(settled, carry, self.settings, FilePlace(self.number, file))


def finisher(reading: SettledStream) -> Finisher:
    return finishers([reading])[0]


def finishers(readings: Sequence[SettledStream]) -> list[Finisher]:
    """Of streams that are compared with one another, as all inputs of a run are. Each has a number of its own."""
    settings = readings[0].stream.settings
    if not settings.normalizes or "advantage" not in settings.kind.outputs:
        return [Finisher(settings, one.stream.number, None) for one in readings]
    constants: Constants = ()
    for stage in stages_of(settings):
        parts = [one.stream.measure(one.context, constants, stage) for one in readings]
        tables = merged_tables(stage, parts) if len(parts) > 1 else parts[0]
        constants = (*constants, tables.constants())
    return [Finisher(settings, one.stream.number, constants) for one in readings]


@dataclass(frozen=True, eq=False)
class Grouping:
    """The group of each step of a block that a baseline compares, as an index into `names`, and into `labels`."""

    codes: IndexArray
    names: Names

    @cached_property
    def labels(self) -> Sequence[Hashable]:
        return plain(self.names)

    def label(self, step: int) -> Hashable:
        return self.labels[int(self.codes[step])]

    def steps_of(self, label: Hashable) -> BoolArray:
        """[N] bool: of this group."""
        wanted = np.array([one == label for one in self.labels], np.bool_)
        result: BoolArray = wanted[self.codes]
        return result


def grouping_of(settled: Settled, columns: tuple[str, ...]) -> Grouping | None:
    """By equal values in all of the columns; None without columns."""
    if not columns:
        return None
    keys = by_columns(settled.block, columns)
    assert keys.indices is not None
    return Grouping(keys.indices, keys.labels)
