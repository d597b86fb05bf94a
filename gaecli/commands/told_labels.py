"""What there is to tell of labels and of rewards out of success."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

from gaecli.columns import Roles
from gaecli.label_settings import OPERATORS
from gaecli.label_summary import LabelGroup, LabelSummary, SuccessSummary
from gaecli.names import FLAG_ROLES
from gaecli.pipeline.apply import Totals
from gaecli.pipeline.labels import EVERYTHING
from gaecli.settings import Settings
from gaecli.summary import WarningNote

MAX_GROUPS_SHOWN = 32


def labels_told(
    settings: Settings, thresholds: Mapping[Hashable, float], num_groups: int, totals: Totals
) -> LabelSummary | None:
    labelling = settings.labelling
    if labelling is None or not totals.tallies:
        return None
    return LabelSummary(
        settings.label_column,
        settings.kind.outputs[0],
        OPERATORS[labelling.operator],
        labelling.words,
        [
            LabelGroup("" if label == EVERYTHING else str(label), found if math.isfinite(found) else None)
            for label, found in list(thresholds.items())[:MAX_GROUPS_SHOWN]
        ],
        num_groups,
        settings.label_by,
        totals.labelled,
        totals.positive,
        None if settings.force_positive is None else totals.forced,
        labelling.forced_count,
    )


def success_told(settings: Settings, totals: Totals) -> SuccessSummary | None:
    if settings.success_column is None or not totals.tallies:
        return None
    from gaecli.pipeline.outcomes import success_summary

    return success_summary(settings, totals.longest_episode, totals.counts.episodes, totals.successes)


def open_episodes(roles: Roles, totals: Totals, settings: Settings, file: str | None) -> list[WarningNote]:
    """Where flags end episodes, one that none ends may be no failure, but not over yet."""
    has_flags = any(roles.get(role) is not None for role in FLAG_ROLES)
    count = totals.counts.open
    if settings.success_column is None or not has_flags or roles.get("episode") is not None or not count:
        return []
    they = "1 episode is" if count == 1 else f"{count:,} episodes are"
    return [
        WarningNote(
            "unfinished-episodes",
            f"{they} not ended by a flag: each counts as a failure, unless it is flagged as a success",
            file,
            count,
            hint="leave out the rows of episodes that are not over",
        )
    ]
