"""Weights of samples by their advantages A, or by the progress p that they make.

    awr          min(exp(A / β), w)          Peng et al. 2019, https://arxiv.org/abs/1910.00177
    crr          min(exp(A / β), w)          Wang et al. 2020, https://arxiv.org/abs/2006.15134
    crr-binary   1 if A > 0 else 0
    iql          |τ - 1[A < 0]|              Kostrikov et al. 2022, https://arxiv.org/abs/2110.06169
    rabc         1 if δ > κ; clip((δ - (μ - 2σ)) / (4σ + ε), 0, 1) if 0 <= δ <= κ; 0 if δ < 0; 1 where p is missing

with δ = p[min(t + chunk, T)] - p[t] within an episode that ends with step T, μ the mean of all δ, 0 at least, and σ
their standard deviation, ddof 0, ε at least: lerobot 0.6.1 rewards/sarm/rabc.py.
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import Array, FloatArray, IndexArray
from gaecli.label_settings import parameter
from gaecli.moments import Moments
from gaecli.records import dataclass
from gaecli.rollouts import Block
from gaecli.setting_fields import SettingFields

_EPSILON = 1e-6


def advantage_weights(advantages: FloatArray, settings: SettingFields) -> FloatArray:
    """[N] of every kind but `rabc`."""
    if settings.weight == "crr-binary":
        return (advantages > 0).astype(np.float64)
    if settings.weight == "iql":
        expectile = parameter(settings, "expectile")
        return np.where(advantages < 0, 1 - expectile, expectile)
    with np.errstate(over="ignore"):
        weights = np.exp(advantages / parameter(settings, "weight_beta"))
    return np.minimum(weights, parameter(settings, "weight_max"))


@dataclass(frozen=True)
class ProgressScale:
    """μ and σ of the progress made by all steps."""

    mean: float = 0.0
    std: float = _EPSILON

    @classmethod
    def of(cls, moments: Moments) -> ProgressScale:
        if not moments.count:
            return cls()
        return cls(max(moments.mean, 0.0), max(float(np.sqrt(moments.m2 / moments.count)), _EPSILON))

    def weights(self, deltas: FloatArray, kappa: float) -> FloatArray:
        """[N] NaN where progress is missing: 1. Compared as float32, which δ is there."""
        rounded = deltas.astype(np.float32)
        soft = np.clip((deltas - (self.mean - 2 * self.std)) / (4 * self.std + _EPSILON), 0.0, 1.0)
        with np.errstate(invalid="ignore"):
            weights = np.where(rounded > np.float32(kappa), 1.0, np.where(rounded >= 0, soft, 0.0))
        return np.where(np.isnan(deltas), 1.0, weights)


@dataclass(frozen=True, eq=False)
class Following:
    """Progress of the steps that follow the last one of each lane in its episode, in other blocks."""

    #: [lanes, chunk] as far as there are any; how many there are.
    progress: FloatArray
    counts: IndexArray


def first_progress(block: Block, progress: Array, chunk: int) -> Following:
    """Of the first steps of each lane, as far as they belong to the episode of the first one."""
    of_step, last = block.trajectories()
    starts = block.lanes.starts
    stops = last[of_step[starts]] + 1 if len(starts) else starts
    counts = np.minimum(stops - starts, chunk)
    places = starts[:, None] + np.minimum(np.arange(chunk), np.maximum(counts, 1)[:, None] - 1)
    found = progress[places] if len(starts) else np.zeros((0, chunk))
    return Following(np.where(np.arange(chunk) < counts[:, None], found, np.nan), counts.astype(np.int64))


def progress_made(block: Block, progress: Array, following: Following, chunk: int) -> FloatArray:
    """[N] δ; NaN where progress is missing at either end."""
    if not block.num_steps:
        return np.zeros(0)
    of_step, last = block.trajectories()
    places = np.arange(block.num_steps, dtype=np.int64) + chunk
    ends = last[of_step]
    future = progress[np.minimum(places, ends)].astype(np.float64)
    for lane in np.flatnonzero(following.counts).tolist():
        stop = int(block.lanes.stops[lane])
        tail = np.flatnonzero(of_step[max(stop - chunk, 0) : stop] == of_step[stop - 1]) + max(
            stop - chunk, 0
        )
        beyond = np.minimum(places[tail] - stop, following.counts[lane] - 1)
        future[tail] = following.progress[lane, beyond]
    return future - progress
