"""The λ-return, which is what GAE is the advantage of where each state has one V.

    Gₜ = rₜ + γ (1 - dₜ) ((1 - λ) V'(sₜ₊₁) + λ Gₜ₊₁)        Aₜ = Gₜ - V(sₜ)
    Gₜ = rₜ + γ (1 - dₜ) V'(sₜ₊₁)                            at the last step of a trajectory

Sutton and Barto 2018, eq. 12.2-12.3. V' is the next value of the row, as a target network gives it, or else V of the
next row. It is the scan of GAE, whatever recursion and return a preset has for its own advantages, with another V of
the next state inside trajectories:

    Aₜ = rₜ + γ (1 - dₜ) ((1 - λ) V'(sₜ₊₁) + λ V(sₜ₊₁)) - V(sₜ) + γλ Aₜ₊₁
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.estimators.base import Borders, Estimates
from gaecli.estimators.decays import lams
from gaecli.estimators.gae_variants import GatedGae, WholeTrajectoryGae, needs_ends
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> GatedGae:
    kind = _WholeTrajectories if needs_whole_trajectories(settings) else TdLambda
    return kind(settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    return needs_ends(settings)


@dataclass(frozen=True)
class TdLambda(GatedGae):
    """Of the next value that the last row of a lane gives, the next block decides how much of it enters."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        return super().estimate(self._mixed(block), threads)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        if block.next_values is None and block.lanes.last_next_values is None:
            return super().borders(block, advantages)
        last = block.lanes.stops - 1
        found = super().borders(self._mixed(block), advantages)
        lam = np.broadcast_to(lams(block, self.settings), block.num_steps)
        given = np.full(len(last), np.nan)
        if block.next_values is not None:
            waits = _go_on(block)[last] & ~block.terminated[last]
            given = np.where(waits, block.next_values[last], given)
        return replace(found, end_values=given, own_shares=1.0 - lam[last])

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        if not inflow.any():
            return advantages
        return super().settle(self._mixed(block), advantages, inflow, in_place=in_place)

    def _mixed(self, block: Block) -> Block:
        return with_mixed_values(block, lams(block, self.settings))


@dataclass(frozen=True)
class _WholeTrajectories(WholeTrajectoryGae):
    """λ by the length of the trajectory, or the trace passes masked steps, as if their λ were 1."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        block = self._closed(block)
        lam, passed = lams(block, self.settings), self._passed(block)
        share = lam if passed is None else np.where(passed, 1.0, lam)
        return Estimates(self._gae(with_mixed_values(block, share), lam, threads))


@np.errstate(over="ignore", invalid="ignore")
def with_mixed_values(block: Block, lam: float | FloatArray) -> Block:
    """V'(sₜ₊₁) := (1 - λ) V'(sₜ₊₁) + λ V(sₜ₊₁) where a next step follows in the block.

    That of the last step of a lane that may go on is left out: how much of it counts the next block says.
    """
    given = block.next_values
    if given is None or not block.num_steps:
        return block
    goes_on = _go_on(block)
    following = np.append(block.values[1:], np.nan).astype(np.float64)
    mixed = np.where(goes_on, given + lam * (following - given), given)
    mixed[block.lanes.stops - 1] = np.where(goes_on, np.nan, given)[block.lanes.stops - 1]
    return replace(block, next_values=mixed)


def has_second_values(block: Block) -> bool:
    """A next value inside the block is another one than V of the next step of the trajectory."""
    if block.next_values is None or not block.num_steps:
        return False
    differs = np.append(block.next_values[:-1] != block.values[1:], False)
    differs &= _go_on(block) & ~np.isnan(block.next_values) & ~block.terminated
    differs[block.lanes.stops - 1] = False
    return bool(differs.any())


def _go_on(block: Block) -> BoolArray:
    """[N] what follows is a step of the same trajectory, or may be one of another block."""
    goes_on: BoolArray = ~block.cuts
    if block.is_step is not None:
        goes_on[:-1] &= block.is_step[1:]
    last = block.lanes.stops - 1
    goes_on[last] = ~block.cuts[last] & block.lanes.open_ends
    return goes_on
