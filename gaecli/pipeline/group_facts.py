"""What there is to tell of groups once they are known: how many, and the first few of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gaecli.estimators.stages import Scaling, ScoreStage, stages_of
from gaecli.pipeline.label_tables import MOST_SHOWN, Constants, KnownGroups, plain
from gaecli.pipeline.opening import FilePlace
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.summary import NormalizationGroup


@dataclass(frozen=True)
class GroupFacts:
    """Of one stage."""

    num_groups: int = 0
    #: Those without variance, whose members all get the same.
    num_degenerate: int = 0
    #: Those of a single member.
    num_alone: int = 0
    groups: Sequence[NormalizationGroup] = ()
    #: Those whose members weigh nothing: no mean is left.
    num_weightless: int = 0

    def merge(self, other: GroupFacts) -> GroupFacts:
        """With other groups."""
        return GroupFacts(
            self.num_groups + other.num_groups,
            self.num_degenerate + other.num_degenerate,
            self.num_alone + other.num_alone,
            (*self.groups, *other.groups)[:MOST_SHOWN],
            self.num_weightless + other.num_weightless,
        )


NO_GROUPS = GroupFacts()


@dataclass(frozen=True)
class StageFacts:
    """What scores are compared with, and what the advantages are normalised with."""

    baseline: GroupFacts = NO_GROUPS
    normalization: GroupFacts = NO_GROUPS

    def with_file(self, other: StageFacts, settings: Settings) -> StageFacts:
        """Of the next file of the stream, which has the same groups, unless it is normalised by itself."""
        if settings.normalize != "file":
            return self
        return StageFacts(self.baseline, self.normalization.merge(other.normalization))


def facts_of(constants: Constants, settings: Settings, place: FilePlace) -> StageFacts:
    """Of the file at `place` alone, where each file has its own, or each stream."""
    baseline, normalization = NO_GROUPS, NO_GROUPS
    for stage, known in zip(stages_of(settings), constants, strict=False):
        if stage.is_baseline:
            baseline = _facts(stage, known, None)
        else:
            normalization = _facts(stage, known, None if stage.spans_streams else place)
    return StageFacts(baseline, normalization)


def _facts(stage: ScoreStage, known: Mapping[Scaling, KnownGroups], place: FilePlace | None) -> GroupFacts:
    groups = known[stage.components[0].centre]
    groups = groups.told or groups
    constants = groups.constants
    is_flat = constants.are_degenerate
    for component in stage.components[1:]:
        others = known[component.centre].constants.are_degenerate
        if len(others) == len(is_flat):  # each reward function is as good as the others
            is_flat = is_flat & others
    labels: Sequence[Hashable] = groups.labels.shown
    rows = np.arange(len(is_flat))
    if place is not None:
        if stage.components[0].centre.statistic.scope.within == "file":
            rows = groups.labels.find([tuple(place)])
            rows = rows[rows >= 0]
        else:
            all_labels = enumerate(plain(groups.labels.labels))
            rows = np.array([row for row, label in all_labels if _is_of(label, place.stream)], np.int64)
        labels = [()] * len(is_flat)
    shown = [
        NormalizationGroup(
            shown_label(labels[row]),
            int(constants.counts[row]),
            float(constants.means[row]),
            float(constants.stds[row]),
        )
        for row in rows[: MOST_SHOWN if place is not None else len(labels)].tolist()
    ]
    alone = int(np.count_nonzero(constants.counts[rows] == 1))
    num_flat = int(np.count_nonzero(is_flat[rows])) - groups.num_weightless
    return GroupFacts(len(rows), num_flat, alone, tuple(shown), groups.num_weightless)


def _is_of(label: Hashable, stream: int) -> bool:
    return isinstance(label, tuple) and label[0] == stream


def shown_label(label: Hashable) -> str:
    return ", ".join(map(str, label)) if isinstance(label, tuple) and label else str(label)
