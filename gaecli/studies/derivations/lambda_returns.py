"""The λ-return as what its rewards and next values come to, where these are not V of the next step.

Rₜ = Σ_l w_l (rₜ₊ₗ + γ (1 - λ) V'ₜ₊ₗ)        w_l = Π_{j<l} γₜ₊ⱼ λₜ₊ⱼ, and γ V' whole at the last step
"""

from __future__ import annotations

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.explanation import Cell
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.derivations.returns import before_each
from gaecli.studies.derivations.steps import RecursionSteps
from gaecli.studies.derivations.sums import decay_numbers, decay_remarks, sum_of_errors


def lambda_return(question: Question) -> Derived | None:
    """As a sum of TD errors where each state has one V, as GAE is."""
    steps, settings = question.steps, question.settings
    if not _has_second_values(steps):
        return sum_of_errors(question)
    if steps.is_passed.any():
        return None
    weights, shares = before_each(steps.decays(steps.lams))[:-1], _shares(steps)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is shown as infinite
        terms = steps.rewards + steps.gammas * shares * steps.following
        contributions = weights * terms
    none = np.flatnonzero(weights == 0.0)
    count = int(none[0]) if len(none) else steps.count
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag in range(count):
        total += float(contributions[lag])
        line: dict[str, Cell] = {"lag": lag, **steps.names[lag], "reward": float(steps.rewards[lag])}
        line["next_value"] = float(steps.following[lag])
        if settings.gamma_column is not None:
            line["gamma"] = float(steps.gammas[lag])
        if settings.lam_column is not None:
            line["lam"] = float(steps.lams[lag])
        line |= {"share": float(shares[lag]), "weight": float(weights[lag])}
        lines.append({**line, "contribution": float(contributions[lag]), "running_sum": total})
    value = float(steps.values[0])
    is_one = settings.gamma_column is None and settings.lam_column is None
    weight = "w = (γλ)^k" if is_one else "w = Π γλ of the steps before"
    is_to_end = count == steps.count
    return Derived(
        computed=float(question.tail.advantages[0]),
        equation=f"A = R - V,  R = Σ w (r + γ (1 - λ) V'),  {weight},  γ V' whole at the last step",
        numbers={**decay_numbers(settings, steps), "V": value, "R": total},
        tables=[question.table("rewards, and the share of each next value, by weight", lines, total)],
        derived=total - value,
        bootstrap=steps.bootstrap if is_to_end else None,
        bootstrap_value=float(steps.following[-1]) if is_to_end else None,
        remarks=decay_remarks(settings, steps),
    )


def _has_second_values(steps: RecursionSteps) -> bool:
    inside = steps.is_step[:-1] & steps.is_step[1:]
    return bool((inside & (steps.following[:-1] != steps.values[1:])).any())


def _shares(steps: RecursionSteps) -> FloatArray:
    """[K] of V' in the return of its step: all of it where no step follows."""
    found: FloatArray = np.where(np.append(steps.is_step[1:], False), 1.0 - steps.lams, 1.0)
    return found
