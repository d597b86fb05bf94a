"""γ and λ of the steps of a block: one number for all of them, or one each.

A column gives γₜ and λₜ of what follows step t: Aₜ = δₜ + γₜ λₜ Aₜ₊₁, δₜ = rₜ + γₜ V(sₜ₊₁) - V(sₜ). By the length
n of a trajectory, in steps that count,

    λ = 1 - 1 / max(α n, 1)         VAPO, https://arxiv.org/abs/2504.05118
    λ = q ^ (1 / (n - 1))           AReaL, areal/trainer/ppo/lambda_fn.py; 1 for n = 1

so that with γ = 1 the last reward counts q at the first step, whatever the length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.decay_settings import FAMILIES, OTHER_LAMS
from gaecli.rollouts import Block
from gaecli.settings import Settings


def gammas(block: Block, settings: Settings) -> float | FloatArray:
    if settings.gamma_column is None:
        return settings.gamma
    return _column(block, settings.gamma_column)


def lams(block: Block, settings: Settings) -> float | FloatArray:
    if settings.lam_column is not None:
        return _column(block, settings.lam_column)
    by_length = _by_length(block, settings.lam_alpha, settings.lam_retain)
    return settings.lam if by_length is None else by_length


def value_lams(block: Block, settings: Settings) -> float | FloatArray | None:
    """λ of the returns; None: they are those of the advantages."""
    by_length = _by_length(block, settings.lam_value_alpha, settings.lam_value_retain)
    if by_length is not None or settings.lam_value is not None:
        return settings.lam_value if by_length is None else by_length
    return 1.0 if settings.convention.returns == "reward-to-go" else None


def with_one_lam(settings: Settings, lam: float) -> Settings:
    """λ is this number at every step, for advantages and returns."""
    return settings.replace(lam=lam, **dict.fromkeys(OTHER_LAMS))


def with_lam(settings: Settings, lam: float) -> Settings:
    """The same of advantages alone; returns keep a λ that is their own."""
    return settings.replace(lam=lam, **dict.fromkeys(FAMILIES["lam"]))


def products(decays: float | FloatArray, first: IndexArray, last: IndexArray) -> FloatArray:
    """[K] of the decays of the steps first[k] … last[k] - 1; 1 of none."""
    counts = last - first
    if not isinstance(decays, np.ndarray):
        return decays ** counts.astype(np.float64)
    found = np.ones(len(first))
    long = np.flatnonzero(counts > 0)
    if len(long):
        bounds = np.stack([first[long], last[long]], axis=1).reshape(-1)
        with np.errstate(under="ignore"):
            # Between a lane and the next one are products that nobody asked for.
            found[long] = np.multiply.reduceat(np.append(decays, 1.0), bounds)[::2]
    return found


def _column(block: Block, name: str) -> FloatArray:
    # Products of two columns of float32 would be rounded to float32.
    result: FloatArray = block.extras[name].astype(np.float64, copy=False)
    return result


def _by_length(block: Block, alpha: float | None, retained: float | None) -> FloatArray | None:
    if alpha is not None:
        return _of_trajectories(block, lambda lengths: 1.0 - 1.0 / np.maximum(alpha * lengths, 1.0))
    if retained is not None:
        return _of_trajectories(block, lambda lengths: _retaining(lengths, retained))
    return None


def _retaining(lengths: FloatArray, retained: float) -> FloatArray:
    result: FloatArray = np.where(lengths > 1, retained ** (1.0 / np.maximum(lengths - 1.0, 1.0)), 1.0)
    return result


def _of_trajectories(block: Block, lam_of: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """[N] λ by the length of the trajectory of each step; trajectories are whole."""
    ends = block.piece_ends()  # nothing comes after a whole stream, cut or not
    ends[-1:] = True
    stops = np.flatnonzero(ends) + 1
    counts = np.ones(block.num_steps)
    if block.is_step is not None:
        counts[~block.is_step] = 0.0
    if block.masked is not None:
        counts[block.masked] = 0.0
    starts = np.concatenate(([0], stops[:-1])).astype(np.int64)
    lengths = np.add.reduceat(counts, starts) if len(stops) else np.zeros(0)
    result: FloatArray = np.repeat(lam_of(lengths), stops - starts)
    return result
