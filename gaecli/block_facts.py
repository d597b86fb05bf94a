"""What a block of steps saw that it cannot judge by itself: all blocks together show what it means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field
from typing import Any

from gaecli.array_types import Array, BoolArray, IndexArray, Names
from gaecli.choices import UnitIs
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class RowFacts:
    """What the rows of a nested table say of themselves, where each is taken for a trajectory."""

    #: The column of ids, and those of the rows that have one, in order.
    id_column: str | None
    ids: Names
    #: Step column -> its number in each row, where it has whole ones throughout.
    steps: Mapping[str, IndexArray]
    #: The fewest and the most items of a list that has any.
    lengths: tuple[int, int] | None
    num_rows: int
    #: Rows that none of the flags ends, where each has one flag per row, and that nothing follows.
    num_bare: int
    #: Something has an item per step that only makes sense along time.
    shows_time: bool
    #: That of each row among those that it is compared with. None: two rows have the same, or there are none.
    groups: Sequence[tuple[Hashable, ...]] | None = None


@dataclass(frozen=True, eq=False)
class PieceFacts:
    """The trajectories of lists that hold their keys; [P] each, in the order of the rows that they stand in."""

    #: The columns that tell them apart within a row.
    names: Sequence[str]
    #: What those say; empty where they tell no trajectories of different rows apart, as numbers of agents.
    labels: Sequence[object]
    rows: IndexArray
    #: By a flag.
    ended: BoolArray
    #: None has two steps, although there are rows that have.
    are_single: bool


@dataclass(frozen=True)
class LostRewards:
    """Rewards that are not 0 where no step is, and what tells whose they are."""

    #: On masked cells, and where the first of them is.
    masked: int = 0
    first_masked: str | None = None
    #: Of rows that hold the last observation of an episode: all, those with a reward, and where the first of them is.
    num_last: int = 0
    last: int = 0
    first_last: str | None = None
    #: Of rows that begin an episode: all, and those with a reward.
    num_starts: int = 0
    starts: int = 0


@dataclass(frozen=True)
class UnitFacts:
    """Units that have steps, trajectories that have units, steps in units; rewards that are not 0 elsewhere."""

    units: int
    episodes: int
    steps: int
    rewards_outside: int
    reading: UnitIs
    #: Ids that hold nothing but 0 and 1, which may be flags; None: nobody need ask.
    doubt: UnitDoubt | None = None


@dataclass(frozen=True)
class UnitDoubt:
    """Where the first 1 is, and whether flags would make other units than ids do."""

    first_one: str | None
    differs: bool


@dataclass(frozen=True)
class BlockFacts:
    """What a block saw that only all blocks together can judge: which step a flag belongs to, say.

    Rows count from the start of the file; None where there was none.
    """

    #: Trajectories (by id) whose first row lies in this block, and how many carry a done flag there.
    id_starts: int = 0
    flagged_id_starts: int = 0
    #: End flags on a row whose successor has the same id.
    flags_inside: int = 0
    first_flag_inside: int | None = None
    flagged_steps: int = 0
    #: The done flag is set on the very first step of a lane.
    flagged_lane_starts: int = 0
    #: Distance of the step column between neighbours of a trajectory, if it was seen.
    step_stride: int | None = None
    #: Ids of the runs in this block, where ids may not come back (None: interleaved, they may).
    run_labels: Array | Sequence[Hashable] | None = None
    #: The lanes are those of an array: rows cannot be taken by key.
    has_fixed_lanes: bool = False
    #: Ends followed by a step with reward 0, and all ends that are followed by a step.
    zero_after_end: int = 0
    followed_ends: int = 0
    #: The same of the two ends of each lane, which may follow, or be followed, in another block.
    lane_borders: LaneBorders | None = None
    #: Of an inverted flag, where there is one.
    inverted: InvertedFacts | None = None
    #: Of a mask over rows that are trajectories.
    mask: MaskFacts | None = None
    #: Ends without a terminal flag whose next value is that of a slot which the mask leaves out.
    masked_ends: int = 0
    #: Rows that stood behind later ones, by the clock of a file without a step column.
    clock_falls: int = 0
    first_clock_fall: int | None = None
    rows: RowFacts | None = None
    pieces: PieceFacts | None = None
    lost: LostRewards = field(default_factory=lambda: LostRewards())
    units: UnitFacts | None = None
    #: By its name, how a column runs that looks like an id and that nothing uses.
    suspects: Mapping[str, Any] = field(default_factory=dict)
    #: By its name, how many slots of the trajectories a column says are steps, where nothing uses it.
    slots: Mapping[str, Any] = field(default_factory=dict)
    #: By its name, where a column of ids has none.
    id_holes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LaneBorders:
    """[lanes] of the first step: it is one, and has reward 0; of the last one: it ends a trajectory."""

    first_is_step: BoolArray
    first_is_zero: BoolArray
    last_ends: BoolArray


@dataclass(frozen=True)
class MaskFacts:
    """What a block saw of a mask: zeros where an episode may end, and zeros that no such flag has."""

    at_ends: int
    others: int
    #: Cells that it keeps.
    kept: int


@dataclass(frozen=True)
class InvertedFacts:
    """What a block saw of the `not_done` column."""

    #: What stands for "not ended": 1, or γ. None: nothing does.
    level: float | None
    #: To how much of itself the type of the column rounds it.
    rounding: float
    #: It is 0 somewhere.
    has_ends: bool
