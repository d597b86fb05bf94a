"""The score of a trajectory, s = Σ rₜ, at each of its steps: what group baselines compare.

What becomes of it beside the scores of others is `gaecli.estimators.stages`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.errors import DataError
from gaecli.estimators.base import Borders, Estimates
from gaecli.estimators.gae import Gae
from gaecli.estimators.scores import SCORE, sums_of
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> Score:
    return Score(settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    """Sums are completed by what other blocks have of a trajectory."""
    return False


@dataclass(frozen=True)
class Score(Gae):
    """NumPy in float64, whatever the device. Nothing is discounted, and no value counts."""

    def prepare(self, block: Block) -> Block:
        return without_beyond(block, self.settings)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        sums = sums_of(block, self.settings, are_estimates=True)
        return Estimates(sums.by_name[SCORE], sums=sums)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        return nothing_beyond(super().borders(block, advantages))

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        return advantages


def without_beyond(block: Block, settings: Settings) -> Block:
    """Ends are ends; what is beyond them is nothing to a sum of rewards."""
    for name in (*settings.group_columns, *settings.order_columns):
        _check_one_group(block, name)
    return replace(block, terminated=block.cuts, next_values=None)


def nothing_beyond(borders: Borders) -> Borders:
    """No value enters at the end of a lane."""
    nothing = np.zeros(len(borders.offsets))
    return replace(borders, value_weights=nothing, end_weights=nothing, end_values=None)


def _check_one_group(block: Block, name: str) -> None:
    """A trajectory is compared with others as a whole."""
    labels = block.labels[name]
    changes = (labels.codes[1:] != labels.codes[:-1]) & ~block.cuts[:-1]
    changes[block.lanes.stops[block.lanes.stops < block.num_steps] - 1] = False
    if not changes.any():
        return
    first = int(np.argmax(changes)) + 1
    found = [labels.names[labels.codes[step]] for step in (first - 1, first)]
    before, after = (repr(label.item() if isinstance(label, np.generic) else label) for label in found)
    raise DataError(
        f"`{name}` goes from {before} to {after} within one trajectory; {int(changes.sum()):,} such places in all",
        hint="a trajectory is of one group; if each row, or each item of a list, is a response of its own, pass "
        "`--layout responses`",
    )
