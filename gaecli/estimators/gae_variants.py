"""GAE as its settings ask for it: the plain scan, a gated trace, or over trajectories as a whole.

Several scans or a decay per row go over the same kernel. What crosses the border of a block would be more than one
number then, so these see trajectories whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np

from gaecli.array_types import BoolArray, FloatArray
from gaecli.estimators.base import Borders, Estimates
from gaecli.estimators.bootstrap import fill_bootstrap
from gaecli.estimators.conventions import ends_as_terminal
from gaecli.estimators.decays import gammas, lams, value_lams, with_one_lam
from gaecli.estimators.gae import Gae
from gaecli.estimators.recursion import gae_block
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> Gae:
    """The estimator that these settings ask for."""
    kind = WholeTrajectoryGae if needs_whole_trajectories(settings) else GatedGae
    return kind(settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    """Whether more than the inflow of a lane crosses the border of a block."""
    convention = settings.convention
    return (
        convention.recursion != "gae"
        or convention.returns != "sum"
        or needs_ends(settings)
        or settings.lam_value is not None
    )


def needs_ends(settings: Settings) -> bool:
    """λ depends on the length of the trajectory, or what a masked last step hands on, on whether it goes on."""
    lengths = ("lam_alpha", "lam_retain", "lam_value_alpha", "lam_value_retain")
    return settings.mask_mode == "gated" or any(getattr(settings, name) is not None for name in lengths)


@dataclass(frozen=True)
class GatedGae(Gae):
    """The plain scan; the trace passes a masked step without decay under `--mask-mode gated`."""

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        if self._passed(block) is None:
            return super().estimate(block, threads)
        return Estimates(self._gated(block, lams(block, self.settings), threads))

    def _passed(self, block: Block) -> BoolArray | None:
        """[N] steps that the trace passes without decay; None: it passes none."""
        return block.masked if self.settings.mask_mode == "gated" else None

    def _gated(self, block: Block, lam: float | FloatArray, threads: int) -> FloatArray:
        passed = self._passed(block)
        assert passed is not None
        gamma = gammas(block, self.settings)
        beyond = np.where(passed & block.cuts, 0.0, following_values(block))
        deltas = block.rewards + gamma * beyond - block.values
        decays = np.where(passed, 1.0, gamma * lam)
        return self._affine(block, deltas, decays, threads)

    def _affine(self, block: Block, x: FloatArray, a: FloatArray, threads: int) -> FloatArray:
        """yₜ = xₜ + aₜ yₜ₊₁ within trajectories, by the kernel: a reward x, no values, a discount a."""
        return gae_block(
            x,
            np.broadcast_to(0.0, x.shape),
            cuts=block.cuts,
            is_step=block.is_step,
            gamma=a,
            lam=1.0,
            precision=self.settings.precision,
            device=self.device,
            threads=threads,
        )


@dataclass(frozen=True)
class WholeTrajectoryGae(GatedGae):
    """Everything else that a preset may ask for."""

    @property
    def needs_trajectories(self) -> bool:
        return True

    def estimate(self, block: Block, threads: int = 1) -> Estimates:
        block = self._closed(block)
        if self.settings.convention.recursion == "finite-horizon":
            return Estimates(self._finite_horizon(block, threads))
        if self.settings.convention.recursion == "accumulated":
            return self._accumulated(block, threads)
        advantages = self._gae(block, lams(block, self.settings), threads)
        lam = value_lams(block, self.settings)
        if lam is None:
            return Estimates(advantages)
        # A scan of its own; the reward-to-go with its bootstrap is the return of λ = 1.
        return Estimates(advantages, self._gae(block, lam, threads) + block.values)

    def borders(self, block: Block, advantages: FloatArray) -> Borders:
        """What they say of ends; no decay of theirs is used."""
        return Gae.borders(self.of_one_lam(), block, advantages)

    def of_one_lam(self) -> Self:
        """Not by lengths, which are those of trajectories that end in the block."""
        return replace(self, settings=with_one_lam(self.settings, 1.0))

    def settle(
        self, block: Block, advantages: FloatArray, inflow: FloatArray, *, in_place: bool = False
    ) -> FloatArray:
        """Nothing comes after whole trajectories; their ends were filled before the scan."""
        return advantages

    def _closed(self, block: Block) -> Block:
        return closed(block, self.settings)

    def _gae(self, block: Block, lam: float | FloatArray, threads: int) -> FloatArray:
        if self._passed(block) is not None:
            return self._gated(block, lam, threads)
        return gae_block(
            block.rewards,
            block.values,
            cuts=block.cuts,
            terminated=block.terminated,
            next_values=block.next_values,
            is_step=block.is_step,
            gamma=gammas(block, self.settings),
            lam=lam,
            precision=self.settings.precision,
            device=self.device,
            threads=threads,
        )

    @np.errstate(over="ignore", invalid="ignore")
    def _accumulated(self, block: Block, threads: int) -> Estimates:
        """Brax: acc is the GAE, R = V + acc, and A = r + γ R' - V = acc + γ (1 - λ) acc'."""
        gamma, lam = gammas(block, self.settings), lams(block, self.settings)
        accumulated = self._gae(block, lam, threads)
        following = np.zeros_like(accumulated)
        following[:-1] = accumulated[1:]
        following[block.cuts] = 0.0
        advantages = accumulated + gamma * (1.0 - lam) * following
        if block.is_step is not None:
            advantages[~block.is_step] = 0.0
        return Estimates(advantages, accumulated + block.values)

    @np.errstate(over="ignore", invalid="ignore")
    def _finite_horizon(self, block: Block, threads: int) -> FloatArray:
        """c = 1 + λ c', y = c r + γ V' + γλ y', A = y / c - V: the mean of the k-step advantages by λᵏ."""
        gamma, lam = gammas(block, self.settings), lams(block, self.settings)
        decays = np.broadcast_to(lam, block.num_steps)
        weights = self._affine(block, np.ones(block.num_steps), decays, threads)
        if block.is_step is not None:
            weights[~block.is_step] = 1.0
        sums = weights * block.rewards + gamma * following_values(block)
        result: FloatArray = self._affine(block, sums, gamma * decays, threads) / weights - block.values
        return result


def closed(block: Block, settings: Settings) -> Block:
    """Every lane ends here, with the value that the bootstrap policy gives."""
    if not block.lanes.count:
        return block
    cuts, last = block.cuts.copy(), block.lanes.stops - 1
    cuts[last] = True
    block = replace(block, cuts=cuts)
    beyond = block.lanes.last_next_values
    if beyond is not None:  # no start flag of a later block says otherwise
        next_values = (
            np.full(block.num_steps, np.nan) if block.next_values is None else block.next_values.copy()
        )
        next_values[last] = np.where(np.isnan(next_values[last]), beyond, next_values[last])
        block = replace(block, next_values=next_values)
    if settings.open_ends == "terminal":
        block = ends_as_terminal(block)
    return fill_bootstrap(block, settings.bootstrap, is_whole_stream=True)


def following_values(block: Block) -> FloatArray:
    """[N] V(sₜ₊₁): given, or that of the next row inside a trajectory, or 0; 0 where terminated."""
    following = np.zeros(block.num_steps)
    following[:-1] = block.values[1:]
    following[block.cuts] = 0.0
    if block.next_values is not None:
        following = np.where(np.isnan(block.next_values), following, block.next_values)
    following[block.terminated] = 0.0
    return following
