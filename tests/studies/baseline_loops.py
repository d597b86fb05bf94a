"""Group baselines of libraries by plain loops."""

from __future__ import annotations

from collections.abc import Callable

from gaecli.results import Verification

Baseline = Callable[[list[float]], list[float]]


def std(scores: list[float], ddof: int) -> float:
    mean = sum(scores) / len(scores)
    return (sum((score - mean) ** 2 for score in scores) / (len(scores) - ddof)) ** 0.5


def less_mean(scores: list[float], divisor: float = 1.0) -> list[float]:
    mean = sum(scores) / len(scores)
    return [(score - mean) / divisor for score in scores]


def trl_grpo(scores: list[float]) -> list[float]:
    return less_mean(scores, std(scores, 1) + 1e-4) if len(scores) > 1 else [0.0]


def verl_grpo(scores: list[float]) -> list[float]:
    return less_mean(scores, std(scores, 1) + 1e-6) if len(scores) > 1 else [scores[0] / (1 + 1e-6)]


def verl_rloo(scores: list[float]) -> list[float]:
    n = len(scores)
    return [score - (sum(scores) - score) / (n - 1) for score in scores] if n > 1 else scores


def numpy_grpo(scores: list[float]) -> list[float]:
    """open-instruct's `standard`."""
    return less_mean(scores, std(scores, 0) + 1e-8)


def max_rl(scores: list[float]) -> list[float]:
    mean = sum(scores) / len(scores)
    return less_mean(scores, mean) if mean > 0 and len(scores) > 1 else [0.0] * len(scores)


def names_of(found: Verification) -> list[str]:
    best = found.best
    first = best.estimator if best.presets[0] == "exact" else f"{best.presets[0]} {best.estimator}"
    return [first, *found.equivalent]
