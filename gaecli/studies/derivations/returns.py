"""Sums of rewards, and of TD errors, along a trajectory."""

from __future__ import annotations

import numpy as np

from gaecli.results import Cell
from gaecli.studies.derivations.base import Derived, Question


def monte_carlo(question: Question) -> Derived | None:
    """G = Σ γᵏ rₜ₊ₖ + γᴷ V(sₜ₊ₖ): k = 0 … K - 1, to the last step of the trajectory."""
    tail, settings = question.tail, question.settings
    if settings.mask_mode == "gated":
        return None
    stop = _num_steps_until_none(tail.is_step)
    gamma, rewards, rows = settings.gamma, tail.rewards, question.rows
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag in range(stop):
        weight = gamma**lag
        total += weight * float(rewards[lag])
        lines.append(
            {
                "lag": lag,
                "row": rows[lag],
                "reward": float(rewards[lag]),
                "discount": weight,
                "contribution": weight * float(rewards[lag]),
                "running_sum": total,
            }
        )
    beyond = float(tail.following(settings)[max(stop - 1, 0)]) if stop else 0.0
    weight = gamma**stop
    total += weight * beyond
    return Derived(
        computed=float(tail.returns[0]),
        equation="G = Σ γ^k r + γ^K V' for k = 0 … K - 1",
        numbers={"γ": gamma, "K": stop, "V'": beyond, "γ^K": weight, "γ^K V'": weight * beyond},
        tables=[question.table("rewards to the end, discounted", lines, total - weight * beyond)],
        derived=total,
        bootstrap=tail.bootstrap(settings),
        bootstrap_value=beyond,
        remarks=[] if tail.has_values else ["no value column: nothing stands for V beyond an end"],
    )


def n_step(question: Question) -> Derived | None:
    """A = Σ γᵏ δₜ₊ₖ over m steps, m = n or as many as there are to the end; R = A + V."""
    tail, settings = question.tail, question.settings
    assert settings.n_steps is not None
    gamma, rewards, values = settings.gamma, tail.rewards, tail.values
    following, rows = tail.following(settings), question.rows
    steps = np.flatnonzero(tail.is_step)[: settings.n_steps].tolist()
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag, step in enumerate(steps):
        weight = gamma**lag
        reward, value, beyond = float(rewards[step]), float(values[step]), float(following[step])
        delta = reward + gamma * beyond - value
        total += weight * delta
        lines.append(
            {
                "lag": lag,
                "row": rows[step],
                "reward": reward,
                "value": value,
                "next_value": beyond,
                "delta": delta,
                "discount": weight,
                "contribution": weight * delta,
                "running_sum": total,
            }
        )
    is_clipped = len(steps) < settings.n_steps
    last = float(following[steps[-1]]) if steps else 0.0
    end = f"the trajectory ends after {len(steps):,} of {settings.n_steps:,} steps: the window is clipped"
    return Derived(
        computed=float(tail.advantages[0]),
        equation="A = Σ γ^k δ = Σ γ^k r + γ^m V' - V for k = 0 … m - 1,  δ = r + γ V' - V",
        numbers={
            "γ": gamma,
            "n": settings.n_steps,
            "m": len(steps),
            "V": float(values[0]),
            "V'": last,
            "γ^m V'": gamma ** len(steps) * last,
            "R = A + V": total + float(values[0]),
        },
        tables=[question.table("TD errors of the window, discounted", lines, total)],
        derived=total,
        bootstrap=tail.bootstrap(settings) if is_clipped else None,
        bootstrap_value=last if is_clipped else None,
        remarks=[end] if is_clipped else [],
    )


def _num_steps_until_none(is_step: np.ndarray) -> int:
    """Rows that are no steps end the sum: they hold a last state, or are dropped."""
    return len(is_step) if is_step.all() else int(np.argmin(is_step))
