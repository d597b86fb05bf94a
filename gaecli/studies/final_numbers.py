"""What `gae compute` writes: the estimates of a stream once group baselines and normalisations are through.

The studies know of groups and their constants by this module alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from gaecli.estimators.normalization import NormRule
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.groups import group_keys as keys_of
from gaecli.pipeline.groups import normalized
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.rollouts import BoolArray, FloatArray, IndexArray
from gaecli.studies.reading import SettledStream

#: (file of the stream, first row, block, its surroundings) -> [N] the numbers of the first column that is written.
Finish = Callable[[int, int, Settled, Carry], FloatArray]


def finisher(reading: SettledStream) -> Finish:
    """Measures all there is to measure, and says what becomes of a block."""
    settings = reading.stream.settings
    if not settings.normalizes or "advantage" not in settings.kind.outputs:
        return lambda file, start, settled, carry: _estimates(settled)
    rule = NormRule.of(settings)
    moments = reading.stream.measure(reading.context)
    constants = {key: rule.constants(one) for key, one in moments.items()}

    def finish(file: int, start: int, settled: Settled, carry: Carry) -> FloatArray:
        return normalized(settled, keys_of(settled, carry, settings), constants, rule).advantages

    return finish


def _estimates(settled: Settled) -> FloatArray:
    return settled.advantages if settled.kind.outputs[0] == "advantage" else settled.returns


@dataclass(frozen=True, eq=False)
class Grouping:
    """The group of each step of a block that a baseline compares, as an index into `labels`."""

    codes: IndexArray
    labels: Sequence[Hashable]

    def label(self, step: int) -> Hashable:
        return self.labels[int(self.codes[step])]

    def steps_of(self, label: Hashable) -> BoolArray:
        """[N] bool: of this group."""
        wanted = np.array([one == label for one in self.labels], np.bool_)
        result: BoolArray = wanted[self.codes]
        return result


def grouping_of(settled: Settled) -> Grouping | None:
    """None where nothing is grouped."""
    block = settled.block
    return None if block.groups is None else Grouping(block.groups, block.group_labels)
