"""Sums of rewards along a trajectory."""

from __future__ import annotations

import numpy as np

from gaecli.array_types import FloatArray, IndexArray
from gaecli.explanation import Cell
from gaecli.settings import Settings
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.derivations.steps import RecursionSteps


def monte_carlo(question: Question) -> Derived | None:
    """G = Σ γᵏ rₜ₊ₖ + γᴷ V(sₜ₊ₖ): k = 0 … K - 1, to the last step of the trajectory."""
    tail, settings, steps = question.tail, question.settings, question.steps
    if settings.mask_mode == "gated":
        return None
    stop = _num_steps_until_none(steps.is_step)
    discounts = before_each(steps.gammas[:stop])
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag in range(stop):
        contribution = float(discounts[lag] * steps.rewards[lag])
        total += contribution
        line: dict[str, Cell] = {"lag": lag, **steps.names[lag], "reward": float(steps.rewards[lag])}
        line |= _gamma(steps, lag, settings)
        line |= {"discount": float(discounts[lag]), "contribution": contribution, "running_sum": total}
        lines.append(line)
    beyond = float(steps.following[max(stop - 1, 0)]) if stop else 0.0
    weight = float(discounts[stop])
    total += weight * beyond
    power = "γ^K" if settings.gamma_column is None else "Π γ"
    return Derived(
        computed=float(tail.returns[0]),
        equation=f"G = Σ {_power(settings)} r + {power} V' for k = 0 … K - 1",
        numbers={
            **one_gamma(settings),
            "K": stop,
            "V'": beyond,
            power: weight,
            f"{power} V'": weight * beyond,
        },
        tables=[question.table("rewards to the end, discounted", lines, total - weight * beyond)],
        derived=total,
        bootstrap=steps.bootstrap,
        bootstrap_value=beyond,
        remarks=[] if steps.has_values else ["no value column: nothing stands for V beyond an end"],
    )


def n_step(question: Question) -> Derived | None:
    """R = Σ γᵏ rₜ₊ₖ + γᵐ V' over m steps, m = n or as many as there are to the end; A = R - V."""
    tail, settings, steps = question.tail, question.settings, question.steps
    assert settings.n_steps is not None
    window: IndexArray = np.flatnonzero(steps.is_step)[: settings.n_steps].astype(np.int64)
    discounts = before_each(steps.gammas[window])
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag, step in enumerate(window.tolist()):
        contribution = float(discounts[lag] * steps.rewards[step])
        total += contribution
        line: dict[str, Cell] = {"lag": lag, **steps.names[step], "reward": float(steps.rewards[step])}
        line |= _gamma(steps, step, settings)
        line |= {"discount": float(discounts[lag]), "contribution": contribution, "running_sum": total}
        lines.append(line)
    is_clipped = len(window) < settings.n_steps
    last = float(steps.following[window[-1]]) if len(window) else 0.0
    end = f"the trajectory ends after {len(window):,} of {settings.n_steps:,} steps: the window is clipped"
    value, beyond = float(steps.values[0]), float(discounts[len(window)]) * last
    power = "γ^m" if settings.gamma_column is None else "Π γ"
    return Derived(
        computed=float(tail.advantages[0]),
        equation=f"A = R - V,  R = Σ {_power(settings)} r + {power} V' for k = 0 … m - 1",
        numbers={
            **one_gamma(settings),
            "n": settings.n_steps,
            "m": len(window),
            "V": value,
            "V'": last,
            f"{power} V'": beyond,
            "R = A + V": total + beyond,
        },
        tables=[question.table("rewards of the window, discounted", lines, total)],
        derived=total + beyond - value,
        bootstrap=steps.bootstrap if is_clipped else None,
        bootstrap_value=last if is_clipped else None,
        remarks=[end] if is_clipped else [],
    )


def before_each(decays: FloatArray) -> FloatArray:
    """[K + 1] of each step, and of what lies beyond the last one: the product of the decays before it."""
    with np.errstate(under="ignore"):
        return np.concatenate(([1.0], np.cumprod(decays)))


def one_gamma(settings: Settings) -> dict[str, float | int | None]:
    """γ, where it is one number."""
    return {"γ": settings.gamma} if settings.gamma_column is None else {}


def _power(settings: Settings) -> str:
    return "γ^k" if settings.gamma_column is None else "(Π γ)"


def _gamma(steps: RecursionSteps, step: int, settings: Settings) -> dict[str, Cell]:
    """γ of a step, where steps have each their own."""
    return {} if settings.gamma_column is None else {"gamma": float(steps.gammas[step])}


def _num_steps_until_none(is_step: np.ndarray) -> int:
    """Rows that are no steps end the sum: they hold a last state, or are dropped."""
    return len(is_step) if is_step.all() else int(np.argmin(is_step))
