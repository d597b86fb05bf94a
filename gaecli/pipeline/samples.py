"""Rollouts that were split into samples: each rollout counts once, whatever number of rows it has."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from gaecli.errors import DataError
from gaecli.estimators.stages import Statistic
from gaecli.moments import GroupedMoments
from gaecli.pipeline.label_tables import LabelTable, MomentTable, plain

#: Scores of the samples of one rollout differ by no more than this of themselves, as float32 keeps them.
_SAME = 1e-6


def whole_rollouts(statistic: Statistic, table: MomentTable) -> MomentTable:
    """Moments over rollouts by scope; `table` has those over the samples of each rollout."""
    moments, labels = table.moments, plain(table.labels.labels)
    spreads = np.sqrt(moments.m2s / np.maximum(moments.counts, 1))
    odd = spreads > _SAME * np.maximum(np.abs(moments.means), 1.0)
    if odd.any():
        raise _differing(labels[int(np.argmax(odd))], int(np.count_nonzero(odd)), statistic)
    width = 1 if statistic.scope.within == "file" else len(statistic.scope.columns)
    scopes = LabelTable()
    distinct: dict[Hashable, int] = {}
    groups = np.array(
        [distinct.setdefault(_scope(label, width), len(distinct)) for label in labels], np.int64
    )
    found = MomentTable(scopes)
    of_rollouts = GroupedMoments.of(moments.means, groups, len(distinct), with_largest=statistic.with_largest)
    found.merge(list(distinct), of_rollouts)
    return found


def _scope(label: Hashable, width: int) -> Hashable:
    assert isinstance(label, tuple)
    return label[0] if width == 1 else label[:width]


def _differing(label: Hashable, count: int, statistic: Statistic) -> DataError:
    columns = tuple(dict.fromkeys((*statistic.scope.columns, *statistic.one_by)))
    assert isinstance(label, tuple)
    label = label[len(label) - len(columns) :]  # behind that of the file
    where = ", ".join(f"{name} {value!r}" for name, value in zip(columns, label, strict=True))
    return DataError(
        f"the samples of one rollout have different scores ({where}); {count:,} such rollouts in all",
        hint="`--sample-of` names what tells rollouts apart that were split into several rows, each with the score "
        "of the whole",
    )
