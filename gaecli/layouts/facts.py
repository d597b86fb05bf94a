"""What a block of a long table saw that only all blocks together can judge."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, BoolArray
from gaecli.block_facts import BlockFacts, InvertedFacts, LaneBorders
from gaecli.layouts.arrange import Arrangement
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class Ends:
    """Ends of the steps of a block, in lane order."""

    #: [N] terminated or truncated.
    ended: BoolArray
    #: [N] the done flag as stored, if there is one.
    done: BoolArray | None
    #: [N - 1] the steps t and t + 1 belong to one trajectory, going by lanes and ids.
    same: BoolArray
    #: [N] rows that are steps. None: all.
    is_step: BoolArray | None


def facts_of(
    start: int,
    ends: Ends,
    stride: int | None,
    rewards: Array,
    arrangement: Arrangement,
    inverted: InvertedFacts | None,
) -> BlockFacts:
    done = ends.done
    inside = np.flatnonzero(ends.ended[:-1] & ends.same) if arrangement.id_columns else np.zeros(0, np.int64)
    changes = arrangement.id_changes
    first_rows = np.flatnonzero(changes) + 1 if changes is not None else ()
    after = np.flatnonzero(_followed(ends, arrangement)) + 1
    return BlockFacts(
        id_starts=len(first_rows),
        flagged_id_starts=0 if done is None or not len(first_rows) else int(done[first_rows].sum()),
        flags_inside=len(inside),
        first_flag_inside=start + arrangement.row(int(inside[0])) if len(inside) else None,
        flagged_steps=0 if done is None else int(np.count_nonzero(done)),
        flagged_lane_starts=0 if done is None else int(done[arrangement.starts].sum()),
        step_stride=stride,
        run_labels=arrangement.run_labels,
        has_fixed_lanes=arrangement.is_by_shape,
        zero_after_end=int(np.count_nonzero(rewards[after] == 0)),
        followed_ends=len(after),
        lane_borders=_lane_borders(ends, rewards, arrangement) if len(rewards) else None,
        inverted=inverted,
        clock_falls=len(arrangement.clock_falls),
        first_clock_fall=start + arrangement.clock_falls[0] if arrangement.clock_falls else None,
    )


def _lane_borders(ends: Ends, rewards: Array, arrangement: Arrangement) -> LaneBorders:
    starts = arrangement.starts
    is_step = np.ones(len(starts), np.bool_) if ends.is_step is None else ends.is_step[starts]
    return LaneBorders(is_step, rewards[starts] == 0, ends.ended[arrangement.stops - 1])


def _followed(ends: Ends, arrangement: Arrangement) -> BoolArray:
    """[N - 1] ends after which a step comes, of whatever trajectory."""
    followed = ends.ended[:-1]
    if arrangement.adjacent is not None:
        followed = followed & arrangement.adjacent
    return followed if ends.is_step is None else followed & ends.is_step[1:]
