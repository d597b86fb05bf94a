"""The rows of a block of a long table on their way to steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from gaecli.array_types import Array, BoolArray, FloatArray, IndexArray
from gaecli.layouts.arrange import Arrangement
from gaecli.layouts.cells import Cells
from gaecli.layouts.ends import Flags
from gaecli.layouts.evidence.id_holes import IdHoles
from gaecli.layouts.extras import ExtraCells
from gaecli.layouts.padding import Padding
from gaecli.layouts.rewards import Rewards
from gaecli.layouts.steps import Steps
from gaecli.records import dataclass


@dataclass(frozen=True, eq=False)
class LongRows:
    """What a block holds, in the order of the file."""

    num_steps: int
    #: Rows whose numbers enter; None: all.
    used: BoolArray | None
    rewards: Rewards
    values: Array
    #: The columns that the estimator alone has a use for.
    own: ExtraCells
    flags: Flags
    steps: Mapping[str, Steps]
    #: Cells that cannot be used, by what they are of; None: all can.
    bad: Sequence[BoolArray | None]
    #: By column, where an id is missing.
    id_holes: Mapping[str, IdHoles]


@dataclass(frozen=True, eq=False)
class LongTrajectories:
    """How the rows are trajectories, in lane order; [N] each."""

    arrangement: Arrangement
    cells: Cells
    terminated: BoolArray
    truncated: BoolArray
    #: The flag as the file has it, still at its own end of the step.
    done: BoolArray | None
    #: Start flags, where those are what is read.
    starts: BoolArray | None
    padding: Padding | None
    #: [N - 1] the next step is of the same trajectory, by lanes and ids alone.
    same: BoolArray
    cuts: BoolArray
    #: The steps behind which arrays say more, and where that is of another trajectory.
    last: IndexArray
    is_other: BoolArray

    @cached_property
    def ended(self) -> BoolArray:
        return self.terminated | self.truncated

    @cached_property
    def inside(self) -> BoolArray:
        """[N - 1] the next step is of the same trajectory, by flags as well."""
        return self.same & ~self.ended[:-1]

    @property
    def is_step(self) -> BoolArray | None:
        return None if self.padding is None else ~self.padding.rows


class NextValues(NamedTuple):
    numbers: Array | None
    bad: BoolArray | None
    #: [lanes] V beyond the last step, should its trajectory end there.
    beyond: FloatArray | None
