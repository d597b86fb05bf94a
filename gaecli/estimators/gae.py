"""Generalized advantage estimation of blocks, and what crosses their borders.

    δₜ = rₜ + γ (1 - dₜ) V(sₜ₊₁) - V(sₜ)
    Aₜ = δₜ + γλ (1 - cutₜ) Aₜ₊₁                Rₜ = Aₜ + V(sₜ)

Schulman et al. 2016, https://arxiv.org/abs/1506.02438. Of all that lies behind the last step of a
lane, only V and A of the very next step enter, as one number: the inflow

    z = w_V · V(sₜ₊₁) + w_A · Aₜ₊₁,     w_V = γ unless sₜ₊₁ is terminal or its value is given,
                                        w_A = γλ unless step t is cut

and what the lane hands to its predecessor is affine in it: A_first = β + α z, with α = Π γₜλₜ over the steps before
the last one, which is (γλ)^(n - 1) where they are the same for all, if no cut stands between, else 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray, IndexArray
from gaecli.estimators.base import (
    Beyond,
    Borders,
    Estimates,
    FinalEstimates,
    WholePieces,
    estimate_whole,
    wants_values,
)
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.conventions import read_as
from gaecli.estimators.decays import gammas, lams, products
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


@dataclass(frozen=True)
class Gae:
    """The estimator with its settings."""

    settings: Settings
    device: Device

    @property
    def needs_trajectories(self) -> bool:
        return False

    def prepare(self, block: Block) -> Block:
        """The block as the convention reads it; the block itself where that is what it says."""
        return fill_bootstrap(read_as(block, self.settings), self.settings.bootstrap)

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        """Of a prepared block, as if nothing came after it."""
        return Estimates(self._scan(block, block.piece_ends(), threads))

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        lanes = block.lanes
        first, last = lanes.starts, lanes.stops - 1
        gamma = gammas(block, self.settings)
        decay = gamma * lams(block, self.settings)
        return Borders.of_lanes(
            block,
            advantages,
            value_weights=np.where(wants_values(block), _at(gamma, last), 0.0),
            trace_weights=np.where(block.cuts[last], 0.0, _at(decay, last)),
            gains=products(decay, first, last),
        )

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        """Aₜ with what enters at the end of each lane: only the tails after the last cut change."""
        entered = np.flatnonzero(inflow)
        if not len(entered):
            return advantages
        starts, stops = open_tails(block, entered)
        lasts = np.cumsum(stops - starts) - 1
        if 2 * int(lasts[-1]) > block.num_steps:
            return self._settle_all(block, advantages, stops - 1, inflow[entered])
        from gaecli.estimators.parts import part

        steps = np.arange(int(lasts[-1]) + 1) + np.repeat(stops - 1 - lasts, stops - starts)
        cuts = np.zeros(len(steps), np.bool_)
        cuts[lasts] = True
        tails = replace(part(block, steps), cuts=cuts)
        settled = advantages if in_place else advantages.copy()
        settled[steps] = self._settle_all(tails, advantages[steps], lasts, inflow[entered])
        return settled

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        """A, and R = A + V."""
        return FinalEstimates(advantages)

    def whole(self, block: Block, pieces: WholePieces | None = None, threads: int = 1) -> FinalEstimates:
        return estimate_whole(self, block, pieces, threads)

    def _scan(
        self,
        block: Block,
        cuts: BoolArray,
        threads: int,
        inflow_rows: IndexArray | None = None,
        inflow: FloatArray | None = None,
    ) -> FloatArray:
        return gae_block(
            block.rewards,
            block.values,
            cuts=cuts,
            terminated=block.terminated if block.terminated.any() else None,
            next_values=block.next_values,
            is_step=block.is_step,
            gamma=gammas(block, self.settings),
            lam=lams(block, self.settings),
            inflow_rows=inflow_rows,
            inflow=inflow,
            precision=self.settings.precision,
            device=self.device,
            threads=threads,
        )

    def _settle_all(
        self, block: Block, advantages: FloatArray, last: IndexArray, inflow: FloatArray
    ) -> FloatArray:
        """Of all steps; `inflow` enters at the steps `last`."""
        return self._scan(block, block.piece_ends(), 1, last, inflow)


def _at(decay: float | FloatArray, steps: IndexArray | slice) -> float | FloatArray:
    return decay[steps] if isinstance(decay, np.ndarray) else decay


def open_tails(block: Block, lanes: IndexArray) -> tuple[IndexArray, IndexArray]:
    """(first steps, stops) of the steps after the last cut before the end of each lane: what enters reaches them."""
    starts, stops = block.lanes.starts[lanes], block.lanes.stops[lanes]
    cuts = np.flatnonzero(block.cuts)
    before = np.searchsorted(cuts, stops - 1) - 1
    behind_cut = cuts[before] + 1 if len(cuts) else np.zeros(len(lanes), np.int64)
    return np.maximum(starts, np.where(before >= 0, behind_cut, 0)), stops
