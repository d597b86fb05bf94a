"""Off-policy numbers: TD errors, each with a weight that is the product of the traces on the way to it.

    A = Σ wₖ δₜ₊ₖ        wₖ = w₀ l (Π_{0<j<k} γ cₜ₊ⱼ) uₜ₊ₖ  for k > 0

V-trace has w₀ = min(ρ, ρ_pg), l = γλ and u = min(ρ, ρ̄); the others w₀ = 1, l = γ and u = c, so that wₖ = γᵏ c₁ … cₖ.
The equations of `gaecli.estimators.off_policy` without the recursion: every term is written out by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gaecli.array_types import FloatArray
from gaecli.explanation import Cell, DerivationTable
from gaecli.records import dataclass
from gaecli.settings import Settings
from gaecli.studies.derivations.base import Derived, Question
from gaecli.studies.derivations.returns import before_each
from gaecli.studies.derivations.steps import RecursionSteps
from gaecli.studies.derivations.sums import decay_numbers, decay_remarks
from gaecli.studies.tail import Tail


@dataclass(frozen=True, eq=False)
class _Traces:
    """[K] each, from the step on; `shown`: of them what a line tells, by name."""

    #: c and u.
    traces: FloatArray
    weights: FloatArray
    first: float
    lead: float
    shown: Mapping[str, FloatArray]


def off_policy(question: Question) -> Derived | None:
    tail, settings, steps = question.tail, question.settings, question.steps
    errors = _errors(tail, steps)
    traces = _TRACES[settings.estimator](question, errors)
    decays = steps.decays(traces.traces)
    between = before_each(decays[1:])[:-1]
    coefficients = np.append(traces.first, traces.first * traces.lead * between * traces.weights[1:])
    count = _num_reached(decays)
    title, shown = "TD errors, by the traces on the way to them", {"delta": errors, **traces.shown}
    table = _table(question, title, shown, coefficients[:count])
    derived, value = table.total, float(steps.values[0])
    assert derived is not None
    is_to_end = count == steps.count
    tables, target = [table], value + derived
    if settings.estimator == "vtrace":
        target_weights = before_each(decays)[:-1] * traces.weights
        title = "the target: R - V, with weights that begin at min(ρ, rho_bar)"
        tables.append(_table(question, title, {"delta": errors}, target_weights[:count], is_short=True))
        target = value + (tables[1].total or 0.0)
    stopped = [] if is_to_end else [_stopped(settings, count - 1)]
    return Derived(
        computed=float(tail.advantages[0]),
        equation=_EQUATIONS[settings.estimator],
        numbers={**decay_numbers(settings, steps), **_clip_numbers(settings), "V": value, "R": target},
        tables=tables,
        derived=derived,
        bootstrap=steps.bootstrap if is_to_end else None,
        bootstrap_value=float(steps.following[-1]) if is_to_end else None,
        remarks=[
            _WEIGHTS[settings.estimator],
            *([_OF_UNITS] if settings.is_over_units and {"ratio", "prob"} & traces.shown.keys() else []),
            *decay_remarks(settings, steps),
            *stopped,
        ],
    )


def _errors(tail: Tail, steps: RecursionSteps) -> FloatArray:
    """[K] δ: of the step itself beside V, of those after it beside Q where there is one."""
    if "q" not in tail.block.extras:
        return steps.deltas
    base = np.concatenate((steps.values[:1], tail.extra("q")[1:]))
    with np.errstate(over="ignore", invalid="ignore"):
        errors = steps.rewards + steps.gammas * steps.following - base
    return np.where(steps.is_step, errors, 0.0)


def _vtrace(question: Question, errors: FloatArray) -> _Traces:
    steps, ratios = question.steps, _ratios(question.tail)
    rho_bar, c_bar, pg_bar = _clips(question.settings)
    clipped, traces = np.minimum(ratios, rho_bar), steps.lams * np.minimum(ratios, c_bar)
    shown = {"ratio": ratios, "clipped_ratio": clipped, "trace": traces}
    lead = float(steps.gammas[0] * steps.lams[0])
    return _Traces(traces, clipped, min(float(ratios[0]), pg_bar), lead, shown)


def _retrace(question: Question, errors: FloatArray) -> _Traces:
    ratios = _ratios(question.tail)
    traces = question.steps.lams * np.minimum(ratios, 1.0)
    return _corrected(question, traces, ratio=ratios)


def _q_lambda(question: Question, errors: FloatArray) -> _Traces:
    return _corrected(question, question.steps.lams)


def _tree_backup(question: Question, errors: FloatArray) -> _Traces:
    tail = question.tail
    has_prob = "prob" in tail.block.extras
    probabilities = tail.extra("prob") if has_prob else np.exp(tail.extra("log_prob"))
    probabilities = np.minimum(probabilities, 1.0)
    return _corrected(question, question.steps.lams * probabilities, prob=probabilities)


def _upgo(question: Question, errors: FloatArray) -> _Traces:
    return _corrected(question, (errors >= 0).astype(np.float64))


def _corrected(question: Question, traces: FloatArray, **shown: FloatArray) -> _Traces:
    return _Traces(traces, traces, 1.0, float(question.steps.gammas[0]), {**shown, "trace": traces})


_TRACES: Mapping[str, Callable[[Question, FloatArray], _Traces]] = {
    "vtrace": _vtrace,
    "retrace": _retrace,
    "q-lambda": _q_lambda,
    "tree-backup": _tree_backup,
    "upgo": _upgo,
}
_OF_VALUES = "A = Σ w δ,  δ = r + γ V' - V"
_OF_ACTIONS = "A = Σ w δ,  δ = r + γ V' - Q, and r + γ V' - V at k = 0"
_EQUATIONS = {
    "vtrace": _OF_VALUES,
    "retrace": _OF_ACTIONS,
    "q-lambda": _OF_ACTIONS,
    "tree-backup": _OF_ACTIONS,
    "upgo": _OF_VALUES,
}
_WEIGHTS = {
    "vtrace": "w is min(ρ, pg_bar) at k = 0; after it that times γ λ, γ c of the steps between, and min(ρ, rho_bar)"
    " of its own; c = λ min(ρ, c_bar)",
    "retrace": "w = γ^k times c of the steps after the first, up to its own; c = λ min(1, ρ)",
    "q-lambda": "w = γ^k times c of the steps after the first, up to its own; c = λ",
    "tree-backup": "w = γ^k times c of the steps after the first, up to its own; c = λ π(a|s)",
    "upgo": "w = γ^k while no δ after the first is negative, then 0",
}


_OF_UNITS = "a unit is one action: its ρ, or π(a|s), is the product of those of its rows"


def _ratios(tail: Tail) -> FloatArray:
    if "ratio" in tail.block.extras:
        return tail.extra("ratio")
    with np.errstate(over="ignore"):
        found: FloatArray = np.exp(tail.extra("log_prob") - tail.extra("behaviour_log_prob"))
    return found


def _clips(settings: Settings) -> tuple[float, float, float]:
    rho_bar = 1.0 if settings.rho_bar is None else settings.rho_bar
    c_bar = 1.0 if settings.c_bar is None else settings.c_bar
    return rho_bar, c_bar, rho_bar if settings.pg_bar is None else settings.pg_bar


def _clip_numbers(settings: Settings) -> dict[str, float]:
    if settings.estimator != "vtrace":
        return {}
    return dict(zip(("rho_bar", "c_bar", "pg_bar"), _clips(settings), strict=True))


def _num_reached(decays: FloatArray) -> int:
    """Steps up to the first after this one that hands nothing on; all, where each does."""
    stops = np.flatnonzero(decays[1:] == 0.0)
    return int(stops[0]) + 2 if len(stops) else len(decays)


def _stopped(settings: Settings, last: int) -> str:
    if settings.estimator == "upgo":
        return f"δ is negative at k = {last:,}: V of that step stands for what follows"
    return f"c is 0 at k = {last:,}: nothing after it enters"


def _table(
    question: Question,
    title: str,
    shown: Mapping[str, FloatArray],
    weights: FloatArray,
    *,
    is_short: bool = False,
) -> DerivationTable:
    """`is_short`: what δ is made of is told already."""
    settings, steps = question.settings, question.steps
    columns: dict[str, FloatArray] = {}
    if not is_short:
        columns |= {"reward": steps.rewards, "value": steps.values}
        if "q" in question.tail.block.extras:
            columns["q"] = question.tail.extra("q")
        columns["next_value"] = steps.following
        columns |= {"gamma": steps.gammas} if settings.gamma_column is not None else {}
        columns |= {"lam": steps.lams} if settings.lam_column is not None and settings.uses("lam") else {}
    columns |= shown
    lines: list[dict[str, Cell]] = []
    total = 0.0
    for lag, weight in enumerate(weights.tolist()):
        contribution = weight * float(shown["delta"][lag]) if weight else 0.0
        total += contribution
        line: dict[str, Cell] = {"lag": lag, **steps.names[lag]}
        line |= {name: float(numbers[lag]) for name, numbers in columns.items()}
        lines.append({**line, "weight": weight, "contribution": contribution, "running_sum": total})
    return question.table(title, lines, total)
