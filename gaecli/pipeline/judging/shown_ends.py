"""Whether something beside the flags shows that they are those of the last step of an episode.

A done flag on the first row of a file is that of an episode of one step, or of an observation that begins one. Where
an id is another behind each flagged row and nowhere else, or a counter begins anew there, it is the former.
"""

from __future__ import annotations

from collections.abc import Sequence

from gaecli.columns import Roles
from gaecli.pipeline.blocks import BlockSummary
from gaecli.pipeline.combine import Combined
from gaecli.pipeline.judging.breaks import breaks_at_ends_alone
from gaecli.pipeline.judging.ids import changes_at_ends_alone


def ends_are_shown(roles: Roles, summaries: Sequence[BlockSummary], combined: Combined) -> bool:
    return (
        _step_begins_anew(roles, summaries[0])
        or any(changes_at_ends_alone(name, summaries, combined) for name in summaries[0].facts.suspects)
        or breaks_at_ends_alone(summaries, combined)
    )


def _step_begins_anew(roles: Roles, first: BlockSummary) -> bool:
    """Steps are an equal distance apart within what the flags cut, and in all the lane goes less far than that."""
    lanes, stride = first.lanes, first.facts.step_stride
    if stride is None or lanes.count != 1 or lanes.first_steps is None or lanes.last_steps is None:
        return False
    if roles.get("mask") is not None:  # rows that are no steps count none
        return False
    return bool(lanes.last_steps[0] - lanes.first_steps[0] < stride * (first.num_rows - 1))
