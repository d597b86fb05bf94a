"""Off-policy returns: steps of one policy, weighted by what another would have done.

ρₜ = π(aₜ|sₜ) / μ(aₜ|sₜ). With e, w and k of `gaecli.estimators.traces`, a prime for step t + 1, and y' = 0 at a cut:

    V-trace      b = V    w = min(ρ, ρ̄)    k = λ min(ρ, c̄)    R = V + y    A = min(ρ, ρ_pg) (e + γλ y')
    Retrace      b = Q    w = k = λ min(1, ρ)
    Q(λ)         b = Q    w = k = λ
    tree backup  b = Q    w = k = λ π(a|s)
    UPGO         b = V    w = k = 1 where e >= 0, else 0

and of all but the first

    R = r + γ (1 - d) (V' + y')             A = R - V

That is R = r + γ (1 - d) (V' + c' (R' - Q')), as rlax's `general_off_policy_returns_from_q_and_v` has it: y is what
the step hands on, c (R - Q), so that its weight is its own and not that of the step before it. At a cut λ vs' +
(1 - λ) V' is V', the bootstrap: never vs of another trajectory.

Espeholt et al. 2018, https://arxiv.org/abs/1802.01561, sec. 4.1, and Munos et al. 2016,
https://arxiv.org/abs/1606.02647, sec. 2; Vinyals et al. 2019, https://doi.org/10.1038/s41586-019-1724-z, methods.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.estimators.base import FinalEstimates
from gaecli.estimators.decays import gammas, lams
from gaecli.estimators.gae_variants import needs_ends
from gaecli.estimators.traces import TraceEstimator, Weights, WholeTrajectoryTraces
from gaecli.kernels.devices import Device
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.settings import Settings


def make(settings: Settings, device: Device) -> TraceEstimator:
    plain, whole = _KINDS[settings.estimator]
    return (whole if needs_whole_trajectories(settings) else plain)(settings, device)


def needs_whole_trajectories(settings: Settings) -> bool:
    return needs_ends(settings)


@dataclass(frozen=True)
class VTrace(TraceEstimator):
    def weights(self, block: Block, errors: FloatArray) -> Weights:
        ratios = _ratios(block)
        rho_bar, c_bar, _ = self._clips
        return Weights(np.minimum(ratios, rho_bar), lams(block, self.settings) * np.minimum(ratios, c_bar))

    def read_out(
        self, block: Block, scanned: FloatArray, errors: FloatArray, following: FloatArray
    ) -> FinalEstimates:
        clipped = np.minimum(_ratios(block), self._clips[2])
        decays = gammas(block, self.settings) * lams(block, self.settings)
        advantages = errors + decays * following
        return FinalEstimates(clipped * advantages, block.values + scanned)

    @property
    def _clips(self) -> tuple[float, float, float]:
        settings = self.settings
        rho_bar = 1.0 if settings.rho_bar is None else settings.rho_bar
        c_bar = 1.0 if settings.c_bar is None else settings.c_bar
        return rho_bar, c_bar, rho_bar if settings.pg_bar is None else settings.pg_bar


@dataclass(frozen=True)
class _Corrected(TraceEstimator):
    """Returns that are corrected where the policies part; w = k = c."""

    def read_out(
        self, block: Block, scanned: FloatArray, errors: FloatArray, following: FloatArray
    ) -> FinalEstimates:
        return FinalEstimates(
            errors + (self.base(block) - block.values) + gammas(block, self.settings) * following
        )


@dataclass(frozen=True)
class _OfActions(_Corrected):
    def base(self, block: Block) -> FloatArray:
        return block.extras["q"]


@dataclass(frozen=True)
class Retrace(_OfActions):
    def weights(self, block: Block, errors: FloatArray) -> Weights:
        traces = lams(block, self.settings) * np.minimum(_ratios(block), 1.0)
        return Weights(traces, traces)


@dataclass(frozen=True)
class QLambda(_OfActions):
    def weights(self, block: Block, errors: FloatArray) -> Weights:
        traces = np.broadcast_to(lams(block, self.settings), block.num_steps)
        return Weights(traces, traces)


@dataclass(frozen=True)
class TreeBackup(_OfActions):
    def weights(self, block: Block, errors: FloatArray) -> Weights:
        probabilities = block.extras.get("prob")
        if probabilities is None:
            probabilities = np.exp(block.extras["log_prob"].astype(np.float64))
        traces = lams(block, self.settings) * np.minimum(probabilities.astype(np.float64), 1.0)
        return Weights(traces, traces)


@dataclass(frozen=True)
class Upgo(_Corrected):
    @property
    def has_gates(self) -> bool:
        return True

    def weights(self, block: Block, errors: FloatArray) -> Weights:
        traces = (errors >= 0).astype(np.float64)
        return Weights(traces, traces)


class _WholeVTrace(WholeTrajectoryTraces, VTrace): ...


class _WholeRetrace(WholeTrajectoryTraces, Retrace): ...


class _WholeQLambda(WholeTrajectoryTraces, QLambda): ...


class _WholeTreeBackup(WholeTrajectoryTraces, TreeBackup): ...


class _WholeUpgo(WholeTrajectoryTraces, Upgo): ...


_KINDS: Mapping[str, tuple[type[TraceEstimator], type[TraceEstimator]]] = {
    "vtrace": (VTrace, _WholeVTrace),
    "retrace": (Retrace, _WholeRetrace),
    "q-lambda": (QLambda, _WholeQLambda),
    "tree-backup": (TreeBackup, _WholeTreeBackup),
    "upgo": (Upgo, _WholeUpgo),
}


@np.errstate(over="ignore")
def _ratios(block: Block) -> FloatArray:
    """[N] ρ; beyond all numbers it is infinite, and clipped."""
    if "ratio" in block.extras:
        return block.extras["ratio"].astype(np.float64)
    behaviour = block.extras["behaviour_log_prob"].astype(np.float64)
    ratios: FloatArray = np.exp(block.extras["log_prob"].astype(np.float64) - behaviour)
    return ratios
