"""Rows that next-step autoreset of Gymnasium leaves behind every end: no step was taken there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaecli.columns import Roles
from gaecli.layouts.keys import numbered
from gaecli.pipeline.blocks import BlockSummary
from gaecli.summary import WarningNote


def filler_rows(summaries: Sequence[BlockSummary], roles: Roles, path: str) -> list[WarningNote]:
    """A step with reward 0 behind every end, over the borders of blocks and files as well."""
    if roles.get("episode") is not None or roles.get("step") is not None:
        return []
    followed, zero = _at_borders(summaries)
    followed += sum(summary.facts.followed_ends for summary in summaries)
    zero += sum(summary.facts.zero_after_end for summary in summaries)
    total = sum(summary.num_rows for summary in summaries)
    if followed < 3 or zero < followed or followed > total // 4:
        return []
    return [
        WarningNote(
            "filler-rows",
            "every end of an episode is followed by a step with reward 0: these may be filler rows of "
            "Gymnasium's next-step autoreset, which are no steps",
            file=path,
            count=zero,
            hint="leave them out when recording (`autoreset_mode=SAME_STEP`), or add an episode column",
        )
    ]


def _at_borders(summaries: Sequence[BlockSummary]) -> tuple[int, int]:
    """(ends at the last step of a lane that a step of the same lane follows elsewhere, those with reward 0)."""
    found = [one for one in summaries if one.facts.lane_borders is not None and one.lanes.count]
    borders = [one.facts.lane_borders for one in found if one.facts.lane_borders is not None]
    if len(found) < 2:
        return 0, 0
    keys = np.concatenate(numbered([one.lanes.keys for one in found]))
    ends = np.concatenate([one.last_ends for one in borders])
    is_step = np.concatenate([one.first_is_step for one in borders])
    is_zero = np.concatenate([one.first_is_zero for one in borders])
    is_start = np.concatenate([one.lanes.first_is_start for one in found])
    order = np.argsort(keys, kind="stable")
    before, after = order[:-1], order[1:]
    is_same = keys[before] == keys[after]
    # A flag on the first row of an episode says that the step before it ended one.
    follows = is_same & (ends[before] | is_start[after]) & is_step[after]
    return int(np.count_nonzero(follows)), int(np.count_nonzero(follows & is_zero[after]))
