"""Recursions whose weights and decays change from step to step.

    eₜ = rₜ + γ (1 - dₜ) V(sₜ₊₁) - bₜ                    b: V(sₜ), or Q(sₜ, aₜ)
    yₜ = wₜ eₜ + γ kₜ (1 - cutₜ) yₜ₊₁

It is the scan of `gaecli.estimators.gae` with other numbers, and crosses the border of a block in the same way: the
last step of a lane adds z = w (γ V' + …) + γ k y' to what it is without them, and of that the first step gets
z Π γ kₜ over the steps between. A product, never a quotient of powers: a k may be 0.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.estimators.base import (
    MAX_LANES,
    Beyond,
    Borders,
    Estimates,
    FinalEstimates,
    any_between,
    wants_values,
)
from gaecli.estimators.decays import gammas, products
from gaecli.estimators.gae_variants import GatedGae, WholeTrajectoryGae, following_values
from gaecli.estimators.parts import part
from gaecli.records import dataclass
from gaecli.rollouts import Block


@dataclass(frozen=True, eq=False)
class Weights:
    """[N] w and k of every step."""

    errors: FloatArray
    traces: FloatArray


@dataclass(frozen=True)
class TraceEstimator(GatedGae):
    """What is scanned is y; `read_out` makes of it what is written."""

    @abstractmethod
    def weights(self, block: Block, errors: FloatArray) -> Weights:
        """Of the steps of a block, or of a part of one. `errors`: [N] e."""

    @abstractmethod
    def read_out(
        self, block: Block, scanned: FloatArray, errors: FloatArray, following: FloatArray
    ) -> FinalEstimates:
        """A and R. `scanned`, `following`: [N] y and yₜ₊₁, `errors`: [N] e, with all that lies beyond the block."""

    def base(self, block: Block) -> FloatArray:
        """[N] b."""
        return block.values

    @property
    def has_gates(self) -> bool:
        """A step whose e is negative hands on nothing, so that w and k of a step are known only with its V'."""
        return False

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        block = replace(block, cuts=block.piece_ends())
        errors = self.errors(block)
        weights = self.weights(block, errors)
        x = weights.errors * errors
        if self.has_gates:
            x[self._undecided(block)] = 0.0
        return Estimates(self._affine(block, x, self._decays(block, weights), threads))

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        """`advantages`: y as if nothing came after the block."""
        lanes = block.lanes
        first, last = lanes.starts, lanes.stops - 1
        at_end = part(block, last)
        errors = self.errors(replace(at_end, cuts=np.ones(len(last), np.bool_)))
        wants_value = wants_values(block)
        weights = self.weights(at_end, np.where(wants_value, 0.0, errors))
        gates = np.where(wants_value, errors, np.nan) if self.has_gates else None
        return Borders.of_lanes(
            block,
            advantages,
            value_weights=np.where(wants_value, gammas(at_end, self.settings) * weights.errors, 0.0),
            trace_weights=self._decays(at_end, weights),
            gains=self._gains(block, first, last),
            gates=gates,
            asks_values=wants_value & (gammas(at_end, self.settings) != 0),
        )

    def _settle_all(
        self, block: Block, advantages: FloatArray, last: IndexArray, inflow: FloatArray
    ) -> FloatArray:
        """yₜ + z Π γ k over the steps from t to the end of the lane."""
        block = replace(block, cuts=block.piece_ends())
        x = np.zeros(block.num_steps)
        x[last] = inflow
        return advantages + self._affine(block, x, self._decays_of(block), 1)

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        last = block.lanes.stops - 1
        wants_value = wants_values(block)
        block = replace(block, cuts=block.piece_ends())
        errors = self.errors(block)
        beyond_weights = np.broadcast_to(gammas(block, self.settings), errors.shape)[last]
        errors[last] += np.where(wants_value, beyond_weights * beyond.values, 0.0)
        following = np.zeros(block.num_steps)
        following[:-1] = advantages[1:]
        following[block.cuts] = 0.0
        following[last] = beyond.estimates
        found = self.read_out(block, advantages, errors, following)
        if block.is_step is None:
            return found
        written = np.where(block.is_step, found.advantages, 0.0)
        return FinalEstimates(written, found.returns)

    @np.errstate(over="ignore", invalid="ignore")
    def errors(self, block: Block) -> FloatArray:
        """[N] e, as if nothing came after the block, whose lanes are cut."""
        following = following_values(block)
        gated = self._passed(block)
        if gated is not None:
            following[gated & block.cuts] = 0.0
        following *= gammas(block, self.settings)
        following += block.rewards
        following -= self.base(block)
        return following

    def _decays_of(self, block: Block) -> FloatArray:
        return self._decays(block, self.weights(block, self.errors(block)))

    def _decays(self, block: Block, weights: Weights) -> FloatArray:
        decays = gammas(block, self.settings) * weights.traces
        gated = self._passed(block)
        if gated is not None:
            decays = np.where(gated, 1.0, decays)
        decays[block.cuts] = 0.0
        if block.is_step is not None:
            decays[~block.is_step] = 0.0
        return decays

    def _gains(self, block: Block, first: IndexArray, last: IndexArray) -> FloatArray:
        """[lanes] Π γ k over all steps of the lane but the last; of lanes with a cut anything."""
        gains = np.ones(len(first))
        through = np.flatnonzero(~any_between(block.cuts, first, last) & (last > first))
        if len(through) <= MAX_LANES:
            for lane in through.tolist():
                gains[lane] = self._product(block, slice(int(first[lane]), int(last[lane]) + 1))
            return gains
        return products(self._decays_of(replace(block, cuts=block.piece_ends())), first, last)

    def _product(self, block: Block, rows: slice) -> float:
        """Π γ k over these steps but the last; no cut stands between."""
        steps = part(block, rows)
        inner = np.zeros(steps.num_steps, np.bool_)
        inner[-1] = True
        return float(np.multiply.reduce(self._decays_of(replace(steps, cuts=inner))[:-1]))

    def _undecided(self, block: Block) -> IndexArray:
        undecided: IndexArray = (block.lanes.stops - 1)[wants_values(block)]
        return undecided


@dataclass(frozen=True)
class WholeTrajectoryTraces(TraceEstimator, WholeTrajectoryGae):
    """λ by the length of the trajectory: no block comes after this one."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return TraceEstimator.estimate(self, self._closed(block), threads)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        return TraceEstimator.borders(self.of_one_lam(), block, advantages)

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        return advantages

    def outputs(self, block: Block, advantages: FloatArray, beyond: Beyond) -> FinalEstimates:
        return TraceEstimator.outputs(self, self._closed(block), advantages, Beyond.nothing(block))

    def _undecided(self, block: Block) -> IndexArray:
        return np.zeros(0, np.int64)
