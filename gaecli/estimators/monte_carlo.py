"""The Monte-Carlo return, for which no value column is needed.

    Gₜ = rₜ + γ Gₜ₊₁            inside a trajectory
    G_T = r_T + γ V(s_T+1)      at its last step; V = 0 where sₜ₊₁ is terminal or nothing gives its value

Sutton and Barto 2018, eq. 3.8. It is the scan of GAE with λ = 1 where every V counts as 0 but for those beyond
the last steps, so all of blocks, borders and bootstrap rules is that of `gaecli.estimators.gae`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.estimators.base import Beyond, Borders, Estimates, FinalEstimates
from gaecli.estimators.decays import with_one_lam
from gaecli.estimators.gae_variants import GatedGae
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> MonteCarlo:
    """λ, and whatever else a preset's recursion is, say nothing to it."""
    return MonteCarlo(with_one_lam(settings, 1.0), device)


def needs_whole_trajectories(settings: Settings) -> bool:
    return False


@dataclass(frozen=True)
class MonteCarlo(GatedGae):
    """Its estimates are the returns themselves."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return super().estimate(_without_values(block), threads)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        last = block.lanes.stops - 1
        next_values = np.full(len(last), np.nan)
        if block.next_values is not None:  # V' of a step inside a trajectory is nothing to it
            next_values = np.where(block.cuts[last], np.nan, block.next_values[last])
        found = super().borders(_without_values(block), advantages)
        return replace(
            found,
            last_values=block.values[last].astype(np.float64),
            end_values=next_values,
            # Of a last step whose last state stands in a row of a later block, what its own row gives is all of it.
            own_shares=np.zeros(len(last)),
        )

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        return super().settle(_without_values(block), advantages, inflow, in_place=in_place)

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        return FinalEstimates(advantages, advantages)


def _without_values(block: Block) -> Block:
    """V = 0 at every step; what is known of V beyond the last steps stays."""
    values = np.zeros(block.num_steps, block.values.dtype)
    is_last = block.cuts
    if block.is_step is not None:  # rows that hold a last state: their value is a bootstrap
        values[~block.is_step] = block.values[~block.is_step]
        is_last = is_last | (np.append(~block.is_step[1:], False)[: len(is_last)] & block.has_successor())
    next_values = block.next_values
    if next_values is not None:
        next_values = np.where(is_last, next_values, next_values.dtype.type(np.nan))
    return replace(block, values=values, next_values=next_values)
