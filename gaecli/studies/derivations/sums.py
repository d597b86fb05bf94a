"""GAE and its kin as a sum of TD errors, with γ and λ that may be those of each step.

    Aₜ = Σ_l w_l δₜ₊ₗ        w_l = Π_{j<l} γₜ₊ⱼ λₜ₊ⱼ        δ = r + γ V' - V

Returns whose λ is another one are such a sum of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.explanation import Cell, DerivationTable
from gaecli.settings import Settings
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.derivations.returns import before_each, one_gamma
from gaecli.studies.derivations.steps import RecursionSteps

_BY_LENGTH = ("lam_alpha", "lam_retain", "lam_value_alpha", "lam_value_retain")


def sum_of_errors(question: Question) -> Derived | None:
    settings, steps = question.settings, question.steps
    convention = settings.convention
    is_of_preset = settings.uses("recursion")
    if is_of_preset and convention.recursion == "finite-horizon":
        return _mean_of_windows(question) if steps.is_step.all() else None
    weights = _weights(steps, steps.lams)
    is_accumulated = is_of_preset and convention.recursion == "accumulated"
    reaching = _accumulated(steps) if is_accumulated else weights
    table = _table(question, "TD errors, each by its weight", reaching, steps.lams, is_short=False)
    of_returns = steps.value_lams
    if of_returns is None and is_accumulated:
        of_returns = steps.lams
    tables, value = [table], float(steps.values[0])
    derived = table.total or 0.0
    numbers: dict[str, float | int | None] = {**decay_numbers(settings, steps), "V": value}
    if of_returns is None:
        numbers["R = A + V"] = derived + value
    else:
        second = _weights(steps, of_returns)
        title = "the return less V: the same TD errors, by weights of its own λ"
        tables.append(_table(question, title, second, of_returns, is_short=True))
        beyond = tables[1].total or 0.0
        numbers |= {**_lam("λ of R", of_returns, settings.lam_column), "R - V": beyond, "R": beyond + value}
    count = _num_reached(reaching)
    is_to_end = count == steps.count or len(tables) > 1
    return Derived(
        computed=float(question.tail.advantages[0]),
        equation=_equation(settings, steps, is_accumulated=is_accumulated),
        numbers=numbers,
        tables=tables,
        derived=derived,
        bootstrap=steps.bootstrap if is_to_end else None,
        bootstrap_value=float(steps.following[-1]) if is_to_end else None,
        remarks=decay_remarks(settings, steps),
    )


def _mean_of_windows(question: Question) -> Derived:
    """finite-horizon: A = Σ w A⁽ᵏ⁾ / Σ w, w = λᵏ⁻¹, over the k-step advantages A⁽ᵏ⁾ to the end."""
    settings, steps = question.settings, question.steps
    parts = np.cumsum(before_each(steps.gammas)[:-1] * steps.deltas)
    weights = before_each(steps.lams)[:-1]
    count, total = _num_reached(weights), 0.0
    weights = weights[:count] / weights.sum()
    lines: list[dict[str, Cell]] = []
    for lag, (weight, one) in enumerate(zip(weights.tolist(), parts.tolist(), strict=False)):
        total += weight * one
        line: dict[str, Cell] = {"lag": lag + 1, **steps.names[lag], "delta": float(steps.deltas[lag])}
        line |= {"k_step_advantage": one, "weight": weight}
        lines.append({**line, "contribution": weight * one, "running_sum": total})
    value = float(steps.values[0])
    return Derived(
        computed=float(question.tail.advantages[0]),
        equation="A = Σ w A(k),  w = λ^(k-1) over the sum of these,  A(k) = Σ γ^l δ for l < k,  δ = r + γ V' - V",
        numbers={**decay_numbers(settings, steps), "V": value, "R = A + V": total + value},
        tables=[question.table("k-step advantages, and their mean by weight", lines, total)],
        derived=total,
        bootstrap=steps.bootstrap,
        bootstrap_value=float(steps.following[-1]),
        remarks=decay_remarks(settings, steps),
    )


def _weights(steps: RecursionSteps, of: FloatArray) -> FloatArray:
    return before_each(steps.decays(of))[:-1]


def _accumulated(steps: RecursionSteps) -> FloatArray:
    """brax: A is one step on the λ-return of the next one, so λ of the first step is not in it."""
    decays = steps.decays(steps.lams)
    return before_each(np.concatenate((steps.gammas[:1] * steps.is_step[:1], decays[1:])))[:-1]


def _num_reached(weights: FloatArray) -> int:
    """RecursionSteps up to the first that nothing of reaches this one."""
    none = np.flatnonzero(weights == 0.0)
    return int(none[0]) if len(none) else len(weights)


def _table(
    question: Question, title: str, weights: FloatArray, lams: FloatArray, *, is_short: bool
) -> DerivationTable:
    """`is_short`: what δ is made of is told already."""
    settings, steps = question.settings, question.steps
    deltas = steps.deltas
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag in range(_num_reached(weights)):
        contribution = float(weights[lag] * deltas[lag])
        total += contribution
        line: dict[str, Cell] = {"lag": lag, **steps.names[lag]}
        if not is_short:
            line |= {"reward": float(steps.rewards[lag]), "value": float(steps.values[lag])}
            line["next_value"] = float(steps.following[lag])
        if settings.gamma_column is not None:
            line["gamma"] = float(steps.gammas[lag])
        if settings.lam_column is not None and settings.uses("lam"):
            line["lam"] = float(lams[lag])
        line |= {"delta": float(deltas[lag]), "weight": float(weights[lag])}
        lines.append({**line, "contribution": contribution, "running_sum": total})
    return question.table(title, lines, total)


def decay_numbers(settings: Settings, steps: RecursionSteps) -> dict[str, Any]:
    """γ, λ, and the length that λ goes by."""
    found: dict[str, Any] = one_gamma(settings)
    if not settings.uses("lam"):
        return found
    found |= _lam("λ", steps.lams, settings.lam_column)
    if any(getattr(settings, name) is not None for name in _BY_LENGTH):
        found["n"] = steps.length
    return found


def _lam(letter: str, lams: FloatArray, column: str | None) -> dict[str, float | int | None]:
    """Where it is one number."""
    return {letter: float(lams[0])} if column is None or letter != "λ" else {}


def _equation(settings: Settings, steps: RecursionSteps, *, is_accumulated: bool) -> str:
    delta = "δ = r + γ V' - V"
    if settings.estimator == "td0":
        return f"A = {delta}"
    if is_accumulated:
        return f"A = Σ w δ,  w = γ (γλ)^(k-1) for k > 0,  {delta}"
    is_one = settings.gamma_column is None and settings.lam_column is None and not steps.is_passed.any()
    weight = "w = (γλ)^k" if is_one else "w = Π γλ of the steps before"
    return f"A = Σ w δ,  {weight},  {delta}"


def decay_remarks(settings: Settings, steps: RecursionSteps) -> list[str]:
    found = []
    if settings.uses("lam") and settings.lam_alpha is not None:
        found.append(
            f"λ = 1 - 1 / max({settings.lam_alpha:g} n, 1), n = {steps.length:,} steps of the trajectory"
        )
    if settings.uses("lam") and settings.lam_retain is not None:
        found.append(
            f"λ = {settings.lam_retain:g} ^ (1 / (n - 1)), n = {steps.length:,} steps of the trajectory"
        )
    if settings.lam_value_alpha is not None:
        found.append(f"λ of R = 1 - 1 / max({settings.lam_value_alpha:g} n, 1)")
    if settings.lam_value_retain is not None:
        found.append(f"λ of R = {settings.lam_value_retain:g} ^ (1 / (n - 1))")
    if steps.is_passed.any():
        found.append("the trace passes masked steps without decay: γλ of theirs counts as 1")
    return found
