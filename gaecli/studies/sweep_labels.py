"""Labels under every setting of a sweep: the threshold, what is positive, and what stays as it is."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gaecli.array_types import Array, FloatArray
from gaecli.errors import UsageError
from gaecli.label_summary import LabelGroup
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.labels import EVERYTHING, LabelConstants, LabelSearch, SurveyAnswer, answer, labels_of
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.settings import Settings

#: What a row without a label has beside 1 and 0.
NO_LABEL = 2
#: Counts of all searches together that wait to be added up, and bytes that one of them takes in the end.
_MOST_PENDING = 1 << 21
_BYTES_PER_SEARCH = 4 << 20
_MOST_GROUPS = 32


def check_fits(settings: Settings, num_points: int, memory_bytes: int) -> None:
    """Each setting has a search for its threshold."""
    if settings.labelling is not None and num_points * _BYTES_PER_SEARCH > memory_bytes:
        raise UsageError(
            f"labels under {num_points:,} settings take more than `--memory`",
            hint="take a wider step in the grid, or raise `--memory`",
        )


class Thresholds:
    """Those of several settings, all of them searched for in the same visits."""

    def __init__(self, settings: Sequence[Settings]) -> None:
        most = max(_MOST_PENDING // max(len(settings), 1), 1 << 16)
        self._settings = settings
        self._searches = [LabelSearch(one, most) for one in settings]

    @property
    def are_open(self) -> bool:
        """One more visit of all blocks is needed."""
        return any(search.question is not None for search in self._searches)

    def answer(self, index: int, settled: Settled, numbers: FloatArray, carry: Carry) -> SurveyAnswer | None:
        """Of a block; None where nothing is asked any more."""
        question = self._searches[index].question
        if question is None:
            return None
        return answer(question, with_numbers(settled, numbers), numbers, carry, self._settings[index])

    def add(self, index: int, answer: SurveyAnswer) -> None:
        """Of one block after the other."""
        self._searches[index].add(answer)

    def next(self) -> None:
        """All blocks of all streams have been seen."""
        for search in self._searches:
            search.next()

    @property
    def constants(self) -> list[LabelConstants]:
        return [search.constants for search in self._searches]


def with_numbers(settled: Settled, numbers: FloatArray) -> Settled:
    """The block with the numbers of a setting in place of its own."""
    return replace(settled, advantages=numbers, returns=numbers)


def block_labels(
    settled: Settled, numbers: FloatArray, settings: Settings, constants: LabelConstants
) -> Array:
    """[N] int8: 1, 0, or `NO_LABEL`."""
    labelling = settings.labelling
    assert labelling is not None
    positive, present, _ = labels_of(with_numbers(settled, numbers), numbers, labelling, constants, settings)
    return np.where(present, positive.astype(np.int8), np.int8(NO_LABEL))


@dataclass(frozen=True)
class LabelTotal:
    """Rows with a label, positive ones, and those whose label is that of the reference."""

    labelled: int = 0
    positive: int = 0
    same: int = 0

    @classmethod
    def of(cls, labels: Array, theirs: Array) -> LabelTotal:
        has = labels != NO_LABEL
        return cls(
            int(np.count_nonzero(has)),
            int(np.count_nonzero(labels == 1)),
            int(np.count_nonzero(has & (labels == theirs))),
        )

    def merge(self, other: LabelTotal) -> LabelTotal:
        return LabelTotal(
            self.labelled + other.labelled, self.positive + other.positive, self.same + other.same
        )


def groups_told(constants: LabelConstants) -> list[LabelGroup]:
    """The threshold of each group, of all rows where they are one."""
    thresholds: Mapping[Hashable, float] = constants.thresholds
    return [
        LabelGroup("" if label == EVERYTHING else str(label), found if math.isfinite(found) else None)
        for label, found in list(thresholds.items())[:_MOST_GROUPS]
    ]
