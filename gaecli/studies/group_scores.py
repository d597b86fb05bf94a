"""The scores of every group of responses of a stream, and which groups are worth a look."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.checks.group_ledger import are_alike
from gaecli.estimators.scores import SCORE
from gaecli.pipeline.group_facts import shown_label
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass
from gaecli.studies.final_numbers import grouping_of

#: Scores of one group that are kept to be shown.
MOST_SCORES = 64
_SHARE_FLAT, _SHARE_EXTREME = 0.3, 0.2


@dataclass(frozen=True, eq=False)
class ChosenGroups:
    """[G] each, by the row order in which groups begin."""

    indices: IndexArray
    counts: IndexArray
    means: FloatArray
    stds: FloatArray
    lows: FloatArray
    highs: FloatArray
    flat: BoolArray
    labels: Sequence[str]
    scores: Sequence[Sequence[float]]
    num_groups: int
    num_flat: int
    num_alone: int
    how: str


class GroupScores:
    """Takes the responses of one block after the other: a number and a score of each are kept."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._indices: dict[Hashable, int] = {}
        self._groups: list[IndexArray] = []
        self._scores: list[FloatArray] = []

    def add(self, settled: Settled, lasts: IndexArray) -> IndexArray:
        """[T] the group of each trajectory of the block, -1 for none; `lasts`: the last step of each."""
        grouping = grouping_of(settled, self.columns)
        scores = settled.scores.get(SCORE)
        if grouping is None or scores is None:
            return np.full(len(lasts), -1, np.int64)
        own = np.array(
            [self._indices.setdefault(label, len(self._indices)) for label in grouping.labels], np.int64
        )
        groups = own[grouping.codes[lasts]]
        ends = settled.entering("trajectories")
        has_score = ~np.isnan(scores[lasts]) & (settled.prepared.cuts if ends is None else ends)[lasts]
        if settled.unscored is not None:
            has_score &= ~settled.unscored[lasts]
        self._groups.append(groups[has_score].astype(np.int32))
        self._scores.append(scores[lasts][has_score])
        return groups

    def chosen(self, most: int) -> ChosenGroups | None:
        """None where nothing is compared."""
        groups = np.concatenate([np.zeros(0, np.int32), *self._groups])
        scores = np.concatenate([np.zeros(0), *self._scores])
        if not len(groups):
            return None
        order = np.argsort(groups, kind="stable")
        groups, scores = groups[order], scores[order]
        present, firsts = np.unique(groups, return_index=True)
        counts = np.diff(firsts, append=len(groups))
        means = np.add.reduceat(scores, firsts) / counts
        stds = np.sqrt(np.add.reduceat(np.square(scores - np.repeat(means, counts)), firsts) / counts)
        lows, highs = np.minimum.reduceat(scores, firsts), np.maximum.reduceat(scores, firsts)
        alone = counts == 1
        flat = are_alike(lows, highs) & ~alone
        picked, how = _picked(means, stds, flat, most)
        labels = list(self._indices)
        return ChosenGroups(
            present[picked].astype(np.int64),
            counts[picked],
            means[picked],
            stds[picked],
            lows[picked],
            highs[picked],
            flat[picked],
            [shown_label(labels[index]) for index in present[picked].tolist()],
            [
                scores[first : first + min(count, MOST_SCORES)].tolist()
                for first, count in zip(firsts[picked].tolist(), counts[picked].tolist(), strict=True)
            ],
            len(present),
            int(np.count_nonzero(flat)),
            int(np.count_nonzero(alone)),
            how,
        )


def _picked(means: FloatArray, stds: FloatArray, flat: BoolArray, most: int) -> tuple[IndexArray, str]:
    count = len(means)
    if count <= most:
        return np.arange(count), "all of them"
    found: dict[int, None] = {}
    told = []
    choices = (
        ("with equal scores", np.flatnonzero(flat), int(most * _SHARE_FLAT)),
        ("with the lowest mean", np.argsort(means, kind="stable"), int(most * _SHARE_EXTREME)),
        ("with the largest spread", np.argsort(-stds, kind="stable"), int(most * _SHARE_EXTREME)),
    )
    for name, order, number in choices:
        new = [index for index in order.tolist()[: most + number] if index not in found][:number]
        found |= dict.fromkeys(new)
        if new:
            told.append(f"{len(new):,} {name}")
    left = np.array([index for index in range(count) if index not in found], np.int64)
    spread = left[np.linspace(0, len(left) - 1, most - len(found)).astype(np.int64)]
    told.append(f"{len(spread):,} spread evenly")
    return np.array(sorted([*found, *spread.tolist()]), np.int64), ", ".join(told)
