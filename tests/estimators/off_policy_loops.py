"""Off-policy returns of one trajectory in plain floats, by the definitions of the papers; no code of gaecli."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Trajectory:
    """`behind`: V of the state after the last step, 0 where that is terminal."""

    rewards: Sequence[float]
    values: Sequence[float]
    behind: float
    log_probs: Sequence[float]
    behaviour: Sequence[float]
    q: Sequence[float]
    gamma: float
    lam: float = 1.0
    rho_bar: float = 1.0
    c_bar: float = 1.0
    pg_bar: float = 1.0

    def __len__(self) -> int:
        return len(self.rewards)

    def next_value(self, t: int) -> float:
        return self.values[t + 1] if t + 1 < len(self) else self.behind

    def ratio(self, t: int) -> float:
        return math.exp(self.log_probs[t] - self.behaviour[t])


def vtrace(of: Trajectory) -> tuple[list[float], list[float]]:
    """IMPALA, eq. 1 as a double sum, and the advantage of sec. 4.2 with the mixture of rlax."""
    targets = []
    for s in range(len(of)):
        target, product = of.values[s], 1.0
        for t in range(s, len(of)):
            error = of.rewards[t] + of.gamma * of.next_value(t) - of.values[t]
            target += of.gamma ** (t - s) * product * min(of.rho_bar, of.ratio(t)) * error
            product *= of.lam * min(of.c_bar, of.ratio(t))
        targets.append(target)
    advantages = []
    for t in range(len(of)):
        later = of.behind
        if t + 1 < len(of):
            later = of.lam * targets[t + 1] + (1 - of.lam) * of.values[t + 1]
        clipped = min(of.pg_bar, of.ratio(t))
        advantages.append(clipped * (of.rewards[t] + of.gamma * later - of.values[t]))
    return advantages, targets


def corrected(of: Trajectory, coefficients: Sequence[float]) -> tuple[list[float], list[float]]:
    """Gₜ = rₜ + γ (V' - c' Q' + c' G'), as rlax states it for Retrace, Q(λ) and tree backup."""
    targets = [0.0] * len(of)
    for t in reversed(range(len(of))):
        later = of.next_value(t)
        if t + 1 < len(of):
            later += coefficients[t + 1] * (targets[t + 1] - of.q[t + 1])
        targets[t] = of.rewards[t] + of.gamma * later
    return [target - value for target, value in zip(targets, of.values, strict=True)], targets


def upgo(of: Trajectory) -> tuple[list[float], list[float]]:
    """AlphaStar: on with the return where the next step does as well as its value, else with that value."""
    targets = [0.0] * len(of)
    for t in reversed(range(len(of))):
        later = of.next_value(t)
        if t + 1 < len(of) and of.rewards[t + 1] + of.gamma * of.next_value(t + 1) >= of.values[t + 1]:
            later = targets[t + 1]
        targets[t] = of.rewards[t] + of.gamma * later
    return [target - value for target, value in zip(targets, of.values, strict=True)], targets


def by_name(name: str, of: Trajectory) -> tuple[list[float], list[float]]:
    """(advantages, returns)."""
    if name == "vtrace":
        return vtrace(of)
    if name == "upgo":
        return upgo(of)
    steps = range(len(of))
    coefficients = {
        "retrace": [of.lam * min(1.0, of.ratio(t)) for t in steps],
        "q-lambda": [of.lam for _ in steps],
        "tree-backup": [of.lam * math.exp(of.log_probs[t]) for t in steps],
    }[name]
    return corrected(of, coefficients)
